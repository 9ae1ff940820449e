"""The views of the system itself: bots, commands, sessions, actors and the quarantine."""

from __future__ import annotations

from datetime import datetime

from events.control import (
    ActorClaimed,
    ActorHalted,
    BotPaused,
    BotResumed,
    BotStarted,
    PauseBot,
    Quarantined,
    QuarantineDropped,
    QuarantineRetried,
    ReleaseTrading,
    RestrictTrading,
    ResumeBot,
    SessionResumed,
    SessionStarted,
    StopSession,
    Unreadable,
)
from events.decision import Recorded
from events.fact import kind
from events.trading import Fill, Signal

from .rows import Rows, moment
from .state import State

_NOTHING = (None,) * 9  # what comes before the target: see the table `bots`
_UNKNOWN = (None, None, None, 0, 0)


def started(state: State, rows: Rows, entry: Recorded, n: int, fact: BotStarted) -> None:
    at = moment(fact.ts)
    market = (fact.account, fact.venue, fact.symbol, fact.timeframe)
    how = (fact.strategy, fact.version, fact.params)
    rows.merge("bots", (fact.bot,), *market, "started", None, *how, None, None, None, at, at, entry.seq)
    _touched(rows, entry, fact)


def switched(state: State, rows: Rows, entry: Recorded, n: int, fact: BotPaused | BotResumed) -> None:
    now = "paused" if isinstance(fact, BotPaused) else "started"
    nothing = (None,) * 4
    rest = (None,) * 7
    rows.merge("bots", (fact.bot,), *nothing, now, fact.reason, *rest, moment(fact.ts), entry.seq)
    _touched(rows, entry, fact)


def _touched(rows: Rows, entry: Recorded, fact: BotStarted | BotPaused | BotResumed) -> None:
    """What is put off until the batch ends must not be older than this."""
    if fact.bot in rows.bots:
        rows.bots[fact.bot] = (*rows.bots[fact.bot][:3], fact.ts, entry.seq)


def wanted(state: State, rows: Rows, entry: Recorded, n: int, fact: Signal) -> None:
    moment(fact.ts)
    rows.bots[fact.bot] = (fact.target, *rows.bots.get(fact.bot, _UNKNOWN)[1:3], fact.ts, entry.seq)


def held(state: State, rows: Rows, entry: Recorded, n: int, fact: Fill) -> None:
    moment(fact.ts)
    rows.bots[fact.bot] = (rows.bots.get(fact.bot, _UNKNOWN)[0], fact.position, fact.average, fact.ts, entry.seq)


def settle_bots(rows: Rows) -> None:
    """What changes with each signal and fill goes into the row once a batch."""
    for bot, (*known, ts, seq) in rows.bots.items():
        rows.merge("bots", (bot,), *_NOTHING, *known, None, moment(ts), seq)


def command(
    state: State,
    rows: Rows,
    entry: Recorded,
    n: int,
    fact: PauseBot | ResumeBot | RestrictTrading | ReleaseTrading | StopSession | SessionResumed,
) -> None:
    match fact:
        case PauseBot() | ResumeBot():
            target, level = fact.bot, ""
        case RestrictTrading():
            target, level = fact.account, fact.level
        case ReleaseTrading():
            target, level = fact.account, ""
        case StopSession() | SessionResumed():
            target, level = "", ""
    at, known_at, reason = moment(fact.ts), moment(entry.known_at), getattr(fact, "reason", "")
    rows.add("commands", entry.seq, n, kind(fact), target, at, fact.by, level, reason, known_at)


def session(state: State, rows: Rows, entry: Recorded, n: int, fact: SessionStarted) -> None:
    rows.add("sessions", entry.seq, n, moment(fact.ts), fact.plan, fact.hash, moment(entry.known_at))


def claimed(state: State, rows: Rows, entry: Recorded, n: int, fact: ActorClaimed) -> None:
    claim = (fact.epoch, fact.writer, moment(entry.known_at), entry.seq)
    rows.merge("actors", (fact.actor,), "claimed", *claim, None, None, None, None, entry.seq)


def halted(state: State, rows: Rows, entry: Recorded, n: int, fact: ActorHalted) -> None:
    halt = (moment(entry.known_at), fact.at, fact.reason, fact.detail)
    rows.merge("actors", (fact.actor,), "halted", None, None, None, None, *halt, entry.seq)


def quarantined(state: State, rows: Rows, entry: Recorded, n: int, fact: Quarantined) -> None:
    what = (fact.source, _stamped(fact.ts), fact.reason, fact.detail, fact.raw)
    rows.add("quarantine", entry.seq, n, "quarantined", *what, moment(entry.known_at))


def _stamped(ts: int) -> datetime | None:
    """What is quarantined may be so for its very stamp: it has its row all the same."""
    try:
        return moment(ts)
    except OverflowError:
        return None


def step(state: State, rows: Rows, entry: Recorded, n: int, fact: QuarantineRetried | QuarantineDropped) -> None:
    what = "retried" if isinstance(fact, QuarantineRetried) else "dropped"
    who = (moment(fact.ts), fact.by, fact.reason, moment(entry.known_at))
    rows.add("quarantine_steps", entry.seq, n, fact.seq, fact.place, what, *who)


def unreadable(state: State, rows: Rows, entry: Recorded, n: int, fact: Unreadable) -> None:
    what = (fact.subject, None, "unreadable", fact.reason, fact.raw)
    rows.add("quarantine", entry.seq, n, "unreadable", *what, moment(entry.known_at))
