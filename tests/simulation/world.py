"""The whole system in one process, on virtual time, with faults drawn from a seed.

Real: deciders, hosts, lock-step gates, the conductor, the tape's contract. Simulated: the network between them, which
delays and loses core messages and delivers tape messages late and twice, and processes that die at any await, before
an append, after it, or as zombies that go on while their successor already works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

from actors.decider import Decider
from actors.lockstep import Lockstep
from actors.plan import Plan
from actors.roster import deciders
from actors.shell import Host
from actors.snapshot import Place, Snapshot, packed, unpacked
from actors.upkeep import SnapshotGone, Upkeep
from events import subjects
from events.decision import Decision, Recorded
from events.digest import Digest, digest
from events.fact import Fact
from events.feed import command
from events.memory import MemoryTape
from events.tape import EVERYTHING, LostRace
from infra.session.lockstep import Conductor, LockstepGate

Market = list[tuple[str, Decision]]

RESTS_S = 1.0  # of virtual time, in which some entries go by: actors rest, and are woken, many times in a run


class Crash(Exception):
    """A process dies here."""


class Faults:
    """How often what goes wrong; after `left` faults nothing does any more, so that every run ends."""

    def __init__(self, chance: Random, left: int) -> None:
        self.chance, self.left = chance, left
        self.log: list[str] = []

    def strike(self, odds: float, what: str) -> bool:
        if self.left <= 0 or self.chance.random() >= odds:
            return False
        self.left -= 1
        self.log.append(what)
        return True

    async def delay(self) -> None:
        await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.001, 0.01, 0.2)))


class Bus:
    """Core messages: in order per subscription, late, and sometimes lost."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.listening: list[Listener] = []

    def carry(self, subject: str, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for listener in self.listening:
            hears = subjects.matches(listener.subject, *subject.rsplit(".", 1))
            if hears and not self.faults.strike(0.05, f"lost {subject}"):
                listener.due = max(listener.due, loop.time() + self.faults.chance.choice((0.0, 0.001, 0.05)))
                loop.call_at(listener.due, listener.hear, subject, data)


class Listener:
    def __init__(self, bus: Bus, subject: str, callback: Callable[[Any], Awaitable[None]]) -> None:
        self.bus, self.subject, self._callback = bus, subject, callback
        self.due = 0.0
        self._inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._work())

    def hear(self, subject: str, data: bytes) -> None:
        self._inbox.put_nowait((subject, data))

    async def _work(self) -> None:
        while True:
            subject, data = await self._inbox.get()
            await self._callback(SimpleNamespace(subject=subject, data=data))

    async def unsubscribe(self) -> None:
        self._task.cancel()
        if self in self.bus.listening:
            self.bus.listening.remove(self)


class Client:
    """One process's connection; what the gate and the conductor use of a NATS client."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._mine: list[Listener] = []

    async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> Listener:
        listener = Listener(self._bus, subject, cb)
        self._mine.append(listener)
        self._bus.listening.append(listener)
        return listener

    async def publish(self, subject: str, data: bytes) -> None:
        self._bus.carry(subject, data)

    async def close(self) -> None:
        for listener in self._mine:
            await listener.unsubscribe()


class Line:
    """One process's way to the tape: slow, doubling what it delivers, and dying around appends."""

    def __init__(self, store: MemoryTape, faults: Faults, mortal: bool) -> None:
        self.name = store.name
        self._store, self._faults, self._mortal = store, faults, mortal

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        await self._faults.delay()
        if self._mortal and self._faults.strike(0.02, f"died before an append of {actor}"):
            raise Crash
        seq = await self._store.append(actor, decision, expected=expected, epoch=epoch)
        if self._mortal and self._faults.strike(0.02, f"died after an append of {actor}, unacknowledged"):
            raise Crash
        await self._faults.delay()
        return seq

    async def last(self, actor: str) -> Recorded | None:
        return await self._store.last(actor)

    async def entry(self, seq: int) -> Recorded | None:
        return await self._store.entry(seq)

    async def end(self) -> int:
        return await self._store.end()

    async def last_match(self, pattern: str) -> int:
        return await self._store.last_match(pattern)

    def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        return self._store.read(patterns, after=after)

    async def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        async for entry in self._store.follow(patterns, after=after):
            await self._faults.delay()
            yield entry
            if self._faults.strike(0.05, f"delivered {entry.seq} twice"):
                yield entry

    async def close(self) -> None: ...


