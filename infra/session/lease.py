"""Who trades on a tape: one session at a time.

A session claims the tape by a fact, with the sequence of the last such fact as the expectation: of two that try, one
succeeds. All that it appends carries the epoch of its claim and is fenced by it. Whether one may try at all is found
out over the bus: the session answers who asks. Silence is measured on the asker's own clock, while the bus answers;
times of two machines are never compared.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import subjects
from events.control import SessionClaimed, SessionEnded, Unreadable
from events.fact import Fact
from events.feed import observed
from events.tape import LostRace, Tape
from infra.session.writing import Writer

log = logging.getLogger("tickertape.session")

ASK_S = 1.0  # an answer takes a millisecond; a session that reads or folds much at once, some hundred of them
POLL_S = 0.25


class Patience(NamedTuple):
    """When a session counts as gone: after so many seconds connected but silent, or without a connection."""

    silent_s: float = 10.0
    gone_s: float = 3.0


class SessionHeld(Exception):
    """Another session trades on the tape; the sentence says who."""


class SessionLost(LostRace):
    """Another session has taken the tape over: this one ends, and has nothing more to say on it."""

    def __init__(self, epoch: int, by: str) -> None:
        Exception.__init__(self, f"another session has taken the tape over: {by}; this one (epoch {epoch}) ends")
        self.epoch, self.by = epoch, by

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.epoch, self.by)


class Standing(msgspec.Struct, frozen=True):
    """What a tape says of its sessions. `version`: the sequence of the last word; `claim` None: there was none."""

    version: int = 0
    claim: SessionClaimed | None = None
    ended: bool = True

    @property
    def epoch(self) -> int:
        return self.claim.epoch if self.claim is not None else 0


async def standing_on(tape: Tape) -> Standing:
    version, claim, ended = 0, None, True
    async for entry in tape.read([f"{subjects.SUPERVISOR}.>"]):
        version = entry.seq
        for fact in entry.decision.facts:
            if isinstance(fact, SessionClaimed) and fact.epoch == entry.epoch:
                claim, ended = fact, False
            elif isinstance(fact, SessionEnded) and claim is not None and fact.epoch == claim.epoch:
                ended = True
    return Standing(version, claim, ended)


async def check_ours(tape: Tape, epoch: int) -> None:
    """Raises SessionLost where the tape belongs to a later session than that of `epoch`."""
    last = await tape.last(subjects.SUPERVISOR)
    if last is None or last.epoch == epoch:
        return  # one question, however long the tape is
    found = await standing_on(tape)
    if found.claim is not None and found.epoch > epoch:
        raise SessionLost(epoch, told(found.claim))


async def lost_to(tape: Tape, epoch: int, after: int = 0) -> SessionLost:
    """Returns when a session later than that of `epoch` has taken over."""
    async for entry in tape.follow([f"{subjects.SUPERVISOR}.>"], after=after):
        for fact in entry.decision.facts:
            if isinstance(fact, SessionClaimed) and fact.epoch > epoch:
                return SessionLost(epoch, told(fact))
    raise AssertionError("a tape is followed without end")


def told(claim: SessionClaimed) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(claim.ts / 1e6))
    return f"process {claim.pid} on {claim.host} since {since} UTC (epoch {claim.epoch})"


class Lease:
    """The claim of a session on a tape. `describe` is asked for what to answer those who ask how it is."""

    def __init__(self, tape: Tape, client: Client, claim: SessionClaimed, version: int) -> None:
        self.claim, self.epoch = claim, claim.epoch
        self.describe: Callable[[], Awaitable[dict[str, Any]]] | None = None
        self._tape, self._client = tape, client
        self._writer = Writer(tape, subjects.SUPERVISOR, claim.epoch, version)
        self._recording = asyncio.Lock()
        self._claimed_at = version

    async def answer(self) -> None:
        """Answers from here on who asks whether this session is there."""
        await self._client.subscribe(presence(self._tape.name, self.epoch), cb=self._answer)
        await self._client.flush()  # before anybody is told that the tape is held

    async def _answer(self, message: Msg) -> None:
        more = await self.describe() if message.data and self.describe is not None else {}
        await message.respond(msgspec.json.encode({"session": told(self.claim), **more}))

    async def record(self, fact: Fact, ts: int) -> None:
        """Appends a word of the session on itself. Raises LostRace where a later one has begun."""
        async with self._recording:  # one append at a time, also when several actors halt on one fact
            await self._writer.append(observed(subjects.SUPERVISOR, ts, fact))

    async def lost(self) -> SessionLost:
        """Returns when another session has taken over."""
        return await lost_to(self._tape, self.epoch, self._claimed_at)

    async def check(self) -> None:
        """Raises SessionLost where the tape belongs to a later session."""
        await check_ours(self._tape, self.epoch)

    async def is_ours(self, race: LostRace) -> bool:
        """Whether another process of this session won a race; not another session, nor a stranger who left garbage."""
        try:
            await self.check()
        except SessionLost:
            return False
        winner = await self._tape.entry(race.found)
        return winner is None or not isinstance(winner.decision.facts[0], Unreadable)

    async def release(self, reason: str) -> None:
        """Leaves the tape free for the next one at once."""
        now = _now()
        await self.record(SessionEnded(self.epoch, now, reason), now)


async def acquire(
    tape: Tape, client: Client, *, standby: bool, say: Callable[[str], None], patience: Patience | None = None
) -> Lease:
    """Claims the tape. Where a session trades on it: raises SessionHeld, or waits for its end as `standby`."""
    waiting = _Waiting(tape, client, standby, say, patience or Patience())
    while True:
        found, reason = await waiting.until_free()
        me = claiming(found, reason)
        try:
            message = observed(subjects.SUPERVISOR, me.ts, me)
            version = await tape.append(subjects.SUPERVISOR, message, expected=found.version, epoch=me.epoch)
        except LostRace:
            continue  # somebody else was faster
        if me.over and found.claim is not None:
            say(f"took over from {told(found.claim)}: {reason}")
        lease = Lease(tape, client, me, version)
        await lease.answer()
        return lease


def claiming(found: Standing, reason: str) -> SessionClaimed:
    """The claim of this process after what stands on a tape."""
    over = 0 if found.ended else found.epoch
    pid = os.getpid()
    return SessionClaimed(found.epoch + 1, _now(), socket.gethostname(), pid, born(pid) or 0, machine(), over, reason)


class _Waiting:
    """Watches the session that holds a tape until it is gone."""

    def __init__(
        self, tape: Tape, client: Client, standby: bool, say: Callable[[str], None], patience: Patience
    ) -> None:
        self._tape, self._client, self._standby, self._say, self._patience = tape, client, standby, say, patience
        self._said = ""
        self._since: tuple[str, int, float] | None = None  # in which way it is away, in which epoch, since when

    async def until_free(self) -> tuple[Standing, str]:
        """What stands on the tape, and why it may be claimed. Raises SessionHeld."""
        found = await standing_on(self._tape)
        while True:
            if found.claim is None or found.ended:
                return found, "the tape was free"
            if is_gone(found.claim):
                return found, "its process is gone"
            if reason := await self._away(found.claim):
                return found, reason
            await asyncio.sleep(POLL_S)
            last = await self._tape.last(subjects.SUPERVISOR)
            if last is None or last.seq != found.version:
                found = await standing_on(self._tape)

    async def _away(self, claim: SessionClaimed) -> str:
        """Why the holder counts as gone; '' while it does not. Raises SessionHeld."""
        connected = self._client.stats["reconnects"] if self._client.is_connected else -1
        how = await asks(self._client, self._tape.name, claim.epoch)
        if isinstance(how, dict):
            self._since = None
            if not self._standby:
                raise SessionHeld(
                    f"a session already runs on tape {self._tape.name!r}: {told(claim)}; look at it with "
                    "`tape status`, end it with `tape stop`, or wait for its end with --standby"
                )
            self._tell(f"standing by: {told(claim)} trades on tape {self._tape.name!r}")
            return ""
        if how == "bus" or connected != self._client.stats["reconnects"]:
            self._since = None  # nobody can be heard: that says nothing about the holder
            return ""
        loop = asyncio.get_running_loop()
        if self._since is None or self._since[:2] != (how, claim.epoch):
            # Silence that turned into a lost connection, or the other way round, goes on counting.
            since = self._since[2] if self._since is not None and self._since[1] == claim.epoch else loop.time()
            self._since = (how, claim.epoch, since)
        limit = self._patience.gone_s if how == "gone" else self._patience.silent_s
        words = "has no connection to the bus" if how == "gone" else "does not answer"
        self._tell(f"{told(claim)} {words}: it counts as gone after {limit:g} s of that")
        return f"it {words} for {limit:g} s" if loop.time() - self._since[2] >= limit else ""

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


async def asks(client: Client, tape: str, epoch: int, *, whole: bool = False) -> dict[str, Any] | str:
    """What the session of an epoch says of itself, as a `whole` of its processes too.

    Else `silent`, `gone` (nobody listens), or `bus` (cannot be asked).
    """
    try:
        answer = await client.request(presence(tape, epoch), b"whole" if whole else b"", timeout=ASK_S)
    except nats.errors.NoRespondersError:
        return "gone"
    except (TimeoutError, nats.errors.TimeoutError):
        return await _heard(client)
    except (nats.errors.Error, OSError):
        return "bus"
    found: dict[str, Any] = msgspec.json.decode(answer.data)
    return found


async def _heard(client: Client) -> str:
    """A bus that is away is no silence of the holder's."""
    try:
        await client.flush(timeout=int(ASK_S))
    except (TimeoutError, nats.errors.Error, OSError):
        return "bus"
    return "silent"


def presence(tape: str, epoch: int) -> str:
    return f"presence.{tape}.{epoch}"


def is_gone(claim: SessionClaimed) -> bool:
    """Whether the process that claimed is known to have ended: only where its number means the same here."""
    return bool(claim.machine) and claim.machine == machine() and born(claim.pid) != claim.born


def machine() -> str:
    """Names the running kernel and the space of process numbers in it; '' where neither can be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def born(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _now() -> int:
    return time.time_ns() // 1000
