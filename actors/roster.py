"""From a plan to its deciders, in the canonical order in which they take their turns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.account import AccountDecider
from actors.bot import BotDecider
from actors.decider import Decider
from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.symbol import SymbolDecider
from events import subjects, timeframe

SIZINGS = ("quantity", "fraction", "risk", "all-in")


class BadPlan(ValueError):
    """The plan contradicts itself; the message says where."""


def deciders(plan: Plan) -> tuple[Decider[Any], ...]:
    """Symbols, then accounts, then bots, each by name. Raises BadPlan."""
    check(plan)
    symbols = [SymbolDecider(symbol) for symbol in sorted(plan.symbols, key=lambda s: (s.venue, s.symbol))]
    bots = sorted(plan.bots, key=lambda bot: bot.name)
    accounts: list[Decider[Any]] = []
    for account in sorted(plan.accounts, key=lambda account: account.name):
        own = tuple(bot for bot in bots if bot.account == account.name)
        traded = {(bot.venue, bot.symbol) for bot in own}
        markets = tuple(symbol.plan for symbol in symbols if (symbol.plan.venue, symbol.plan.symbol) in traded)
        accounts.append(AccountDecider(account, markets, own))
    known = {(symbol.plan.venue, symbol.plan.symbol): symbol.plan for symbol in symbols}
    traders: list[Decider[Any]] = [BotDecider(bot, known[bot.venue, bot.symbol]) for bot in bots]
    return (*symbols, *accounts, *traders)


def check(plan: Plan) -> None:
    """Raises BadPlan for doubled or unusable names, bots on symbols or accounts that are not there, unknown
    timeframes, and numbers that are no money."""
    markets = {(symbol.venue, symbol.symbol): symbol for symbol in plan.symbols}
    accounts = [account.name for account in plan.accounts]
    _unique("symbol", [f"{symbol.venue}/{symbol.symbol}" for symbol in plan.symbols])
    _unique("bot", [bot.name for bot in plan.bots])
    _unique("account", accounts)
    try:
        for symbol in plan.symbols:
            _check_symbol(symbol)
        for account in plan.accounts:
            _check_account(account)
        for bot in plan.bots:
            _check_bot(bot)
    except ValueError as error:
        raise BadPlan(str(error)) from error
    for bot in plan.bots:
        market = markets.get((bot.venue, bot.symbol))
        if market is None:
            raise BadPlan(f"bot {bot.name!r} trades {bot.venue}/{bot.symbol}, which is not among the plan's symbols")
        if bot.timeframe not in (market.base, *market.timeframes):
            raise BadPlan(
                f"bot {bot.name!r} needs {bot.timeframe} candles of {bot.symbol}; "
                f"the plan makes {', '.join((market.base, *market.timeframes))}: add it to `timeframes`"
            )
        if bot.account not in accounts:
            raise BadPlan(f"bot {bot.name!r} trades for account {bot.account!r}; the plan has {', '.join(accounts)}")


def _unique(what: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise BadPlan(f"every {what} needs a name of its own: {', '.join(doubled)}")


def _check_symbol(plan: SymbolPlan) -> None:
    subjects.market(plan.venue, plan.symbol)
    for length in (plan.base, *plan.timeframes):
        timeframe.micros(length)
    where = f"symbol {plan.venue}/{plan.symbol}"
    _number(f"{where}: tick", plan.tick, above=0)
    _number(f"{where}: lot", plan.lot, above=0)
    _number(f"{where}: notional_min", plan.notional_min, least=0)


def _check_account(plan: AccountPlan) -> None:
    subjects.account(plan.name)
    where, limits = f"account {plan.name!r}", plan.limits
    _number(f"{where}: cash", plan.cash, above=0)
    _number(f"{where}: fees.maker", plan.fees.maker, least=-1, most=1)
    _number(f"{where}: fees.taker", plan.fees.taker, least=-1, most=1)
    _number(f"{where}: fills.slippage", plan.fills.slippage, least=0, most=1)
    _number(f"{where}: fills.participation", plan.fills.participation, above=0, most=1)
    for name in limits.__struct_fields__:
        _number(f"{where}: limits.{name}", getattr(limits, name), least=0)


def _check_bot(plan: BotPlan) -> None:
    subjects.bot(plan.name)
    if plan.sizing.method not in SIZINGS:
        raise BadPlan(f"bot {plan.name!r}: sizing.method {plan.sizing.method!r} is none of {', '.join(SIZINGS)}")
    _number(f"bot {plan.name!r}: sizing.value", plan.sizing.value, above=0)


def _number(
    what: str,
    value: Decimal | int | None,
    *,
    above: int | None = None,
    least: int | None = None,
    most: int | None = None,
) -> None:
    """None is no bound and always right."""
    if value is None:
        return
    exact = Decimal(value)
    if (
        not exact.is_finite()
        or (above is not None and exact <= above)
        or (least is not None and exact < least)
        or (most is not None and exact > most)
    ):
        bounds = [("above", above), ("at least", least), ("at most", most)]
        wanted = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
        raise BadPlan(f"{what} is {value}, but must be a number {wanted}")
