"""From a plan to its deciders: the canonical order, and plans that contradict themselves."""

from __future__ import annotations

import pytest

from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.roster import BadPlan, deciders


def symbol(name: str, venue: str = "sim", timeframes: tuple[str, ...] = ("5m",)) -> SymbolPlan:
    return SymbolPlan(venue=venue, symbol=name, timeframes=timeframes)


def bot(name: str, on: str = "A", account: str = "main", timeframe: str = "1m", venue: str = "sim") -> BotPlan:
    return BotPlan(name=name, venue=venue, symbol=on, account=account, timeframe=timeframe)


def plan(
    *bots: BotPlan,
    symbols: tuple[SymbolPlan, ...] = (symbol("B"), symbol("A")),
    accounts: tuple[AccountPlan, ...] = (AccountPlan(),),
) -> Plan:
    return Plan(symbols=symbols, bots=bots, accounts=accounts)


def test_symbols_then_accounts_then_bots_each_by_name_whatever_the_order_of_the_plan() -> None:
    accounts = (AccountPlan(name="z"), AccountPlan(name="a"))
    symbols = (symbol("A", "two"), symbol("B"), symbol("A"))
    bots = (bot("y", account="z"), bot("x", on="B", account="a"), bot("w", venue="two", account="a"))
    expected = ["market.sim.A", "market.sim.B", "market.two.A", "account.a", "account.z", "bot.w", "bot.x", "bot.y"]
    for turned in (1, -1):
        made = deciders(plan(*bots[::turned], symbols=symbols[::turned], accounts=accounts[::turned]))
        assert [decider.actor for decider in made] == expected


def test_an_account_hears_the_symbols_and_bots_that_are_its_own() -> None:
    accounts = (AccountPlan(name="a"), AccountPlan(name="z"))
    made = deciders(plan(bot("x", account="a"), bot("y", on="B", account="z"), accounts=accounts))
    heard = {decider.actor: decider.inbox for decider in made}
    assert "bot.x.>" in heard["account.a"]
    assert not any(pattern.startswith(("bot.y", "market.sim.B")) for pattern in heard["account.a"])
    assert any(pattern.startswith("market.sim.B.") for pattern in heard["account.z"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (plan(bot("x", on="C")), "bot 'x' trades sim/C, which is not among the plan's symbols"),
        (plan(bot("x", venue="no")), "bot 'x' trades no/A, which is not among"),
        (plan(bot("x", timeframe="15m")), "needs 15m candles of A; the plan makes 1m, 5m: add it to `timeframes`"),
        (plan(bot("x", account="mian")), "bot 'x' trades for account 'mian'; the plan has main"),
        (plan(bot("x"), bot("y"), bot("x")), "every bot needs a name of its own: x"),
        (plan(symbols=(symbol("A"), symbol("B"), symbol("A"))), "every symbol needs a name of its own: sim/A"),
        (plan(accounts=(AccountPlan(), AccountPlan())), "every account needs a name of its own: main"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_and_the_place_named(wrong: Plan, said: str) -> None:
    with pytest.raises(BadPlan) as found:
        deciders(wrong)
    assert said in str(found.value)


def test_the_same_symbol_on_two_venues_is_two_symbols() -> None:
    made = deciders(plan(symbols=(symbol("A", "one"), symbol("A", "two"))))
    assert [decider.actor for decider in made] == ["market.one.A", "market.two.A", "account.main"]
