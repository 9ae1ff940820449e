"""The one module here that is not pure: it runs actors over a tape, with asyncio, and as a Ray actor.

Restart, catch-up and live are one loop. What was decided is read, the rest is decided and appended.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from actors.decider import Decider, Poison
from actors.dispatch import Dispatch
from actors.keeper import PASSIVE, Keeper
from actors.recall import pass_over, passed, recall, restored, wake
from actors.seat import Seat
from actors.snapshot import Snapshots
from actors.upkeep import Upkeep
from events.decision import Decision, Recorded
from events.feed import claimed
from events.tape import LostRace, Tape

log = logging.getLogger("tickertape.actors")

OPEN_MAX = 1_000  # causes of decisions that are not on the tape yet; far above what a bus in health has in flight
AT_ONCE = 100
CLAIMS_MAX = 5  # an earlier writer can come between once, for it stops then; more means that others claim as well
LONG = 10_000  # entries: to read more than that, a quarter of a second's work, a recovery needs a place
LOOK_S = 0.5  # between two looks for who is due for a snapshot
GO_ON_S = 0.05  # where some were due, and more may be
ASK_AGAIN_S = 0.05  # for a place: a recovery takes seconds
BREATHE = 200  # entries, some milliseconds: so often others have their turn, however much there is to read
SHARE = 0.1  # of the time, at most, goes into that


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

    def __init__(
        self, deciders: Sequence[Decider[Any]], tape: Tape, gate: Gate | None = None, upkeep: Upkeep | None = None
    ) -> None:
        self.seats = tuple(Seat(decider) for decider in deciders)
        self.decided = 0
        self.moved = 0
        """Grows with whatever this host does; one that has work and does not move is stalled."""
        self.reacting = ""
        """The actor that is at work at this moment: it is the one that hangs where nothing moves any more."""
        self.following = False
        """Whether it has claimed its actors and, where it was far behind, read what stood on the tape."""
        self._tape = tape
        self._gate = gate
        self._upkeep = upkeep or Upkeep()
        self._keeper: Keeper | None = None
        self._dispatch = Dispatch(self.seats)
        self._patterns = sorted({pattern for seat in self.seats for pattern in seat.decider.inbox})
        self._dealt = 0
        self._count = 0
        self._settled_at: Recorded | None = None  # what every seat has reacted to; None amid that, and after harm
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
        try:
            last = await self._restore_all()
            far = await self._far([seat for seat in self.seats if seat.actor in last])
            await recall(self.seats, last, self._tape, self._breathe)
            await self._claim_all()
            await self._report([seat for seat in self.seats if seat.actor in last])
            async with asyncio.TaskGroup() as appends:
                await self._work(appends, far)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            self._settled_at = None
            self._leave()

    async def _work(self, appends: asyncio.TaskGroup, far: bool) -> None:
        if self._upkeep.snapshots is not None:
            appends.create_task(self._keep(self._upkeep.snapshots))
        try:
            if far:
                async for entry in self._tape.read(self._patterns, after=self._dealt):
                    await self._deal(entry, appends)
            self._leave()
            self.following = True
            async for entry in self._tape.follow(self._patterns, after=self._dealt):
                await self._deal(entry, appends)
        except Poison:
            await self._settled()  # what was decided before it is on the tape when this ends
            raise

    async def _far(self, restored_ones: Sequence[Seat]) -> bool:
        """Whether it takes long to catch up; then it has a place among those that may."""
        end = await self._tape.end() if self._upkeep != Upkeep() else 0
        far_back = [seat for seat in restored_ones if end - seat.at > LONG]
        await self._side_by_side(lambda seat: pass_over(seat, self._tape, end), far_back)
        self._dealt = min((seat.at for seat in self.seats), default=0)
        recoveries = self._upkeep.recoveries
        if recoveries is None or end - self._dealt <= LONG:
            return False
        while not recoveries.enter():
            self.moved += 1  # it waits for others, and is not stalled
            await asyncio.sleep(ASK_AGAIN_S)
        return True

    async def _breathe(self) -> None:
        self.moved += 1
        await asyncio.sleep(0)

    def _leave(self) -> None:
        if self._upkeep.recoveries is not None:
            self._upkeep.recoveries.leave()

    async def _restore_all(self) -> dict[str, Recorded]:
        """The last message of every actor that was restored."""
        found: dict[str, Recorded] = {}
        snapshots = self._upkeep.snapshots

        async def restore(seat: Seat) -> None:
            assert snapshots is not None
            last = await restored(seat, snapshots, self._tape)
            self.moved += 1
            if last is not None:
                found[seat.actor] = last

        if snapshots is not None:
            await self._side_by_side(restore, self.seats)
        return found

    async def _report(self, seats: Sequence[Seat]) -> None:
        """In lock-step others may wait for what was dealt with before the snapshot, and is not dealt with again."""
        if self._gate is not None:
            for seat in seats:
                cause, at = seat.answered
                await self._gate.dealt(seat.at, (Outcome(seat.actor, False, at if cause == seat.at else 0),))

    async def _claim_all(self) -> None:
        await self._side_by_side(self._claim, self.seats)

    async def _side_by_side(self, each: Callable[[Seat], Awaitable[None]], seats: Sequence[Seat]) -> None:
        """But no more at a time than a server answers within an ack's patience on a busy machine."""
        places = asyncio.Semaphore(AT_ONCE)

        async def placed(seat: Seat) -> None:
            async with places:
                await each(seat)

        async with asyncio.TaskGroup() as group:
            for seat in seats:
                group.create_task(placed(seat))

    async def _claim(self, seat: Seat) -> None:
        """Fences earlier writers out. One that appends at this very moment is read up on, and loses its next race."""
        for _ in range(CLAIMS_MAX):
            seat.epoch += 1
            writer = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
            claim = claimed(seat.actor, seat.epoch, writer, seat.decider.version)
            try:
                seq = await self._tape.append(seat.actor, claim, expected=seat.version, epoch=seat.epoch)
                seat.appended(claim, seq)
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
        self._settled_at = None
        for seat in self._dispatch.hearers(entry):
            if entry.seq <= seat.at:
                continue  # its snapshot holds it
            if seat.state is PASSIVE and self._upkeep.snapshots is not None:
                wake(seat, self._upkeep.snapshots, entry.seq)
            self.reacting = seat.actor
            decision = seat.react(entry)
            if decision is not None:
                due.append((seat, decision))
            outcomes.append(Outcome(seat.actor, decision is not None, seat.stood_at))
        self.reacting = ""
        self.moved += 1
        self._settled_at = entry
        self._count += 1
        if self._gate is not None:
            await self._take_turns(self._gate, entry.seq, due, outcomes)
        elif due:
            for seat, decision in due:
                self._put(seat, decision, entry.seq, appends)
            await self._pause()
        self._dealt = entry.seq
        if self._count % BREATHE == 0:
            await asyncio.sleep(0)

    async def _take_turns(
        self, gate: Gate, seq: int, due: Sequence[tuple[Seat, Decision]], outcomes: Sequence[Outcome]
    ) -> None:
        self._lines.update((seat.actor, deque((decision,))) for seat, decision in due)
        if outcomes:
            await gate.dealt(seq, outcomes)
        for seat, decision in due:
            self._leave()  # whoever has the turn may be waiting for a place
            await gate.turn(seat.actor, seq)
            await self._append(seat, decision)
            del self._lines[seat.actor]
            await gate.appended(seat.actor, seq, seat.version)

    async def _append(self, seat: Seat, decision: Decision) -> None:
        seq = await self._tape.append(seat.actor, decision, expected=seat.version, epoch=seat.epoch)
        seat.appended(decision, seq)
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

    async def _keep(self, snapshots: Snapshots) -> None:
        """Makes snapshots now and then, between two entries."""
        self._keeper = Keeper(self.seats, snapshots, asyncio.get_running_loop().time, self._upkeep.passivate_s)
        clock, pause = asyncio.get_running_loop().time, LOOK_S
        while True:
            await asyncio.sleep(pause)
            began = clock()
            if self._gate is None and self._keeper.quiet(self._count):
                await self._move_on()
            more = await self._keep_some(self._keeper, snapshots)
            pause = max(GO_ON_S, (clock() - began) / SHARE) if more else LOOK_S

    async def _move_on(self) -> None:
        """Who hears nothing while others say much would have to look for its next entry from far back after a kill."""
        settled = self._settled_at
        entry = await passed(self._tape, self._patterns, self._dealt, LONG)
        if entry is not None and settled is not None and self._settled_at is settled:
            self._settled_at, self._dealt = entry, entry.seq

    async def _keep_some(self, keeper: Keeper, snapshots: Snapshots, *, every: bool = False) -> bool:
        entry = self._settled_at
        if entry is None:
            return False
        batch = keeper.take(entry, self._count, self._lines, every=every)
        if not batch:
            return False
        try:
            await snapshots.save(batch.snapshots, batch.moved)
        except OSError as error:  # they are worth time, not more
            log.warning("snapshots cannot be kept: %s", error)
            return False
        for seat, at in batch.idle:
            if seat.at == at and seat.actor not in self._lines and self._settled_at is not None:
                seat.state = PASSIVE
        return True

    async def save(self) -> None:
        """Snapshots of all as they are now, for a start that reads next to nothing."""
        if self._keeper is not None and self._upkeep.snapshots is not None:
            await self._settled()
            await self._keep_some(self._keeper, self._upkeep.snapshots, every=True)


