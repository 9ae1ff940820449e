"""What a backtest leaves behind: trades, equity and counts, but none of the facts it went through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Generic, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.plan import Plan
from actors.stretch import Stretch
from events.fact import Fact
from events.trading import Fill, OrderPlaced, RiskRefused, Signal


class Curve(msgspec.Struct, frozen=True):
    """Equity after each base bar, columns of equal length.

    `ts`: close of the bar in µs, increasing. `equity`: cash and positions at the last close. `gross`: the sum of the
    absolute values of the positions. `held`: whether there was a position at any time of the bar. `start`: the cash
    before the first bar.
    """

    currency: str
    start: float
    ts: NDArray[np.int64]
    equity: NDArray[np.float64]
    gross: NDArray[np.float64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ts)


class Sketch(msgspec.Struct, frozen=True):
    """What figures need of a curve, which is far less than its points.

    `days`: the curve at its first point and at the last of each UTC day, equity alone. `points` in all, `held` those
    with a position. `final`: the last equity. `deepest`: the deepest fall below the highest equity so far (the start is
    one), a fraction, 0 or negative; None without points.
    """

    days: Curve
    points: int
    final: float
    held: int
    deepest: float | None


class Market(msgspec.Struct):
    """What the data of one symbol were like: bars, what was missing, and what was flagged or refused, by reason."""

    venue: str
    symbol: str
    base: str
    bars: int = 0
    first_ts: int = 0
    last_ts: int = 0
    first_open: float = 0.0
    last_close: float = 0.0
    gaps: int = 0
    missing: int = 0
    backfilled: int = 0
    revised: int = 0
    flags: dict[str, int] = {}
    quarantined: dict[str, int] = {}


class Holding(msgspec.Struct, frozen=True):
    """A position that is open at the end, at the last close."""

    account: str
    bot: str
    venue: str
    symbol: str
    qty: Decimal
    average: Decimal
    mark: Decimal
    unrealized: Decimal


class Curves(Mapping[str, Curve]):
    """By account; each is worked out when it is looked at. So is a sketch, for which no curve need be made."""

    def __init__(
        self, makers: Mapping[str, Callable[[], Curve]], sketchers: Mapping[str, Callable[[], Sketch]]
    ) -> None:
        self._makers, self._sketchers = makers, sketchers
        self._made: dict[str, Curve] = {}

    def __getitem__(self, name: str) -> Curve:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def sketch(self, name: str) -> Sketch:
        return self._sketchers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


F = TypeVar("F", bound=Fact)


class Facts(Sequence[F], Generic[F]):
    """Facts of one type in tape order. Those of plain trading in columns are made when they are looked at; `parts` are
    facts, and stretches that hold some."""

    def __init__(self, kind: type[F], parts: Sequence[F | Stretch]) -> None:
        self._kind, self.parts = kind, parts
        self._whole: tuple[F, ...] | None = None

    def __iter__(self) -> Iterator[F]:
        return iter(self._all)

    def __len__(self) -> int:
        return sum(part.count(self._kind) if isinstance(part, Stretch) else 1 for part in self.parts)

    @overload
    def __getitem__(self, place: int) -> F: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[F]: ...
    def __getitem__(self, place: int | slice) -> F | Sequence[F]:
        return self._all[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts | tuple) and self._all == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all)

    def of(self, name: str) -> Counter[str]:
        """How many there are by their field `bot` or `account`."""
        found: Counter[str] = Counter()
        for part in self.parts:
            if isinstance(part, Stretch):
                found[getattr(part, name).name] += part.count(self._kind)
            else:
                found[getattr(part, name)] += 1
        return found

    @property
    def _all(self) -> tuple[F, ...]:
        if self._whole is None:
            found: list[F] = []
            for part in self.parts:
                if isinstance(part, Stretch):
                    found += part.facts(self._kind)
                else:
                    found.append(part)
            self._whole = tuple(found)
        return self._whole


class Result(msgspec.Struct, frozen=True):
    """`curves` by account; `fills`, `orders`, `signals` and `refusals` in tape order; `counts` of facts by kind, the
    feeds' own left out.

    `digest` proves equality with any other run over the same facts under the same plan; `digests` has it by actor.
    `entries`: messages on the tape, the recorded plan not counted; `decisions`: those of them that an actor decided.
    """

    plan: Plan
    digest: str
    digests: dict[str, str]
    entries: int
    decisions: int
    curves: Curves
    fills: Facts[Fill]
    orders: Facts[OrderPlaced]
    signals: Facts[Signal]
    refusals: Facts[RiskRefused]
    holdings: tuple[Holding, ...]
    markets: tuple[Market, ...]
    counts: dict[str, int]
    close_last: str | None = None
