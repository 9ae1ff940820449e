"""A sweep from its study to its lines: what is not there yet is played, and every run is written as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import ceil

import msgspec
import numpy as np

from actors import kernels
from infra.backtest.shared import warm
from infra.sweep.lines import Keys, Results, as_keys, as_line
from infra.sweep.study import Outcome, Study, keys
from infra.sweep.workers import BATCH_MAX, Batch, played


class Tally(msgspec.Struct):
    """How far a sweep is. `reused`: runs that were in the file already; `done` counts them, too. `bars`: candles
    played, once for every run; `seconds` since it began. `keys`: of all its runs."""

    total: int
    done: int = 0
    reused: int = 0
    failed: int = 0
    bars: int = 0
    seconds: float = 0.0
    keys: Keys = np.empty(0, np.uint64)


def run(study: Study, results: Results, jobs: int, tally: Tally, tell: Callable[[Tally], None] | None = None) -> None:
    """Plays what the file does not have, on `jobs` processes. `tell` hears how far it is a few times a second.

    What raises here (KeyboardInterrupt too) loses no line of a run that has ended, and leaves the tally right.
    """
    pending = _Pending(study, results)
    tally.keys, tally.reused = pending.keys, pending.reused
    tally.done = tally.reused
    if pending.rows > kernels.ENOUGH:
        warm()  # once for all processes
    began = told = time.perf_counter()
    outcomes = played(study, pending.batches(jobs), jobs)
    try:
        for outcome in outcomes:
            if outcome is not None:
                pending.write(outcome)
                tally.done += 1
                tally.failed += bool(outcome.error)
                tally.bars += outcome.summary.bars if outcome.summary is not None else 0
            now = time.perf_counter()
            tally.seconds = now - began
            if tell is not None and (now - told > 0.1 or tally.done == tally.total):
                told = now
                tell(tally)
    finally:
        outcomes.close()


class _Pending:
    """Runs that are to be played, slice by slice, so that their data are prepared once."""

    def __init__(self, study: Study, results: Results) -> None:
        self._study, self._results = study, results
        self._names = [(one.dataset.instrument, str(one.period)) for one in study.slices]
        done = results.done(study.digest)
        parts = [as_keys(found) for _, found in keys(study)]
        self.keys = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        self._left = [~np.isin(part, done) for part in parts]
        self._keys = parts
        self.reused = len(self.keys) - sum(int(left.sum()) for left in self._left)

    @property
    def rows(self) -> int:
        """Rows that are to be played at most, each as often as there are runs over it."""
        rows = (sum(file.rows for file in one.dataset.files) for one in self._study.slices)
        return sum(count * int(left.sum()) for count, left in zip(rows, self._left, strict=True))

    def batches(self, jobs: int) -> Iterator[Batch]:
        kept = self._study.grid.kept
        for slice, left in enumerate(self._left):
            numbers = kept[left].tolist()
            size = max(1, min(BATCH_MAX, ceil(len(numbers) / (4 * jobs))))
            for at in range(0, len(numbers), size):
                yield slice, numbers[at : at + size]

    def write(self, outcome: Outcome) -> None:
        place = int(np.searchsorted(self._study.grid.kept, outcome.number))
        name = f"{int(self._keys[outcome.slice][place]):016x}"
        instrument, period = self._names[outcome.slice]
        self._results.add(as_line(name, instrument, period, self._study.grid.at(outcome.number), outcome))
