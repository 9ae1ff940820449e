"""What a sweep is made of: plans over data, cut into slices, and what one run of it comes to."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b, sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from actors.plan import Plan
from actors.strategies import find
from infra.backtest.data import MarketFile, stream
from infra.backtest.engine import backtest, play
from infra.backtest.result import Result
from infra.backtest.shared import Shared
from infra.backtest.told import told
from infra.sweep.grid import Grid
from infra.sweep.periods import Period
from infra.sweep.summary import Summary, summary

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Dataset(msgspec.Struct, frozen=True):
    """One instrument's files and the plan that plays them; each run changes the parameters of its bots."""

    plan: Plan
    files: tuple[MarketFile, ...]

    @property
    def instrument(self) -> str:
        return f"{self.files[0].venue}/{self.files[0].symbol}"

    @property
    def span(self) -> tuple[int, int] | None:
        spans = [one.span for one in self.files if one.span is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


class Slice(msgspec.Struct, frozen=True):
    """A period of a dataset: every combination is played over it."""

    dataset: Dataset
    period: Period


class Study(msgspec.Struct, frozen=True):
    """All slices times all combinations that are kept."""

    slices: tuple[Slice, ...]
    grid: Grid
    close_last: bool = False
    digest: bool = True

    def __len__(self) -> int:
        return len(self.slices) * len(self.grid.kept)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run: its figures, or the error that ended it. `number`: of the combination. `seconds`: of the clock."""

    slice: int
    number: int
    digest: str = ""
    error: str = ""
    seconds: float = 0.0
    summary: Summary | None = None


def with_params(plan: Plan, params: Mapping[str, Any]) -> Plan:
    """The plan with these parameters set on every bot, its others left as they are."""
    bots = tuple(msgspec.structs.replace(one, params={**one.params, **params}) for one in plan.bots)
    return msgspec.structs.replace(plan, bots=bots)


class Player:
    """Plays runs of one slice after the other; what runs of a slice share is made once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._at = -1

    def __call__(self, slice: int, number: int) -> Outcome:
        """A run that raises is an outcome with an error."""
        started = time.perf_counter()
        try:
            if slice != self._at:
                self._load(slice)
            result = self._play(self._study.grid.at(number))
            found = summary(result)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(slice=slice, number=number, error=said, seconds=time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return Outcome(slice=slice, number=number, digest=result.digest, seconds=seconds, summary=found)

    def _load(self, slice: int) -> None:
        one, close = self._study.slices[slice], self._study.close_last
        plan, files, period = one.dataset.plan, one.dataset.files, one.period
        self._plan = plan
        self._shared = Shared()
        parts = told(plan, files, start=period.start, end=period.end, close_last=close)
        self._parts: Sequence[Any] | None = None if parts is None else tuple(parts)
        self._files, self._period = files, period
        self._at = slice

    def _play(self, params: Mapping[str, Any]) -> Result:
        plan, close, digest = with_params(self._plan, params), self._study.close_last, self._study.digest
        if self._parts is not None:
            return play(plan, self._parts, digest=digest, close_last="open" if close else None, shared=self._shared)
        messages = stream(self._files, start=self._period.start, end=self._period.end)
        return backtest(plan, messages, close_last="open" if close else None)


def key(one: Slice, params: Mapping[str, Any], basis: bytes) -> str:
    """Names a run by all that decides it: plan, data, period, and what `basis` says of the code."""
    plan = with_params(one.dataset.plan, params)
    data = [(file.sha256, file.venue, file.symbol, file.timeframe) for file in one.dataset.files]
    return blake2b(_encode((plan, data, one.period)) + basis, digest_size=8).hexdigest()


def basis(study: Study) -> bytes:
    """What else decides runs: the version of this program, the files of the strategies, how the data end."""
    names = sorted({bot.strategy for one in study.slices for bot in one.dataset.plan.bots})
    sources = [_source(name) for name in names]
    return _encode([metadata.version("tickertape"), sources, study.close_last])


def _source(strategy: str) -> str:
    """The SHA-256 of the file that a strategy is written in; of what that file imports nothing is known."""
    try:
        path = inspect.getsourcefile(find(strategy))
        return sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except (TypeError, OSError):
        return ""


def keys(study: Study) -> Iterator[tuple[int, list[str]]]:
    """(slice, the keys of its runs in the order of `grid.kept`)."""
    said, every = basis(study), study.grid.kept.tolist()
    for place, one in enumerate(study.slices):
        yield place, [key(one, study.grid.at(number), said) for number in every]
