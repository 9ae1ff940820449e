"""Facts about the system itself: sessions, actors, bots, commands, quarantine."""

from __future__ import annotations

from typing import Any

from .fact import Fact


class SessionStarted(Fact, frozen=True, tag="session-started/1"):
    """What runs on this tape: the whole trading plan, so that an audit needs the tape alone."""

    ts: int
    plan: dict[str, Any]
    hash: str


class ActorClaimed(Fact, frozen=True, tag="actor-claimed/2"):
    """A writer took an actor over: `epoch` is one more than the last, and fences earlier writers out.

    `writer` tells two processes apart that claim at the same time: only one of their claims can stand. `version` is
    that of the decider which decides from here on ('': of a time when claims did not say).
    """

    actor: str
    epoch: int
    writer: str
    version: str


class ActorHalted(Fact, frozen=True, tag="actor-halted/1"):
    """An actor stopped for good at the tape sequence `at` and needs a person: `reason` says why."""

    actor: str
    at: int
    reason: str
    detail: str


class SessionClaimed(Fact, frozen=True, tag="session-claimed/1"):
    """A session took the tape over: `epoch` is one more than the last one's, and fences earlier sessions out.

    `host`, `pid`, and `born` (clock ticks since the boot) say which process it is; `machine` within which system that
    is to be understood. `over`: the epoch of a session that had not ended by itself (0: none), and `reason` why it was
    taken for gone.
    """

    epoch: int
    ts: int
    host: str
    pid: int
    born: int
    machine: str
    over: int
    reason: str


class SessionEnded(Fact, frozen=True, tag="session-ended/1"):
    """The session of that epoch ended by itself: the tape is free."""

    epoch: int
    ts: int
    reason: str


class FeedClaimed(Fact, frozen=True, tag="feed-claimed/1"):
    """A session plays this feed from here on: its `epoch` fences players of earlier ones out.

    `at`: the sequence of the feed's newest message before any claim; `ts`: the newest event time to go on from, 0 where
    there is none.
    """

    feed: str
    epoch: int
    at: int
    ts: int


class ActorStalled(Fact, frozen=True, tag="actor-stalled/1"):
    """A process had work and did not move for `seconds`: it was killed and starts again, for the time `times` at `at`.

    `actor` is the process; `reacting` the actor it was busy with ('': unknown).
    """

    actor: str
    at: int
    seconds: int
    times: int
    reacting: str


class TapeShortened(Fact, frozen=True, tag="tape-shortened/1"):
    """A session found that the tape had lost messages which it had acknowledged.

    The tables had known it up to the sequence `known`; at the time `ts` it ended at `end`, what came since included.
    """

    ts: int
    known: int
    end: int


class BotStarted(Fact, frozen=True, tag="bot-started/1"):
    """A bot saw its first market fact under this strategy, version and parameters."""

    bot: str
    account: str
    venue: str
    symbol: str
    timeframe: str
    ts: int
    strategy: str
    version: int
    params: dict[str, Any]


class BotPaused(Fact, frozen=True, tag="bot-paused/1"):
    """The bot wants nothing new until it is resumed; its brackets go on working."""

    bot: str
    ts: int
    reason: str


class BotResumed(Fact, frozen=True, tag="bot-resumed/1"):
    bot: str
    ts: int
    reason: str


class AccountOpened(Fact, frozen=True, tag="account-opened/1"):
    """An account saw its first market fact. `cash` in `currency`, as a Decimal string."""

    account: str
    ts: int
    currency: str
    cash: str


class TradingRestricted(Fact, frozen=True, tag="trading-restricted/1"):
    """The account obeys a kill switch: level `no-new-risk`, `close-only`, `cancel-all` or `flatten`. Latched."""

    account: str
    ts: int
    level: str
    reason: str


class TradingReleased(Fact, frozen=True, tag="trading-released/1"):
    account: str
    ts: int
    reason: str


class PauseBot(Fact, frozen=True, tag="pause-bot/1"):
    """Command. `bot` may be `*` for all."""

    bot: str
    ts: int
    by: str
    reason: str


class ResumeBot(Fact, frozen=True, tag="resume-bot/1"):
    """Command. `bot` may be `*` for all."""

    bot: str
    ts: int
    by: str
    reason: str


class RestrictTrading(Fact, frozen=True, tag="restrict-trading/1"):
    """Command, the kill switch. `account` may be `*`. Levels as in TradingRestricted."""

    account: str
    ts: int
    by: str
    level: str
    reason: str


class ReleaseTrading(Fact, frozen=True, tag="release-trading/1"):
    """Command: lifts a restriction. `account` may be `*`."""

    account: str
    ts: int
    by: str
    reason: str


class StopSession(Fact, frozen=True, tag="stop-session/2"):
    """Command: the running session ends cleanly. Accounts enter nothing new until SessionResumed.

    `orders`: `leave` working orders as they are, or `cancel` working entries ('': accounts did not hear of it yet).
    """

    ts: int
    by: str
    reason: str
    orders: str


class SessionResumed(Fact, frozen=True, tag="session-resumed/1"):
    """After a StopSession a session goes on."""

    ts: int
    by: str


class ArchiveSealed(Fact, frozen=True, tag="archive-sealed/1"):
    """An archive holds everything up to the sequence `until`; `head` is its hash chain there, `ts` that append time.

    It stands on the tape, where nobody can change it together with the archive.
    """

    ts: int
    until: int
    head: str


class Quarantined(Fact, frozen=True, tag="quarantined/1"):
    """Input that could not be used, with its original bytes and where they came from. Nothing vanishes."""

    source: str
    ts: int
    reason: str
    detail: str
    raw: bytes


CUT = "; the first "
"""In the detail of a Quarantined: what follows says how much of the original bytes it holds."""


class QuarantineRetried(Fact, frozen=True, tag="quarantine-retried/1"):
    """The facts behind it in this message are what fact `place` of message `seq` had put in quarantine, read again."""

    seq: int
    place: int
    ts: int
    by: str
    reason: str


class QuarantineDropped(Fact, frozen=True, tag="quarantine-dropped/1"):
    """What fact `place` of message `seq` put in quarantine needs nothing any more. It stays on the tape."""

    seq: int
    place: int
    ts: int
    by: str
    reason: str


class Unreadable(Fact, frozen=True, tag="unreadable/1"):
    """Bytes on the tape that are no fact. Never stored: the codec makes it, so that an actor can deal with it."""

    subject: str
    reason: str
    raw: bytes
