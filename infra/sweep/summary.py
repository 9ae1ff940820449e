"""The figures of a run that a table ranks, straight from its result: the same numbers as a report's, for less work."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.account.plain import Legs
from actors.stretch import Stretch
from events.block import Floats
from events.trading import Fill
from infra.backtest import kpis
from infra.backtest.result import Curves, Facts, Result, Sketch
from infra.backtest.sketch import sketch_of

_NOTHING = 1e-13  # of what was traded; rounding errors of sums of floats stay below
_FEES = 1e8  # fees in columns have 8 decimals
_OWNER = attrgetter("account", "bot", "venue", "symbol")
_NUMBERS = tuple(map(attrgetter, ("position", "qty", "price", "fee")))

_Piece = tuple[Floats, Floats, Floats, Floats]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Names and meanings are those of a report's figures (README of `infra.backtest`), of all accounts together.

    Money and ratios of trades are float sums here: they agree with the report's to some 12 digits. None: the data do
    not determine it.
    """

    bars: int
    trades: int
    net_profit: float
    total_return: float | None
    max_drawdown: float | None
    sharpe: float | None
    sortino: float | None
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    exposure: float | None
    fees: float
    final: float


SMALLER_IS_BETTER = frozenset({"fees", "exposure"})
FIGURES: tuple[str, ...] = Summary.__struct_fields__
"""What runs can be ranked by; the larger, the better, but for those named above. Drawdowns are negative."""


def better(figure: str, value: float) -> float:
    """The larger, the better."""
    return -value if figure in SMALLER_IS_BETTER else value


def summary(result: Result) -> Summary:
    """Accounts of several currencies have no figures together: those are of the first account."""
    sketch = _sketch(result.curves)
    start, points = sketch.days.start, sketch.points
    returns, periods = kpis.daily(sketch.days, continuous=kpis.is_continuous(result.plan))
    pnl, fees = trade_results(result.fills)
    wins, lost = pnl[pnl > 0], float(-pnl[pnl < 0].sum())
    return Summary(
        bars=sum(one.bars for one in result.markets),
        trades=len(pnl),
        net_profit=float(pnl.sum()),
        total_return=sketch.final / start - 1 if start > 0 else None,
        max_drawdown=sketch.deepest,
        sharpe=kpis.sharpe(returns, periods),
        sortino=kpis.sortino(returns, periods),
        win_rate=len(wins) / len(pnl) if len(pnl) else None,
        profit_factor=_finite(float(wins.sum()) / lost) if lost > 0 else None,
        expectancy=float(pnl.mean()) if len(pnl) else None,
        exposure=sketch.held / points if points else None,
        fees=fees,
        final=sketch.final,
    )


def _sketch(curves: Curves) -> Sketch:
    first = next(iter(curves))
    if len(curves) == 1 or (whole := kpis.combined(list(curves.values()))) is None:
        return curves.sketch(first)
    return sketch_of(whole)


def trade_results(fills: Facts[Fill]) -> tuple[Floats, float]:
    """(profit after fees of every round trip that was closed, fees of all fills).

    Round trips as in `infra.backtest.trips`: from flat to flat, a fill that crosses zero ends one and begins the next.
    """
    found, fees = [np.empty(0, np.float64)], 0.0
    for pieces in _columns(fills).values():
        position, signed, price, fee = (np.concatenate(one) for one in zip(*pieces, strict=True))
        fees += float(fee.sum())
        found.append(_closed(position, signed, price, fee))
    return np.concatenate(found), fees


def _columns(fills: Facts[Fill]) -> dict[tuple[str, ...], list[_Piece]]:
    """By owner, in order: positions after the fills, signed quantities, prices, fees. Fills that came in columns are
    taken as these."""
    found: dict[tuple[str, ...], list[_Piece]] = {}
    single: dict[tuple[str, ...], list[Fill]] = {}
    for part in fills.parts:
        if isinstance(part, Stretch):
            bot = part.bot
            key: tuple[str, ...] = (part.account.name, bot.name, bot.venue, bot.symbol)
            pieces = found.setdefault(key, [])
            if key in single:
                pieces.append(_of_fills(single.pop(key)))
            pieces.append(_of_legs(part.legs))
        else:
            single.setdefault(_OWNER(part), []).append(part)
    for key, own in single.items():
        found.setdefault(key, []).append(_of_fills(own))
    return found


def _of_legs(legs: Legs) -> _Piece:
    lots, prices = 10.0**legs.scales.lots, 10.0**legs.scales.places
    return legs.position / lots, legs.side * legs.qty / lots, legs.price / prices, legs.fee / _FEES


def _of_fills(own: Sequence[Fill]) -> _Piece:
    position, qty, price, fee = (np.fromiter(map(float, map(of, own)), np.float64, len(own)) for of in _NUMBERS)
    return position, np.where(np.array([one.side for one in own]) == "buy", qty, -qty), price, fee


def _closed(position: Floats, signed: Floats, price: Floats, fee: Floats) -> Floats:
    """Profits of closed trips of one bot. `position` as it is after each fill."""
    before: Floats = np.concatenate(([0.0], position[:-1]))
    crosses: NDArray[np.bool_] = before * position < 0
    # What a fill does beyond flat belongs to the next trip, with its part of the fee.
    beyond = np.where(crosses, position, 0.0)
    share = np.where(crosses, fee * np.abs(beyond / signed), 0.0)
    flow = -(signed - beyond) * price - (fee - share)
    carried = -beyond * price - share
    ends = np.flatnonzero((position == 0) | crosses)
    if not len(ends):
        return np.empty(0, np.float64)
    starts, flow = np.concatenate(([0], ends[:-1] + 1)), flow[: ends[-1] + 1]
    found: Floats = np.add.reduceat(flow, starts)
    found[1:] += carried[ends[:-1]]
    # What is nothing in decimals is not quite nothing in floats; a win or a loss is at least a tick times a lot.
    found[np.abs(found) < _NOTHING * np.add.reduceat(np.abs(flow), starts)] = 0.0
    return found


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
