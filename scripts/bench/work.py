"""One measured piece of work: a command in a process of its own, whose last line on stdout is one JSON object."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import msgspec

ROOT = Path(__file__).resolve().parents[2]
OUTPUT_KEPT = 4_000
"""Characters of a failed command's stderr that are kept."""

HELD_S = 20.0
Sample = dict[str, Any]


class Oracle(msgspec.Struct, frozen=True):
    """What a run must come to. `pnl` in account currency, within `tolerance` (the last digit that is given)."""

    trades: int
    pnl: float
    tolerance: float = 1e-3

    def difference(self, sample: Mapping[str, Any]) -> str:
        """Empty where the sample agrees."""
        trades, pnl = sample.get("trades"), sample.get("pnl")
        if trades == self.trades and pnl is not None and abs(pnl - self.pnl) <= self.tolerance:
            return ""
        return f"{_amount(trades)} trades, PnL {_amount(pnl)} instead of {self.trades:,} and {self.pnl:,.4f}"


class Work(msgspec.Struct, frozen=True):
    """`argv` from the root of the repository. `oracle`, where there is one, is held against every sample; where
    `binding`, a difference fails the work, else it is shown. `rounds_max`: for what takes
    minutes. `shape` turns what a command of its own format printed into a sample."""

    name: str
    argv: tuple[str, ...]
    oracle: Oracle | None = None
    binding: bool = True
    timeout_s: float = 600.0
    rounds_max: int | None = None
    env: dict[str, str] = {}
    shape: Callable[[Sample], Sample] | None = None


class Done(msgspec.Struct):
    """The samples of one work in the order of their rounds; `error` says why there are no more."""

    work: Work
    samples: list[Sample] = []
    error: str = ""
    differs: str = ""

    def median(self, measure: str) -> float | None:
        """None where there are no samples, or none has the measure."""
        values = [one[measure] for one in self.samples if one.get(measure) is not None]
        return statistics.median(values) if values else None


class Failed(Exception):
    """A command that ended badly, in one sentence."""


def run(work: Work) -> Sample:
    """Runs it once. Adds `process_s`, from exec to exit, `cpu_s` of that, `others`, the cores that all else on the
    machine kept busy meanwhile, and `peak_mb`, the largest resident set of the process or of one that it waited for.

    Raises Failed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started, busy = time.perf_counter(), _busy_s()
        code, used, late = _wait(work, out, err)
        seconds = time.perf_counter() - started
        cpu = used.ru_utime + used.ru_stime
        others = max(_busy_s() - busy - cpu, 0.0) / seconds
        printed, complaint = _text(out), _text(err)
    if late:
        raise Failed(f"{work.name} took longer than {work.timeout_s:g} s")
    if code:
        raise Failed(f"{work.name} ended with {code}: {(complaint or printed).strip()[-OUTPUT_KEPT:]}")
    sample = last_object(printed)
    if sample is None:
        raise Failed(f"{work.name} printed no JSON object: {printed.strip()[-OUTPUT_KEPT:]}")
    if work.shape is not None:
        sample = work.shape(sample)
    cost = {"process_s": seconds, "cpu_s": cpu, "others": others, "peak_mb": used.ru_maxrss / 1024}
    sample = {**cost, **sample}
    if sample.get("rows") and sample.get("engine_s"):
        sample["rate"] = sample["rows"] * sample.get("runs", 1) / sample["engine_s"]
    return sample


def _wait(work: Work, out: IO[str], err: IO[str]) -> tuple[int, resource.struct_rusage, bool]:
    """(exit code, what it used, whether it was killed for being late).

    The kernel counts the set of the forking process into the child's peak, so this one stays small: nothing heavy is
    imported before the last measurement.
    """
    # Byte code is kept, as an installed program's is: without it every process compiles all its modules again.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = {**kept, "PYTHONHASHSEED": "0", **work.env}
    process = subprocess.Popen(work.argv, cwd=ROOT, env=env, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(work.timeout_s, kill)
    timer.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used, late.is_set()


def _busy_s() -> float:
    """Processor seconds that were not idle since the machine started, of all cores; 0 where the kernel does not say."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, soft, steal = map(int, fields)
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def last_object(text: str) -> Sample | None:
    """The JSON object that ends the text, on one line or on several."""
    lines = text.rstrip().splitlines()
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].startswith("{"):
            try:
                found = json.loads("\n".join(lines[start:]))
            except ValueError:
                continue
            return found if isinstance(found, dict) else None
    return None


def _amount(value: Any) -> str:
    return "no" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


class Turn:
    """The lock of a machine on which several people measure: kept for some runs on end, for `HELD_S` and the run that
    is then under way, so that what is compared lies close together. Without a file it locks nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a") if path is not None else None
        self._since: float | None = None

    def begin(self) -> None:
        if self._file is not None and self._since is None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._since = time.monotonic()

    def end(self) -> None:
        if self._file is not None and self._since is not None and time.monotonic() - self._since > HELD_S:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._since = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()  # and with it goes the lock


def measured(
    works: Sequence[Work], rounds: int, lock: Path | None, said: Callable[[Work, Done, int], None] | None = None
) -> dict[str, Done]:
    """Every work once a round, forward in one round and backward in the next, so that a slow minute hits all alike.

    A work that failed is not tried again. `said(work, done, number)` is told of every run that is over.
    """
    found = {work.name: Done(work) for work in works}
    with Turn(lock) as turn:
        for number in range(rounds):
            for work in works if number % 2 == 0 else reversed(works):
                done = found[work.name]
                if done.error or (work.rounds_max is not None and number >= work.rounds_max):
                    continue
                turn.begin()
                _once(done)
                turn.end()
                if said is not None:
                    said(work, done, number)
    return found


def _once(done: Done) -> None:
    try:
        sample = run(done.work)
    except Failed as error:
        done.error = str(error)
        return
    if done.work.oracle is not None:
        done.differs = done.work.oracle.difference(sample)
        if done.differs and done.work.binding:
            done.error = done.differs
    done.samples.append(sample)
