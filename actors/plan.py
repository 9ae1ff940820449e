"""The trading plan: which symbols, bots and accounts there are. It is recorded on the tape it runs on."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta


class Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration: frozen, unknown keys refused."""


class SymbolPlan(Plain, frozen=True, kw_only=True):
    """One instrument and how its market facts are made.

    `source`: `candles` (the feed sends bars of `base`) or `trades` (bars are made here).
    `empty`: what a bar without trades is. `flat`: there is a flat bar for it (made here where the source is trades),
    so a hole is a gap; `omit`: there is none, so a hole is no gap. `tick` and `lot` are the venue's steps.
    `ahead`: seconds by which a stamp may be later than the time at which it became known, which is the clock's; None:
    any, as where time is simulated.
    """

    venue: str
    symbol: str
    source: str = "candles"
    base: str = "1m"
    timeframes: tuple[str, ...] = ()
    empty: str = "flat"
    calendar: str = "24x7"
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.00001")
    notional_min: Decimal = Decimal(0)
    ahead: Annotated[int, Meta(ge=0)] | None = 60


class Sizing(Plain, frozen=True, kw_only=True):
    """How much a full signal (target 1) buys.

    `quantity`: `value` units. `fraction`: `value` of the account's equity. `risk`: so that a move to the stop loses
    `value` of the equity. `all-in`: whole lots for all the equity, counted at the fill.
    """

    method: str = "fraction"
    value: Decimal = Decimal("0.1")


class BotPlan(Plain, frozen=True, kw_only=True):
    """One bot: a strategy on one symbol and timeframe. `strategy` is a shipped name or `module:Class`."""

    name: str
    venue: str
    symbol: str
    account: str = "main"
    timeframe: str = "1m"
    strategy: str = "ema-cross"
    params: dict[str, Any] = {}
    sizing: Sizing = Sizing()


class Limits(Plain, frozen=True, kw_only=True):
    """Risk limits of an account; None: no limit. Fractions are of equity, `cooldown` in seconds after a losing exit."""

    daily_loss: Decimal | None = None
    positions: int | None = None
    position_fraction: Decimal | None = None
    symbol_fraction: Decimal | None = None
    cooldown: int | None = None
    reward_to_risk: Decimal | None = None


class Fees(Plain, frozen=True, kw_only=True):
    """Fractions of the notional; `maker` may be negative (a rebate)."""

    maker: Decimal = Decimal("0.0002")
    taker: Decimal = Decimal("0.0005")


class FillModel(Plain, frozen=True, kw_only=True):
    """What paper matching assumes. `slippage`: fraction of the price, against market and stop orders.

    `participation`: the largest part of a bar's or trade's volume one order may take; None: no bound.
    """

    slippage: Decimal = Decimal("0.0001")
    participation: Decimal | None = Decimal("0.1")


class AccountPlan(Plain, frozen=True, kw_only=True):
    """One paper account."""

    name: str = "main"
    currency: str = "USDT"
    cash: Decimal = Decimal(100_000)
    fees: Fees = Fees()
    fills: FillModel = FillModel()
    limits: Limits = Limits()


class Plan(Plain, frozen=True, kw_only=True):
    """Everything that decides on one tape."""

    symbols: tuple[SymbolPlan, ...]
    bots: tuple[BotPlan, ...] = ()
    accounts: tuple[AccountPlan, ...] = (AccountPlan(),)
