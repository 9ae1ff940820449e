"""The power of one of three machines goes while another is cut off: what a majority had acknowledged may be lost.

The case that Jepsen published for NATS 2.12. While one follower is cut off, the leader and the other follower
acknowledge. Then the power of that other one goes, the leader is cut off from its peers, and the first follower is
back: the one that lost its newest writes and the one that never had them are a majority, and go on without. Later the
former leader joins them again.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec

from events.tape import HistoryLost
from infra.tapes.jetstream import JetStreamTape
from scripts.power.disk import Disk
from scripts.power.loss import Acked, decision, say
from scripts.power.machines import Machine, Machines

TAPE = "main"
RATE = 50.0  # appends a second of each writer
APART_S = 15.0  # a leader that is cut off gives up after 10 s
NOTICE_S = 90.0  # a shorter answer is asked again for 20 s; elections on a busy machine
READY_S = 60.0


class Client:
    """A writer of one actor and a reader of all, over connections of their own. `end`: how each ended."""

    def __init__(self, name: str, writes: JetStreamTape, reads: JetStreamTape) -> None:
        self.name, self.acked, self.read = name, list[Acked](), dict[int, str]()
        self._writes, self._reads = writes, reads
        self._tasks = [asyncio.ensure_future(self._write(f"bot.{name}")), asyncio.ensure_future(self._follow())]

    async def _write(self, actor: str) -> None:
        expected, number = 0, 0
        while True:
            number += 1
            entry = decision(actor, number)
            began = time.monotonic()
            expected = await self._writes.append(actor, entry, expected=expected)
            self.acked.append(Acked(expected, entry.id, time.monotonic(), time.monotonic() - began))
            await asyncio.sleep(1 / RATE)

    async def _follow(self) -> None:
        async for entry in self._reads.follow():
            self.read[entry.seq] = entry.decision.id

    def ends(self) -> list[str]:
        """How writer and reader ended; '' where they have not."""
        return [type(task.exception()).__name__ if task.done() else "" for task in self._tasks]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for tape in (self._writes, self._reads):
            with suppress(Exception):
                await tape.close()


class Figures(msgspec.Struct):
    """`lost`: acknowledged, and not there any more; `lost_s`: how old the oldest of them was when the machines were
    parted. `former`: the leader before. `apart`: replicas that hold something else at the end than the one that leads,
    `apart_started`: after they were started again, `apart_emptied`: and again, without their store. `silent`: writers
    and readers that know of something that is lost, and went on; `ended`: how the others ended."""

    sync: str
    former: str = ""
    acked: int = 0
    lost: int = 0
    lost_s: float = 0.0
    holes: int = 0
    replaced: int = 0
    apart: list[str] = []
    apart_started: list[str] = []
    apart_emptied: list[str] = []
    ended: dict[str, str] = {}
    silent: list[str] = []


async def client(name: str, url: str) -> Client:
    return Client(name, *[await JetStreamTape.connect(url, TAPE, replicas=3, create=False) for _ in range(2)])


async def parted(machines: Machines, disks: dict[Machine, Disk], sync: str) -> Figures:
    found = Figures(sync)
    opened = await JetStreamTape.connect(machines.url, TAPE, replicas=3)
    await opened.close()
    leader = await machines.leader(TAPE)
    assert leader is not None
    first, second = machines.peers(leader)
    found.former = leader.name
    clients = [await client("everywhere", machines.url), await client("leader", leader.url)]
    try:
        await asyncio.sleep(3)
        first.cut(machines.peers(first), clients_too=True)
        await asyncio.sleep(8)
        cut_at = time.monotonic()
        disks[second].cut()
        second.kill()
        leader.cut(machines.peers(leader), clients_too=False)
        disks[second].restore()
        first.heal(machines.peers(first))
        machines.start(second)
        acked = [one for each in clients for one in each.acked if one.at < cut_at]
        await answers([first, second])
        late = await client("after", f"{first.url},{second.url}")
        clients.append(late)
        await asyncio.sleep(APART_S)
        leader.heal(machines.peers(leader))
        await settled(clients, found, leader, machines)
        await compared(found, machines, clients, acked, cut_at)
    finally:
        for each in clients:
            await each.close()
    return found


async def answers(machines: Sequence[Machine]) -> None:
    """Returns when the stream has a leader among some machines."""
    deadline = time.monotonic() + READY_S
    while True:
        with suppress(Exception):
            tape = await JetStreamTape.connect(",".join(one.url for one in machines), TAPE, create=False, patience_s=2)
            try:
                await tape.end()
                return
            finally:
                await tape.close()
        if time.monotonic() > deadline:
            raise AssertionError(f"no leader within {READY_S:g} s")


async def settled(clients: list[Client], found: Figures, leader: Machine, machines: Machines) -> None:
    """Until those who know of what is lost have ended, or long enough."""
    deadline = time.monotonic() + NOTICE_S
    while time.monotonic() < deadline and not all(all(each.ends()) for each in clients[:2]):  # noqa: ASYNC110
        await asyncio.sleep(0.5)


async def contents(machines: Machines) -> dict[str, dict[int, str]]:
    """What each machine holds, asked while it leads."""
    held: dict[str, dict[int, str]] = {}
    deadline = time.monotonic() + READY_S
    while len(held) < 3 and time.monotonic() < deadline:
        await answers(machines.all)
        leader = await machines.leader(TAPE)
        tape = await JetStreamTape.connect(machines.url, TAPE, create=False)
        try:
            if leader is not None and leader.name not in held:
                held[leader.name] = {seq: one async for seq, one in _each(tape)}
            with suppress(Exception):
                other = next(one.name for one in machines.all if one.name not in held)
                await tape.bus.ask(f"STREAM.LEADER.STEPDOWN.{TAPE}", {"placement": {"preferred": other}})
            await asyncio.sleep(0.5)
        finally:
            await tape.close()
    return held


async def _each(tape: JetStreamTape) -> Any:
    for seq in range(1, await tape.end() + 1):
        entry = await tape.entry(seq)
        yield seq, entry.decision.id if entry is not None else ""


async def compared(
    found: Figures, machines: Machines, clients: Sequence[Client], acked: Sequence[Acked], cut_at: float
) -> None:
    ends = {each.name: each.ends() for each in clients}
    for each in clients:
        await each.close()  # what is compared stands still
    held = await contents(machines)
    stands = next(iter(held.values()))
    found.apart = _apart(machines, held)
    found.apart_started = await _again(machines, found.apart, empty=False)
    found.apart_emptied = await _again(machines, found.apart_started, empty=True)
    lost = [one for one in acked if stands.get(one.seq) != one.id]
    ids = set(stands.values())
    found.acked, found.lost = len(acked), len(lost)
    found.lost_s = round(cut_at - min((one.at for one in lost), default=cut_at), 2)
    found.holes = sum(not id for id in stands.values())
    found.replaced = sum(one.seq in stands and one.id not in ids for one in lost)
    gone = {one.seq for one in lost}
    for each in clients[:2]:
        knows = (bool(gone & {one.seq for one in each.acked}), any(stands.get(s) != i for s, i in each.read.items()))
        for role, known, end in zip(("writer", "reader"), knows, ends[each.name], strict=True):
            who = f"{role} {each.name}"
            if known and end != HistoryLost.__name__:
                found.silent.append(f"{who}: {end or 'went on'}")
            found.ended[who] = end


async def _again(machines: Machines, apart: list[str], *, empty: bool) -> list[str]:
    """Starts those that are apart, and says which still are."""
    if not apart:
        return []
    for one in machines.all:
        if any(line.startswith(f"{one.name}:") for line in apart):
            one.kill()
            if empty:
                shutil.rmtree(one.folder / "jetstream")
            machines.start(one)
    await asyncio.sleep(APART_S)
    return _apart(machines, await contents(machines))


def _apart(machines: Machines, held: dict[str, dict[int, str]]) -> list[str]:
    """Beside what the first that led holds."""
    stands = next(iter(held.values()))
    apart = [f"{name}: {_differs(one, stands)}" for name, one in held.items() if one != stands]
    return apart + [f"{one.name}: not asked" for one in machines.all if one.name not in held]


def _differs(one: dict[int, str], other: dict[int, str]) -> str:
    at = [seq for seq in sorted({*one, *other}) if one.get(seq) != other.get(seq)]
    return f"{len(at)} messages from {at[0]} to {at[-1]}; it ends at {max(one)}, the other at {max(other)}"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sync", nargs="*", default=["1s", "always"])
    parser.add_argument("--runs", type=int, default=1)


async def main(chosen: argparse.Namespace) -> int:
    """1 where replicas differ in the end, somebody goes on with what is lost, or `always` lost something."""
    bad = False
    for sync in [sync for sync in chosen.sync for _ in range(chosen.runs)]:
        folder = Path(tempfile.mkdtemp(prefix="tape-cutoff-"))
        try:
            with ExitStack() as stack:
                disks = [stack.enter_context(Disk(folder / str(n))) for n in (1, 2, 3)]
                async with Machines(folder, sync) as machines:
                    found = await parted(machines, dict(zip(machines.all, disks, strict=True)), sync)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        say(msgspec.json.encode(found).decode())
        bad |= bool(found.apart or found.silent or (found.lost and sync == "always"))
    return int(bad)
