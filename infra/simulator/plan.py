"""What is traded on the simulated exchange where nothing else is configured."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.plan import AccountPlan, BotPlan, FillModel, Limits, Plan, Sizing, SymbolPlan

from .pairs import PAIRS, VENUE
from .settings import SimulatorSettings

_BOTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("btc-ema", "BTC-USDT", "ema-cross", {"fast": 3, "slow": 8, "stop_atr": 2.0, "target_atr": 3.0, "short": True}),
    ("btc-breakout", "BTC-USDT", "breakout", {"entry": 8, "exit": 4, "trail_atr": 2.0, "short": True}),
    ("eth-momentum", "ETH-USDT", "momentum", {"rsi": 7, "fast": 4, "slow": 9, "signal": 4, "stop_atr": 1.5}),
    ("sol-ema", "SOL-USDT", "ema-cross", {"fast": 4, "slow": 10, "stop_atr": 1.5, "target_atr": 2.5}),
    ("bnb-breakout", "BNB-USDT", "breakout", {"entry": 10, "exit": 5, "trail_atr": 1.5}),
    ("xrp-momentum", "XRP-USDT", "momentum", {"rsi": 7, "fast": 5, "slow": 12, "signal": 4, "target_atr": 2.5}),
)


def symbols(settings: SimulatorSettings) -> tuple[SymbolPlan, ...]:
    """Bars of every pair are made of its trades."""
    return tuple(
        SymbolPlan(
            venue=VENUE,
            symbol=one.symbol,
            source="trades",
            timeframes=("5m",),
            tick=Decimal(1).scaleb(-one.price_digits),
            lot=Decimal(1).scaleb(-one.lot_digits),
            notional_min=Decimal(5),
            ahead=None,
        )
        for one in PAIRS[: settings.pairs]
    )


def default_plan(settings: SimulatorSettings) -> Plan:
    """All pairs; six quick bots on the most liquid ones, as far as there are these; one account of 100,000 USDT."""
    found = symbols(settings)
    there = {symbol.symbol for symbol in found}
    bots = tuple(
        BotPlan(
            name=name, venue=VENUE, symbol=symbol, strategy=strategy, params=params, sizing=Sizing(value=Decimal("0.1"))
        )
        for name, symbol, strategy, params in _BOTS
        if symbol in there
    )
    limits = Limits(
        daily_loss=Decimal("0.05"),
        positions=5,
        position_fraction=Decimal("0.2"),
        symbol_fraction=Decimal("0.3"),
        cooldown=120,
    )
    account = AccountPlan(cash=Decimal(100_000), fills=FillModel(participation=Decimal("0.25")), limits=limits)
    return Plan(symbols=found, bots=bots, accounts=(account,))
