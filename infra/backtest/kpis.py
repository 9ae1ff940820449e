"""Figures of merit, as pure functions of equity curves and round trips. The README has formulas and sources.

Ratios and returns are fractions (0.05 is 5 %), durations days, money in account currency. A figure that the data do
not determine (a Sharpe ratio without variance, a profit factor without losses) is None, never 0 or infinite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, isfinite, log1p, sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.plan import Plan
from events.timeframe import DAY
from events.trading import Fill
from infra.backtest.result import Curve
from infra.backtest.trips import Trip

Floats = NDArray[np.float64]

YEAR_DAYS = 365.25
_THURSDAY = 3  # 1970-01-01, counted from Monday
_SATURDAY, _SUNDAY = 5, 6


class EquityKpis(msgspec.Struct, frozen=True):
    """Of an equity curve. `periods_per_year` is what daily figures are annualised with."""

    start: float
    final: float
    peak: float
    total_return: float | None
    days: float
    cagr: float | None
    periods_per_year: int
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    max_drawdown_days: float | None
    average_drawdown: float | None
    average_drawdown_days: float | None
    exposure: float | None
    leverage: float | None


class TradeKpis(msgspec.Struct, frozen=True):
    """Of closed round trips; `fees` and `traded` (notional) of every fill, those of open positions too."""

    trades: int
    longs: int
    shorts: int
    wins: int
    losses: int
    win_rate: float | None
    net_profit: float
    gross_profit: float
    gross_loss: float
    profit_factor: float | None
    profit_factor_returns: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    best_trade: float | None
    worst_trade: float | None
    average_trade: float | None
    average_trade_geometric: float | None
    sqn: float | None
    kelly: float | None
    average_trade_days: float | None
    longest_trade_days: float | None
    fees: float
    traded: float


class Drawdown(msgspec.Struct, frozen=True):
    """From the peak at `start` to the recovery at `end` (or the end of the data), µs; `depth` is negative."""

    start: int
    end: int
    depth: float


def is_continuous(plan: Plan) -> bool:
    """Whether anything in the plan trades on weekends."""
    return any(one.calendar == "24x7" for one in plan.symbols)


def combined(curves: Sequence[Curve]) -> Curve | None:
    """Accounts added up; None for none, and where their currencies differ."""
    if not curves or len({one.currency for one in curves}) > 1:
        return None
    equity, gross = (np.sum([getattr(one, name) for one in curves], axis=0) for name in ("equity", "gross"))
    held = np.any([one.held for one in curves], axis=0)
    return Curve(curves[0].currency, sum(one.start for one in curves), curves[0].ts, equity, gross, held)


def equity_kpis(curve: Curve, *, continuous: bool) -> EquityKpis:
    """`continuous`: the market trades on weekends (see `daily`)."""
    points = len(curve)
    final = float(curve.equity[-1]) if points else curve.start
    days = float(curve.ts[-1] - curve.ts[0]) / DAY if points else 0.0
    returns, periods = daily(curve, continuous=continuous)
    falls = drawdowns(curve)
    growth = cagr(curve.start, final, days)
    deepest = min((one.depth for one in falls), default=0.0) if points else None
    lengths = [(one.end - one.start) / DAY for one in falls]
    return EquityKpis(
        start=curve.start,
        final=final,
        peak=float(max(curve.start, curve.equity.max())) if points else curve.start,
        total_return=final / curve.start - 1 if curve.start > 0 else None,
        days=days,
        cagr=growth,
        periods_per_year=periods,
        volatility=volatility(returns, periods),
        sharpe=sharpe(returns, periods),
        sortino=sortino(returns, periods),
        calmar=growth / -deepest if growth is not None and deepest else None,
        max_drawdown=deepest,
        max_drawdown_days=max(lengths, default=0.0) if points else None,
        average_drawdown=_mean([one.depth for one in falls]),
        average_drawdown_days=_mean(lengths),
        exposure=float(curve.held.mean()) if points else None,
        leverage=float((curve.gross / curve.equity).mean()) if points and (curve.equity > 0).all() else None,
    )


def daily(curve: Curve, *, continuous: bool) -> tuple[Floats, int]:
    """(simple returns from day to day, how many of them make a year).

    A day's equity is the last point of the UTC day (a bar that closes at midnight belongs to the day that ends); the
    first point is the base of the first return. 365 a year where `continuous` holds and no two weeks without a
    Saturday contradict it, else 252; Sundays then count with Monday, as FX desks open on Sunday evening. A
    return on nothing, or on less than nothing, is NaN.
    """
    if not len(curve):
        return np.array([], np.float64), 365 if continuous else 252
    number = (curve.ts - 1) // DAY
    last = np.flatnonzero(np.concatenate((number[1:] != number[:-1], [True])))
    weekday = (number[last] + _THURSDAY) % 7
    if continuous and len(last) > 14 and not (weekday == _SATURDAY).any():
        continuous = False
    if not continuous:
        last = last[(weekday != _SUNDAY) | (np.arange(len(last)) == len(last) - 1)]
    values = curve.equity[last] if last[0] == 0 else curve.equity[np.concatenate(([0], last))]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        returns = np.where(values[:-1] > 0, values[1:] / values[:-1] - 1, np.nan)
    return returns, 365 if continuous else 252


def cagr(start: float, final: float, days: float) -> float | None:
    """(final / start) ** (365.25 / days) - 1; -1 where all is lost; None for less than a day."""
    if days < 1 or start <= 0:
        return None
    if final <= 0:
        return -1.0
    try:
        return float((final / start) ** (YEAR_DAYS / days) - 1)
    except OverflowError:
        return None


def volatility(returns: Floats, periods: int) -> float | None:
    """Sample standard deviation of the returns, times the root of the periods in a year."""
    spread = _spread(returns)
    return None if spread is None else _finite(spread * sqrt(periods))


def sharpe(returns: Floats, periods: int) -> float | None:
    """Mean over sample standard deviation, annualised; riskless rate 0."""
    spread = _spread(returns)
    return _finite(float(returns.mean()) / spread * sqrt(periods)) if spread else None


def sortino(returns: Floats, periods: int) -> float | None:
    """Mean over downside deviation (root of the mean of min(r, 0) squared, over all returns), annualised."""
    if _spread(returns) is None:
        return None
    downside = sqrt(float(np.mean(np.minimum(returns, 0) ** 2)))
    return _finite(float(returns.mean()) / downside * sqrt(periods)) if downside > 0 else None


def _spread(values: Floats) -> float | None:
    """Sample standard deviation; None for fewer than two values, and where it is no finite number.

    0 where it is no more than the rounding of the values: equal returns differ in their last digit.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        spread = _finite(float(np.std(values, ddof=1)))
    return 0.0 if spread is not None and spread <= 1e-14 * float(np.abs(values).max() + 1) else spread


