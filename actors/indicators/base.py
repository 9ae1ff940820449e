"""What all indicators share: the warm-up contract and the snapshot."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, Generic, NoReturn, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")
Floats = NDArray[np.float64]
State = dict[str, Any]
NAN = float("nan")
INF = float("inf")
# Below this part of the price a difference is rounding, and TA-Lib takes it for 0 (CCI, Stochastic).
ROUNDING = 1e-14


class Remembers(Protocol):
    """What many runs over the same columns may have in common: see `infra.backtest.memory`."""

    def run(self, indicator: Any, columns: tuple[Floats, ...], work: Callable[..., Floats]) -> Floats:
        """What `work` answers to these columns, with the indicator left as `work` leaves it."""


MEMORY: ContextVar[Remembers | None] = ContextVar("indicators", default=None)


class Indicator(Generic[V]):
    """One streaming indicator: `update(...)` once per closed candle, in time order.

    `value` is the latest result: a float, or a tuple of floats where there are several lines. It is all NaN
    until `ready`, which becomes true on update number `warmup`. An update that raises ValueError (input that
    is not finite, or a high below its low) has changed nothing.
    """

    __slots__ = ("params", "ready", "value", "warmup")

    # Names of the slots that change with updates. The parameters are kept apart, so that a snapshot
    # can be refused by an indicator that was built with others.
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: tuple[float, ...], warmup: int, value: V) -> None:
        self.params = params
        self.warmup = warmup
        self.value = value
        self.ready = False

    def update(self, *inputs: Any) -> V:
        """Add one candle's inputs; the latest result."""
        raise NotImplementedError(f"{type(self).__name__} must say what an input changes in update(...)")

    def run(self, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `update` row by row: the result after each, (rows,) or (rows, lines); read-only."""
        memory = MEMORY.get()
        return self._shown(*columns) if memory is None else memory.run(self, columns, self._shown)

    def _shown(self, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        found = self._run(*columns).view()  # it may be a column itself, which stays its owner's
        found.flags.writeable = False
        return found

    def _run(self, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = list(map(self.update, *(column.tolist() for column in columns)))
        return np.array(rows, np.float64) if rows else np.empty(0 if isinstance(self.value, float) else (0, 1))

    def state(self) -> State:
        """A deep copy of plain JSON values (bool, int, float, None for NaN, list, dict)."""
        fields = {name: _plain(getattr(self, name)) for name in ("ready", "value", *self._fields)}
        return {"kind": type(self).__name__, "params": list(self.params), **fields}

    def restore(self, state: State) -> Self:
        """Continue, bit for bit, where `state()` was taken; ValueError if it is another indicator's."""
        expected = {"kind", "params", "ready", "value", *self._fields}
        if set(state) != expected:
            raise ValueError(f"{type(self).__name__} state needs {sorted(expected)}, got {sorted(state)}")
        theirs = (state["kind"], tuple(state["params"]))
        if theirs != (type(self).__name__, self.params):
            raise ValueError(f"state of {theirs[0]}{theirs[1]} offered to {self!r}")
        for name in ("ready", "value", *self._fields):
            held = getattr(self, name)
            if isinstance(held, Indicator):
                held.restore(state[name])
            else:
                setattr(self, name, _typed(state[name], like=held))
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.params}"


def _plain(value: Any) -> Any:
    if isinstance(value, Indicator):
        return value.state()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # JSON has no NaN.
    return None if value != value else value


def _typed(value: Any, like: Any) -> Any:
    if isinstance(value, list):
        items = [NAN if item is None else item for item in value]
        return tuple(items) if isinstance(like, tuple) else items
    return NAN if value is None else value


def check_period(name: str, period: int, least: int = 1) -> int:
    """The period itself; ValueError unless it is an integer of at least `least`."""
    if isinstance(period, bool) or not isinstance(period, int) or period < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {period!r}")
    return period


def refuse(**inputs: float) -> NoReturn:
    """Raise the ValueError that names the inputs an indicator does not accept."""
    got = ", ".join(f"{name}={value!r}" for name, value in inputs.items())
    raise ValueError(f"inputs must be finite, and high not below low: {got}")
