"""The one module here that is not pure: it runs actors over a tape, with asyncio, and as a Ray actor.

Restart, catch-up and live are one loop. What was decided is read, the rest is decided and appended.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from actors.decider import Decider, Poison
from actors.dispatch import Dispatch
from actors.seat import Seat
from events.decision import Decision, Recorded
from events.feed import claimed
from events.tape import LostRace, Tape

OPEN_MAX = 1_000  # causes of decisions that are not on the tape yet; far above what a bus in health has in flight
CLAIMS_AT_ONCE = 100
CLAIMS_MAX = 5  # an earlier writer can come between once, for it stops then; more means that others claim as well


class Outcome(NamedTuple):
    """What an actor made of an entry: whether it wants to append, or where its decision stood already (0: nowhere)."""

    actor: str
    wants: bool
    at: int


class Gate(Protocol):
    """Decides when an actor may append, in lock-step; actors that run freely have none."""

    async def dealt(self, seq: int, outcomes: Sequence[Outcome]) -> None:
        """Says what this process's actors made of `seq`."""

    async def turn(self, actor: str, seq: int) -> None:
        """Returns when the decision caused by `seq` may be appended."""

    async def appended(self, actor: str, seq: int, at: int) -> None:
        """Says that the decision caused by `seq` stands at sequence `at`."""


class Host:
    """Runs the actors of one process over one tape. Fails on a lost race, a poison fact or a lost bus: it never
    patches over, for running it again is how it recovers.

    Free-running actors append side by side, each one decision at a time; `at` is the last sequence up to which every
    decision of this process stands on the tape.
    """

    def __init__(self, deciders: Sequence[Decider[Any]], tape: Tape, gate: Gate | None = None) -> None:
        self.seats = tuple(Seat(decider) for decider in deciders)
        self.decided = 0
        self.moved = 0
        """Grows with whatever this host does; one that has work and does not move is stalled."""
        self.reacting = ""
        """The actor that is at work at this moment: it is the one that hangs where nothing moves any more."""
        self._tape = tape
        self._gate = gate
        self._dispatch = Dispatch(self.seats)
        self._dealt = 0
        self._lines: dict[str, deque[Decision]] = {}
        self._open: dict[int, int] = {}
        self._room = asyncio.Event()

    @property
    def at(self) -> int:
        """Also asked by another thread, while this one goes on."""
        while self._open:
            try:
                return next(iter(self._open)) - 1
            except (RuntimeError, StopIteration):
                continue
        return self._dealt

    async def run(self) -> None:
        """Catches up and goes on until it is cancelled."""
        await self._recall()
        await self._claim_all()
        patterns = sorted({pattern for seat in self.seats for pattern in seat.decider.inbox})
        try:
            async with asyncio.TaskGroup() as appends:
                try:
                    async for entry in self._tape.follow(patterns):
                        await self._deal(entry, appends)
                except Poison:
                    await self._settled()  # what was decided before it is on the tape when this ends
                    raise
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _recall(self) -> None:
        by_actor = {seat.actor: seat for seat in self.seats}
        async for own in self._tape.read([f"{actor}.>" for actor in by_actor]):
            by_actor[own.actor].recall(own)
            self.moved += 1

    async def _claim_all(self) -> None:
        """Side by side, but no more at a time than a server answers within an ack's patience on a busy machine."""
        places = asyncio.Semaphore(CLAIMS_AT_ONCE)

        async def claim(seat: Seat) -> None:
            async with places:
                await self._claim(seat)

        try:
            async with asyncio.TaskGroup() as claims:
                for seat in self.seats:
                    claims.create_task(claim(seat))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _claim(self, seat: Seat) -> None:
        """Fences earlier writers out. One that appends at this very moment is read up on, and loses its next race."""
        for _ in range(CLAIMS_MAX):
            seat.epoch += 1
            writer = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
            claim = claimed(seat.actor, seat.epoch, writer, seat.decider.version)
            try:
                seq = await self._tape.append(seat.actor, claim, expected=seat.version, epoch=seat.epoch)
                seat.claimed(seq, seat.decider.version)
                return
            except LostRace as race:
                lost = race
                async for own in self._tape.read([f"{seat.actor}.>"], after=seat.version):
                    seat.recall(own)
        raise lost

    async def _deal(self, entry: Recorded, appends: asyncio.TaskGroup) -> None:
        """All hearers of this process decide before the first appends: in lock-step each one's report is waited for."""
        if entry.seq <= self._dealt:
            return  # delivered twice
        due, outcomes = [], []
        for seat in self._dispatch.hearers(entry):
            self.reacting = seat.actor
            decision = seat.react(entry)
            if decision is not None:
                due.append((seat, decision))
            outcomes.append(Outcome(seat.actor, decision is not None, seat.stood_at))
        self.reacting = ""
        self.moved += 1
        if self._gate is not None:
            await self._take_turns(self._gate, entry.seq, due, outcomes)
        elif due:
            for seat, decision in due:
                self._put(seat, decision, entry.seq, appends)
            await self._pause()
        self._dealt = entry.seq

    async def _take_turns(
        self, gate: Gate, seq: int, due: Sequence[tuple[Seat, Decision]], outcomes: Sequence[Outcome]
    ) -> None:
        if outcomes:
            await gate.dealt(seq, outcomes)
        for seat, decision in due:
            await gate.turn(seat.actor, seq)
            await self._append(seat, decision)
            await gate.appended(seat.actor, seq, seat.version)

    async def _append(self, seat: Seat, decision: Decision) -> None:
        seat.version = await self._tape.append(seat.actor, decision, expected=seat.version, epoch=seat.epoch)
        self.decided += 1

    def _put(self, seat: Seat, decision: Decision, seq: int, appends: asyncio.TaskGroup) -> None:
        self._open[seq] = self._open.get(seq, 0) + 1
        line = self._lines.get(seat.actor)
        if line is not None:
            line.append(decision)
        else:
            self._lines[seat.actor] = deque((decision,))
            appends.create_task(self._drain(seat))

    async def _drain(self, seat: Seat) -> None:
        """One outstanding append an actor, in the order of what caused them."""
        line = self._lines[seat.actor]
        while line:
            decision = line[0]
            await self._append(seat, decision)
            line.popleft()
            left = self._open[decision.cause] - 1
            if left:
                self._open[decision.cause] = left
            else:
                del self._open[decision.cause]
            self._room.set()
        del self._lines[seat.actor]

    async def _pause(self) -> None:
        """Lets the appends out, and waits while too many are on their way: a full line pushes back."""
        await asyncio.sleep(0)
        while len(self._open) >= OPEN_MAX:
            self._room.clear()
            await self._room.wait()

    async def _settled(self) -> None:
        while self._open:
            self._room.clear()
            await self._room.wait()


