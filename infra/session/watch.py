"""Processes are watched from outside: one that has work and does not move is killed, which starts it again.

What counts is movement, not speed: a process that catches up, or works on a busy machine, moves. While the bus is away
nobody is judged. Where the same actor hangs again and again it is left out, and the tape says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from events.tape import TapeError
from infra.session import notify
from infra.tapes.jetstream import JetStreamTape

log = logging.getLogger("tickertape.watch")

POLL_S = 1.0
ASK_S = 2.0  # a process answers in milliseconds, in a thread of its own
START_S = 120.0  # to start a process and load a strategy with all that it imports, on a busy machine


class Limits(msgspec.Struct, frozen=True):
    """A process is stalled that has had work for so many seconds and has not moved; it is started again so often at
    one place of the tape."""

    stall_s: float = 30.0
    stalls_max: int = 3


class Process(msgspec.Struct):
    """What is known of a process. `at`: what it has dealt with; `since`: when it was last seen to move; `due`: since
    when it is known to have had work, without a move (0: it has none).

    Without `actors` it is the projector, which hears everything.
    """

    label: str
    worker: Any
    actors: Sequence[str]
    patterns: Sequence[str]
    since: float
    due: float = 0.0
    looked: float = 0.0
    at: int = 0
    pid: int = 0
    moved: tuple[int, ...] = ()
    reacting: str = ""
    answers: bool = False
    stalls: int = 0
    stalled: tuple[int, str] = (-1, "")

    def hear(self, said: dict[str, Any], now: float) -> None:
        moved = (said["at"], said["pid"], said.get("moved", 0))
        if moved != self.moved or not self.answers:
            self.since, self.due = now, 0.0
        self.at, self.pid, self.moved, self.answers = said["at"], said["pid"], moved, True
        self.reacting = said.get("reacting", "")

    async def described(self, tape: JetStreamTape) -> dict[str, Any]:
        """For people. `lag`: by how many places of the tape its newest entry is ahead of what it has dealt with."""
        newest = await tape.end() if not self.actors else 0
        for pattern in self.patterns if self.actors else ():
            newest = max(newest, await tape.last_match(pattern))
        still = asyncio.get_running_loop().time() - self.since
        return {
            "process": self.label, "pid": self.pid, "at": self.at, "lag": max(0, newest - self.at),
            "still_s": round(still, 1), "answers": self.answers, "stalls": self.stalls,
        }  # fmt: skip

    def starts_again(self, now: float) -> None:
        self.since, self.due, self.answers, self.reacting = now, 0.0, False, ""


Report = Callable[[Process, float, bool], Awaitable[None]]
"""Told of a stalled process, before it is killed: for how many seconds it has not moved, and whether that was once too
often."""


class Watch:
    """`awaited`: in lock-step, whom all wait for ('' nobody): only its process can be stalled, for others wait too."""

    def __init__(
        self, tape: JetStreamTape, limits: Limits, report: Report, awaited: Callable[[], str] | None = None
    ) -> None:
        self.processes: dict[str, Process] = {}
        self._tape, self._limits, self._report = tape, limits, report
        self.awaited = awaited
        self._poll_s = min(POLL_S, limits.stall_s / 5)

    def add(self, label: str, worker: Any, actors: Sequence[str], patterns: Collection[str]) -> None:
        now = asyncio.get_running_loop().time()
        self.processes[label] = Process(label, worker, tuple(actors), tuple(sorted(patterns)), now)

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            if loop.time() - looked > 4 * ASK_S + self._poll_s:
                self._excuse(loop.time())  # it was this process that stood still
            looked = loop.time()
            notify.tell("WATCHDOG=1")
            try:
                async with asyncio.timeout(ASK_S):
                    end = await self._tape.end()
            except (TapeError, TimeoutError):
                self._excuse(loop.time())  # without the bus nobody can move
            else:
                await asyncio.gather(*(self._look(one, end) for one in [*self.processes.values()]))
            await asyncio.sleep(self._poll_s)

    def _excuse(self, now: float) -> None:
        for one in self.processes.values():
            one.since, one.due = now, 0.0

    async def _look(self, one: Process, end: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ASK_S):
                said = await one.worker.progress.options(concurrency_group="watch").remote()
            one.hear(said, loop.time())
        except RayError:  # it has ended or is being started: whoever supervises it sees to that
            one.starts_again(loop.time())
        except TimeoutError:
            pass
        now, patience = loop.time(), self._limits.stall_s if one.answers else max(START_S, self._limits.stall_s)
        # Whoever has no work is asked now and then, for it takes a question for every pattern.
        ask_at = one.due + patience if one.due else max(one.since, one.looked) + self._limits.stall_s / 4
        if now < ask_at:
            return
        one.looked = now
        try:
            async with asyncio.timeout(ASK_S):
                due = one.at < end and await self._has_work(one)
        except (TapeError, TimeoutError):
            return
        if due and one.due:
            await self._stalled(one, now - one.due)
        else:
            one.due = now if due else 0.0

    async def _has_work(self, one: Process) -> bool:
        if self.awaited is not None and one.actors:
            return self.awaited() in one.actors
        for pattern in one.patterns:
            if await self._tape.last_match(pattern) > one.at:
                return True
        return False

    async def _stalled(self, one: Process, still: float) -> None:
        again = one.stalled == (one.at, one.reacting) or (one.reacting and one.stalled[1] == one.reacting)
        one.stalls = one.stalls + 1 if again else 1
        one.stalled = (one.at, one.reacting)
        over = one.stalls > self._limits.stalls_max
        log.error("%s has not moved for %.0f s at %d (time %d)", one.label, still, one.at, one.stalls)
        await self._report(one, still, over)
        one.starts_again(asyncio.get_running_loop().time())
        # What is stopped ends five seconds later, what hangs at once; whoever supervises it calls it again.
        await asyncio.to_thread(ray.kill, one.worker, no_restart=False)
