"""Whether a session stayed as it was: memory flat, no handles kept, no lag that grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from statistics import median

import msgspec

from .sampling import Process, Sample

GROWTH_MAX = 0.05
SLACK_MB = 2.0  # of small processes: 5 % of 10 MB is one arena of an allocator
COLLECTED = frozenset({"nats-server"})
"""Their memory rises until it is collected, by half and more: what stays is the floor, the lowest tenth of a quarter.
nats-server holds the ids of the last two minutes, and lets go of many at once: before FULL_S it is not judged."""
FULL_S = 180.0
LEVEL_MB = {"postgres": 32.0}
"""Not judged below this: a session of PostgreSQL fills its caches of catalogs and plans up to 15 to 18 MB, in ten
minutes and more."""
HANDLES_MAX = 8  # of both ends of some connections that are being made just then
FILES_KEPT = {"postgres": 1_000}  # by each of its processes, as a cache (max_files_per_process)
PENDING_MAX = 1_000  # a second's messages: what waits in a moment's burst is no lag
IDLE_MIN = 0.05
"""Of the cores' time. With less left, a lag says that the machine is too small for the pace, or has other work: the
tables are the first to fall behind. What falls behind on a machine with time to spare is stuck."""


class Judged(msgspec.Struct, frozen=True):
    """One process: MB after warm-up and at the end, both medians (the floor, if COLLECTED) over a quarter of the time,
    and its handles.

    `allowed`: the growth that is still flat, a fraction.
    """

    name: str
    pid: int
    memory: tuple[float, float]
    handles: tuple[int, int]
    allowed: float = GROWTH_MAX

    @property
    def program(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def growth(self) -> float:
        return self.memory[1] / self.memory[0] - 1 if self.memory[0] else 0.0

    @property
    def flat(self) -> bool:
        grown = self.memory[1] - self.memory[0]
        return grown <= max(SLACK_MB, self.allowed * self.memory[0]) or self.memory[1] < LEVEL_MB.get(self.program, 0.0)

    @property
    def leaks(self) -> bool:
        return self.handles[1] > max(self.handles[0] + HANDLES_MAX, FILES_KEPT.get(self.program, 0))


class Report(msgspec.Struct, frozen=True):
    """`pending`: the largest lag of any consumer after warm-up and at the end, in messages. `rate` in messages/s.

    `ended`: (name, pid) of processes that were there after warm-up, and no longer at the end. `idle`: the share of the
    cores' time that nobody wanted.
    """

    seconds: float
    messages: int
    rate: float
    pending: tuple[int, int]
    processes: tuple[Judged, ...]
    ended: tuple[tuple[str, int], ...] = ()
    idle: float = 1.0

    @property
    def faults(self) -> list[str]:
        found = [f"{name} ({pid}) has ended on the way" for name, pid in self.ended]
        found += [f"{one.name} ({one.pid}) grew from {one.memory[0]:.1f} to {one.memory[1]:.1f} MB"
                 for one in self.processes if not one.flat]  # fmt: skip
        found += [f"{one.name} ({one.pid}) had {one.handles[0]} open files, then {one.handles[1]}"
                  for one in self.processes if one.leaks]  # fmt: skip
        if self.pending[1] > self.pending[0] + PENDING_MAX and self.idle >= IDLE_MIN:
            found.append(f"consumers were {self.pending[0]} messages behind, then {self.pending[1]}")
        return found


def judge(samples: Sequence[Sample], warm_up_s: float, growth_max: float = GROWTH_MAX) -> Report:
    """Compares the first quarter after `warm_up_s` with the last one."""
    warm = [one for one in samples if one.at >= warm_up_s]
    if len(warm) < 8:
        raise ValueError(f"{len(warm)} samples after a warm-up of {warm_up_s:g} s are too few to judge by: soak longer")
    quarter = len(warm) // 4
    first, last = warm[:quarter], warm[-quarter:]
    there = set.intersection(*({*one.processes} for one in warm))
    seconds = warm[-1].at - warm[0].at
    messages = warm[-1].messages - warm[0].messages
    full = warm_up_s >= FULL_S
    processes = tuple(_judged(pid, first, last, growth_max, full) for pid in sorted(there))
    pending = (_pending(first), _pending(last))
    ended = tuple((one.name, pid) for pid, one in sorted(warm[0].processes.items()) if pid not in warm[-1].processes)
    rate = round(messages / seconds, 1)
    return Report(round(seconds, 1), messages, rate, pending, processes, ended, _idle(warm[0], warm[-1]))


def _idle(first: Sample, last: Sample) -> float:
    idle, ticks = (after - before for before, after in zip(first.processor, last.processor, strict=True))
    return round(idle / ticks, 3) if ticks else 1.0


def _judged(pid: int, first: Sequence[Sample], last: Sequence[Sample], allowed: float, full: bool) -> Judged:
    def of(part: Sequence[Sample], what: Callable[[Process], float]) -> Iterable[float]:
        return [what(one.processes[pid]) for one in part]

    name = last[-1].processes[pid].name
    level = _floor if name in COLLECTED else median
    memory = [round(level(of(part, lambda one: one.memory)), 2) for part in (first, last)]
    handles = [int(max(of(part, lambda one: one.handles))) for part in (first, last)]
    allowed = allowed if full or name not in COLLECTED else inf
    return Judged(name, pid, (memory[0], memory[1]), (handles[0], handles[1]), allowed)


def _floor(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 10]


def _pending(part: Sequence[Sample]) -> int:
    """The median of the largest lag: one that grows stays."""
    return int(median(max(one.pending.values(), default=0) for one in part))