Connect = Callable[[], Awaitable[tuple[Tape, Gate | None]]]
"""Opens the tape and the gate inside the process that will use them; must be picklable."""


class Worker:
    """What a Ray actor runs: one process, one consumer, one or more actors. `run` owns the loop."""

    def __init__(self, make: Callable[[], Sequence[Decider[Any]]], connect: Connect) -> None:
        self._make = make
        self._connect = connect
        self._host: Host | None = None

    async def run(self, without: Collection[str] = ()) -> None:
        """Returns only by an exception; the supervisor logs it, backs off and calls again, `without` who has halted."""
        deciders = [decider for decider in self._make() if decider.actor not in without]
        if not deciders:
            await asyncio.Event().wait()
        tape, gate = await self._connect()
        self._host = Host(deciders, tape, gate)
        # What is loaded now stays for good. A full collection over it stops a process for 0.1 s, amid trading.
        gc.collect()
        gc.freeze()
        try:
            await self._host.run()
        finally:
            await tape.close()

    async def progress(self) -> dict[str, Any]:
        """How far this process is: the tape sequence dealt with, decisions appended, its process id; whether it moves.

        It may be asked in a thread of its own, and then answers while a strategy keeps the others waiting.
        """
        host = self._host
        if host is None:
            return {"at": 0, "decided": 0, "pid": os.getpid(), "moved": 0, "reacting": ""}
        return {
            "at": host.at, "decided": host.decided, "pid": os.getpid(), "moved": host.moved, "reacting": host.reacting,
        }  # fmt: skip


async def sleep_before_retry(failures: int) -> None:
    await asyncio.sleep(pause_s(failures))


def pause_s(failures: int) -> float:
    """Backs off 0.2 s, 0.4 s, ... 5 s: long enough for a bus to come back, short enough for a trader."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 6))  # bounded before the power: a night of failures has no float