def drawdowns(curve: Curve) -> list[Drawdown]:
    """Every stretch below the highest equity so far, which is the starting cash at first."""
    if not len(curve) or curve.start <= 0:
        return []
    peaks = np.maximum(np.maximum.accumulate(curve.equity), curve.start)
    depth = curve.equity / peaks - 1
    whole = np.flatnonzero(depth == 0)
    edges = np.unique(np.concatenate(([0], whole, [len(depth) - 1])))
    found = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        deepest = float(depth[first : last + 1].min())
        if deepest < 0:
            found.append(Drawdown(int(curve.ts[first]), int(curve.ts[last]), deepest))
    if len(depth) == 1 and depth[0] < 0:
        found.append(Drawdown(int(curve.ts[0]), int(curve.ts[0]), float(depth[0])))
    return found


def trade_kpis(trips: Sequence[Trip], fills: Iterable[Fill] = ()) -> TradeKpis:
    """`trips`: closed ones. `fills`: every fill, for fees and turnover."""
    pnl = np.array([float(one.pnl) for one in trips], np.float64)
    gains = np.array([one.gain for one in trips], np.float64)
    days = [(one.closed - one.opened) / DAY for one in trips if one.closed is not None]
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    booked = list(fills)
    return TradeKpis(
        trades=len(trips),
        longs=sum(one.side == "long" for one in trips),
        shorts=sum(one.side == "short" for one in trips),
        wins=len(wins),
        losses=len(losses),
        win_rate=len(wins) / len(pnl) if len(pnl) else None,
        net_profit=float(sum((one.pnl for one in trips), 0)),
        gross_profit=float(wins.sum()),
        gross_loss=float(losses.sum()),
        profit_factor=_factor(pnl),
        profit_factor_returns=_factor(gains),
        expectancy=_mean(pnl.tolist()),
        average_win=_mean(wins.tolist()),
        average_loss=_mean(losses.tolist()),
        best_trade=float(gains.max()) if len(gains) else None,
        worst_trade=float(gains.min()) if len(gains) else None,
        average_trade=_mean(gains.tolist()),
        average_trade_geometric=geometric(gains),
        sqn=sqn(pnl),
        kelly=kelly(pnl),
        average_trade_days=_mean(days),
        longest_trade_days=max(days, default=None),
        fees=float(sum((one.fee for one in booked), 0)),
        traded=float(sum((one.qty * one.price for one in booked), 0)),
    )


def sqn(pnl: Floats) -> float | None:
    """Van Tharp's system quality number on money results: sqrt(n) * mean / sample standard deviation."""
    spread = _spread(pnl)
    return _finite(sqrt(len(pnl)) * float(pnl.mean()) / spread) if spread else None


def kelly(pnl: Floats) -> float | None:
    """W - (1 - W) / R, with W the part of trades that win and R the average win over the average loss."""
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    if not len(wins) or not len(losses):
        return None
    rate = len(wins) / len(pnl)
    return _finite(rate - (1 - rate) / float(wins.mean() / -losses.mean()))


def geometric(gains: Floats) -> float | None:
    """The constant return per trade that compounds to the same; -1 where one trade lost everything."""
    if not len(gains):
        return None
    if (gains <= -1).any():
        return -1.0
    return exp(sum(map(log1p, gains.tolist())) / len(gains)) - 1


def _factor(values: Floats) -> float | None:
    """What is won over what is lost; None without a loss."""
    lost = float(-values[values < 0].sum())
    return _finite(float(values[values > 0].sum()) / lost) if lost > 0 else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
