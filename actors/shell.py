"""The one module here that is not pure: it runs actors over a tape, with asyncio, and as a Ray actor.

Restart, catch-up and live are one loop. What was decided is read, the rest is decided and appended.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from actors.decider import Decider
from actors.lockstep import Router
from actors.seat import Seat
from events.control import ActorClaimed
from events.decision import Decision, Recorded, digest_of
from events.tape import LostRace, Tape

CLAIMS_MAX = 5  # an earlier writer can come between once, for it stops then; more means that others claim as well


class Outcome(NamedTuple):
    """What an actor made of an entry: whether it wants to append, or where its decision stood already (0: nowhere)."""

    actor: str
    wants: bool
    at: int


class Gate(Protocol):
    """Decides when an actor may append. Free-running actors pass at once; in lock-step they wait for their turn."""

    async def dealt(self, seq: int, outcomes: Sequence[Outcome]) -> None:
        """Says what this process's actors made of `seq`."""

    async def turn(self, actor: str, seq: int) -> None:
        """Returns when the decision caused by `seq` may be appended."""

    async def appended(self, actor: str, seq: int, at: int) -> None:
        """Says that the decision caused by `seq` stands at sequence `at`."""


class OpenGate:
    """Everybody runs freely."""

    async def dealt(self, seq: int, outcomes: Sequence[Outcome]) -> None: ...

    async def turn(self, actor: str, seq: int) -> None: ...

    async def appended(self, actor: str, seq: int, at: int) -> None: ...


class Host:
    """Runs the actors of one process over one tape. Fails on a lost race, a poison fact or a lost bus: it never
    patches over, for running it again is how it recovers.
    """

    def __init__(self, deciders: Sequence[Decider[Any]], tape: Tape, gate: Gate | None = None) -> None:
        self.seats = tuple(Seat(decider) for decider in deciders)
        self._tape = tape
        self._gate = gate or OpenGate()
        self._router = Router(self.seats)
        self.at = 0
        self.decided = 0

    async def run(self) -> None:
        """Catches up and goes on until it is cancelled."""
        await self._recall()
        for seat in self.seats:
            await self._claim(seat)
        patterns = sorted({pattern for seat in self.seats for pattern in seat.decider.inbox})
        async for entry in self._tape.follow(patterns):
            await self._deal(entry)

    async def _recall(self) -> None:
        by_actor = {seat.actor: seat for seat in self.seats}
        async for own in self._tape.read([f"{actor}.>" for actor in by_actor]):
            by_actor[own.actor].recall(own)

    async def _claim(self, seat: Seat) -> None:
        """Fences earlier writers out. One that appends at this very moment is read up on, and loses its next race."""
        for _ in range(CLAIMS_MAX):
            seat.epoch += 1
            writer = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
            claim = Decision(digest_of(writer.encode()), 0, "", 0, (ActorClaimed(seat.actor, seat.epoch, writer),))
            try:
                seat.version = await self._tape.append(seat.actor, claim, expected=seat.version, epoch=seat.epoch)
                return
            except LostRace as race:
                lost = race
                async for own in self._tape.read([f"{seat.actor}.>"], after=seat.version):
                    seat.recall(own)
        raise lost

    async def _deal(self, entry: Recorded) -> None:
        """All hearers of this process decide before the first appends: in lock-step each one's report is waited for."""
        if entry.seq <= self.at:
            return  # delivered twice
        due, outcomes = [], []
        for seat in self._router.hearers(entry):
            decision = seat.react(entry)
            if decision is not None:
                due.append((seat, decision))
            outcomes.append(Outcome(seat.actor, decision is not None, seat.stood_at))
        if outcomes:
            await self._gate.dealt(entry.seq, outcomes)
        for seat, decision in due:
            await self._gate.turn(seat.actor, entry.seq)
            seat.version = await self._tape.append(seat.actor, decision, expected=seat.version, epoch=seat.epoch)
            self.decided += 1
            await self._gate.appended(seat.actor, entry.seq, seat.version)
        self.at = entry.seq


Connect = Callable[[], Awaitable[tuple[Tape, Gate]]]
"""Opens the tape and the gate inside the process that will use them; must be picklable."""


class Worker:
    """What a Ray actor runs: one process, one consumer, one or more actors. `run` owns the loop."""

    def __init__(self, make: Callable[[], Sequence[Decider[Any]]], connect: Connect) -> None:
        self._make = make
        self._connect = connect
        self._host: Host | None = None

    async def run(self) -> None:
        """Returns only by an exception; the supervisor logs it, backs off and calls again."""
        tape, gate = await self._connect()
        self._host = Host(self._make(), tape, gate)
        try:
            await self._host.run()
        finally:
            await tape.close()

    async def progress(self) -> dict[str, int]:
        """How far this process is: the tape sequence dealt with, decisions appended, and its process id."""
        host = self._host
        return {"at": host.at if host else 0, "decided": host.decided if host else 0, "pid": os.getpid()}


async def sleep_before_retry(failures: int) -> None:
    await asyncio.sleep(pause_s(failures))


def pause_s(failures: int) -> float:
    """Backs off 0.2 s, 0.4 s, ... 5 s: long enough for a bus to come back, short enough for a trader."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 6))  # bounded before the power: a night of failures has no float