Connect = Callable[[], Awaitable[tuple[Tape, Gate | None]]]
"""Opens the tape and the gate inside the process that will use them; must be picklable."""

Keep = Callable[[Sequence[Decider[Any]]], Upkeep]
"""Opens what a process keeps for its next start, inside it; must be picklable."""


class Worker:
    """What a Ray actor runs: one process, one consumer, one or more actors. `run` owns the loop."""

    def __init__(
        self,
        make: Callable[[], Sequence[Decider[Any]]],
        connect: Connect,
        keep: Keep | None = None,
    ) -> None:
        self._make = make
        self._connect = connect
        self._keep = keep
        self._host: Host | None = None
        self._running: asyncio.Task[Any] | None = None

    async def run(self, without: Collection[str] = ()) -> None:
        """Returns only by an exception; the supervisor logs it, backs off and calls again, `without` who has halted."""
        former, self._running = self._running, asyncio.current_task()
        while former is not None and not former.done():  # a call that Ray has called lost may be at work all the same
            former.cancel()
            await asyncio.wait((former,), timeout=0.2)
        deciders = [decider for decider in self._make() if decider.actor not in without]
        if not deciders:
            await asyncio.Event().wait()
        tape, gate = await self._connect()
        self._host = Host(deciders, tape, gate, self._keep(deciders) if self._keep is not None else None)
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
        host, said = self._host, {"at": 0, "decided": 0, "pid": os.getpid(), "moved": 0, "reacting": ""}
        return said if host is None else {name: getattr(host, name, value) for name, value in said.items()}

    async def save(self) -> None:
        """Snapshots of all its actors. Nothing where it is not at work."""
        if self._host is not None:
            await self._host.save()


async def sleep_before_retry(failures: int) -> None:
    await asyncio.sleep(pause_s(failures))


def pause_s(failures: int) -> float:
    """Backs off 0.2 s, 0.4 s, ... 5 s: long enough for a bus to come back, short enough for a trader."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 6))  # bounded before the power: a night of failures has no float
