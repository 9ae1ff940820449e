"""All figures of a backtest, as a report has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from events.trading import Fill
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
    plan, names = result.plan, list(result.curves)
    trades = {one.name: _trades(closed, result.fills, "bot", one.name, len(plan.bots)) for one in plan.bots}
    accounts = {}
    for name, curve in result.curves.items():
        own = [one.name for one in plan.bots if one.account == name]
        found = trades[own[0]] if len(own) == 1 else _trades(closed, result.fills, "account", name, len(names))
        accounts[name] = _kpis(result, curve, found, [name])
    if len(names) == 1:
        whole: Kpis | None = accounts[names[0]]
    else:
        both = combined(list(result.curves.values()))
        whole = None if both is None else _kpis(result, both, trade_kpis(closed, result.fills), names)
    return Figures(whole, accounts, dict(sorted(trades.items())), tuple(closed), tuple(left))


def _trades(closed: Sequence[Trip], fills: Sequence[Fill], field: str, name: str, of: int) -> TradeKpis:
    """Of one bot or account of so many."""
    if of == 1:
        return trade_kpis(closed, fills)
    own = [trip for trip in closed if getattr(trip, field) == name]
    return trade_kpis(own, [fill for fill in fills if getattr(fill, field) == name])


def _kpis(result: Result, curve: Curve, trades: TradeKpis, accounts: list[str]) -> Kpis:
    bots = {one.name for one in result.plan.bots if one.account in accounts}
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
