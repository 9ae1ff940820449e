"""From a plan to its deciders, in the canonical order in which they take their turns."""

from __future__ import annotations

from typing import Any

from actors.account import AccountDecider
from actors.bot import BotDecider
from actors.decider import Decider
from actors.plan import Plan
from actors.symbol import SymbolDecider


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
    traders: list[Decider[Any]] = [BotDecider(bot) for bot in bots]
    return (*symbols, *accounts, *traders)


def check(plan: Plan) -> None:
    """Raises BadPlan for doubled names, bots on symbols or accounts that are not there, and unknown timeframes."""
    markets = {(symbol.venue, symbol.symbol): symbol for symbol in plan.symbols}
    _unique("symbol", ["/".join(key) for key in markets], len(plan.symbols))
    _unique("bot", [bot.name for bot in plan.bots], len(plan.bots))
    accounts = [account.name for account in plan.accounts]
    _unique("account", accounts, len(plan.accounts))
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


def _unique(what: str, names: list[str], count: int) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or len(set(names)) < count:
        raise BadPlan(f"every {what} needs a name of its own{': ' + ', '.join(doubled) if doubled else ''}")
