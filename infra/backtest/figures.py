"""All figures of a backtest, as a report has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from infra.backtest.kpis import EquityKpis, TradeKpis, combined, equity_kpis, is_continuous, trade_kpis
from infra.backtest.result import Curve, Result
from infra.backtest.trips import Trip, trips

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kpis(msgspec.Struct, frozen=True):
    """`turnover`: the traded notional over the mean equity. `refused`: signals that broke a limit."""

    currency: str
    equity: EquityKpis
    trades: TradeKpis
    turnover: float | None
    signals: int
    refused: int


class Figures(msgspec.Struct, frozen=True):
    """`portfolio`: all accounts together, None where their currencies differ. `bots`: by name, without equity."""

    portfolio: Kpis | None
    accounts: dict[str, Kpis]
    bots: dict[str, TradeKpis]
    trips: tuple[Trip, ...]
    open_trips: tuple[Trip, ...]


def figures(result: Result) -> Figures:
    closed, left = trips(result.fills)
    curve = combined(list(result.curves.values()))
    whole = None if curve is None else _kpis(result, curve, closed, list(result.curves))
    accounts = {
        name: _kpis(result, one, [trip for trip in closed if trip.account == name], [name])
        for name, one in result.curves.items()
    }
    bots = {
        one.name: trade_kpis(
            [trip for trip in closed if trip.bot == one.name], [fill for fill in result.fills if fill.bot == one.name]
        )
        for one in sorted(result.plan.bots, key=lambda one: one.name)
    }
    return Figures(whole, accounts, bots, tuple(closed), tuple(left))


def _kpis(result: Result, curve: Curve, closed: Sequence[Trip], accounts: list[str]) -> Kpis:
    bots = {one.name for one in result.plan.bots if one.account in accounts}
    trades = trade_kpis(closed, [fill for fill in result.fills if fill.account in accounts])
    mean = float(curve.equity.mean()) if len(curve) else curve.start
    return Kpis(
        currency=curve.currency,
        equity=equity_kpis(curve, continuous=is_continuous(result.plan)),
        trades=trades,
        turnover=trades.traded / mean if mean > 0 else None,
        signals=sum(count for bot, count in result.signals.of("bot").items() if bot in bots),
        refused=sum(count for name, count in result.refusals.of("account").items() if name in accounts),
    )


def as_json(result: Result, found: Figures) -> dict[str, Any]:
    """What stands in kpis.json."""
    stamps = [one for one in result.markets if one.bars]
    return {
        "digest": result.digest,
        "first_bar": iso(min(one.first_ts for one in stamps)) if stamps else None,
        "last_bar": iso(max(one.last_ts for one in stamps)) if stamps else None,
        "portfolio": None if found.portfolio is None else flat(found.portfolio),
        "accounts": {name: flat(one) for name, one in found.accounts.items()},
        "bots": msgspec.to_builtins(found.bots),
        "open_positions": msgspec.to_builtins(result.holdings),
        "markets": [{**msgspec.to_builtins(one), **_moved(one)} for one in result.markets],
        "facts": result.counts,
        "messages": {"all": result.entries, "decisions": result.decisions},
    }


def flat(kpis: Kpis) -> dict[str, Any]:
    """Every figure by its name, on one level."""
    values = msgspec.to_builtins(kpis)
    return {"currency": kpis.currency, **values.pop("equity"), **values.pop("trades"), **values}


def _moved(market: Any) -> dict[str, Any]:
    first, last = (iso(ts) if market.bars else None for ts in (market.first_ts, market.last_ts))
    change = market.last_close / market.first_open - 1 if market.bars else None
    return {"first_ts": first, "last_ts": last, "buy_and_hold": change}


def iso(ts: int) -> str:
    """Microseconds as ISO 8601 in UTC, with a fraction only where there is one."""
    return (_EPOCH + timedelta(microseconds=ts)).isoformat().replace("+00:00", "Z")