class Shelf:
    """Snapshots in memory that outlive the processes: slow to keep, and now and then lost, or kept by a zombie."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.kept: dict[str, list[bytes]] = {}
        self.used = 0

    def key(self, actor: str) -> str:
        return "key"

    def load(self, actor: str) -> Iterator[Snapshot]:
        for data in reversed(self.kept.get(actor, [])):
            if not self._faults.strike(0.02, f"lost a snapshot of {actor}"):
                self.used += 1
                yield unpacked(data)

    async def save(self, snapshots: Sequence[Snapshot], moved: Sequence[Place]) -> None:
        await self._faults.delay()
        old = [replaced for place in moved if (replaced := self._moved(place)) is not None]
        for snapshot in (*snapshots, *old):
            shelf = self.kept.setdefault(snapshot.place.actor, [])
            shelf.append(packed(snapshot))
            shelf.sort(key=lambda data: unpacked(data).place.seq)
            del shelf[:-2]

    def _moved(self, place: Place) -> Snapshot | None:
        shelf = self.kept.get(place.actor)
        return Snapshot(place, unpacked(shelf[-1]).body) if shelf else None

    def drop(self, place: Place) -> None:
        raise AssertionError(f"a snapshot of {place.actor} at {place.seq} did not fit its own tape")


class World:
    """One seeded run. `play` returns the tape when all of the market has been dealt with; `commands` come amid it."""

    def __init__(self, plan: Plan, market: Market, seed: int, faults: int = 40, commands: Sequence[Fact] = ()) -> None:
        self.plan, self.market, self.commands = plan, market, [*commands]
        self.faults = Faults(Random(seed), faults)
        self.tape = MemoryTape()
        self.shelf = Shelf(self.faults)
        self.processes: list[asyncio.Task[None]] = []

    async def play(self, *, lockstep: bool) -> MemoryTape:
        while True:
            bus = Bus(self.faults)
            every = deciders(self.plan)
            settled = max(0, self._last_market_fact() - 1)
            hosts = [
                asyncio.ensure_future(self._keep(group, bus, settled if lockstep else None))
                for group in self._groups(every)
            ]
            conducting = asyncio.ensure_future(self._conduct(bus, every, settled, lockstep))
            operating = asyncio.ensure_future(self._operate())
            done = await self._until_done_or_killed(conducting)
            for task in (conducting, operating, *hosts, *self.processes):
                task.cancel()
            await asyncio.gather(conducting, operating, *hosts, *self.processes, return_exceptions=True)
            self.processes.clear()
            if done:
                return self.tape

    async def _until_done_or_killed(self, conducting: asyncio.Task[None]) -> bool:
        while True:
            done, _ = await asyncio.wait((conducting,), timeout=1.0)
            if done:
                conducting.result()
                return True
            if self.faults.strike(0.05, "everything was killed"):
                return False

    async def _operate(self) -> None:
        """An operator at the worst of moments."""
        while self.commands:
            await asyncio.sleep(self.faults.chance.choice((0.001, 0.05, 0.5)))
            message, last = command(self.commands.pop(0), 0), await self.tape.last(subjects.COMMAND)
            await self.tape.append(subjects.COMMAND, message, expected=last.seq if last else 0)

    async def _conduct(self, bus: Bus, every: Sequence[Decider[Any]], settled: int, lockstep: bool) -> None:
        line, rest = Line(self.tape, self.faults, mortal=False), self._rest()
        if lockstep:
            await Conductor(Client(bus), line, every).play(rest, settled=settled)  # type: ignore[arg-type]
            return
        for actor, message in rest:
            last = await self.tape.last(actor)
            await line.append(actor, message, expected=last.seq if last else 0)
        end = -1
        while end != (end := await self.tape.end()):  # noqa: ASYNC110
            await asyncio.sleep(60)  # virtual: longer than any delay and any restart

    def _rest(self) -> Iterator[tuple[str, Decision]]:
        known = {entry.decision.id for entry in self.tape.entries}
        return ((actor, message) for actor, message in self.market if message.id not in known)

    def _last_market_fact(self) -> int:
        return max((entry.seq for entry in self.tape.entries if entry.actor.startswith("feed.")), default=0)

    def _groups(self, every: Sequence[Decider[Any]]) -> list[tuple[str, ...]]:
        names = [decider.actor for decider in every]
        cut = self.faults.chance.randint(1, len(names))
        return [tuple(names[:cut]), *((name,) for name in names[cut:])]

    async def _keep(self, group: tuple[str, ...], bus: Bus, settled: int | None) -> None:
        """Starts a process again whenever it dies; now and then while it still lives."""
        while True:
            process = asyncio.ensure_future(self._process(group, bus, settled))
            self.processes.append(process)
            while True:
                done, _ = await asyncio.wait((process,), timeout=1.0)
                if done:
                    break
                if self.faults.strike(0.03, f"called {group[0]} dead while it lives"):
                    break  # a zombie: it goes on beside its successor until it loses a race
                if self.faults.strike(0.03, f"killed {group[0]}"):
                    process.cancel()
            if (
                done
                and not process.cancelled()
                and not isinstance(process.exception(), Crash | LostRace | SnapshotGone)
            ):
                process.result()
            await self.faults.delay()

    async def _process(self, group: tuple[str, ...], bus: Bus, settled: int | None) -> None:
        line, client = Line(self.tape, self.faults, mortal=True), Client(bus)
        gate = None if settled is None else await LockstepGate.open(client, self.tape.name, settled)  # type: ignore[arg-type]
        mine = [decider for decider in deciders(self.plan) if decider.actor in group]
        try:
            await Host(mine, line, gate, Upkeep(self.shelf, passivate_s=RESTS_S)).run()
        finally:
            await client.close()


def undisturbed(plan: Plan, market: Market) -> str:
    """The digest of the in-process loop."""
    found = Digest()
    loop = Lockstep(deciders(plan), lambda entry: found.add(entry.actor, entry.decision))
    for actor, message in market:
        loop.feed(actor, message)
    return found.hexdigest()


def digest_of(tape: MemoryTape) -> str:
    return digest(tape.entries)
