"""How each fact changes the account: one path for fresh facts, recorded ones and decisions in the making."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

from actors.plan import SymbolPlan
from events import subjects, timeframe
from events.control import AccountOpened, TradingReleased, TradingRestricted
from events.fact import Fact
from events.trading import (
    Fill,
    OrderAmended,
    OrderCancelled,
    OrderPlaced,
    OrderRejected,
    OrderTriggered,
    Signal,
    TradingDayStarted,
)

from .book import CHILDREN, AccountState, Bracket, Order, Rules
from .money import EXACT, ZERO, ceil_to, exact, floor_to

EPOCH = date(1970, 1, 1).toordinal()
_NO_BRACKET = Bracket()


def apply(rules: Rules, state: AccountState, fact: Fact) -> None:
    """Changes `state` in place; facts that change nothing in it (risk verdicts) pass."""
    handle = _CHANGES.get(type(fact))
    if handle is None:
        return
    if type(fact) is Fill or (type(fact) is OrderPlaced and fact.role not in CHILDREN):
        # Only these compute: entering a context costs as much as most changes.
        with localcontext(EXACT):
            handle(rules, state, fact)
    else:
        handle(rules, state, fact)


def change(rules: Rules, state: AccountState, fact: Fact) -> None:
    """`apply`, in a context that is exact already."""
    handle = _CHANGES.get(type(fact))
    if handle is not None:
        handle(rules, state, fact)


def bracket_of(signal: Signal, symbol: SymbolPlan) -> Bracket:
    """The exits a signal asks for, on the tick: targets rounded outward, stops away, a trail up."""
    if signal.stop is signal.take_profit is signal.trail is None:
        return _NO_BRACKET
    long = signal.target > 0
    nearer, farther = (ceil_to, floor_to) if long else (floor_to, ceil_to)
    tick = symbol.tick
    return Bracket(
        None if signal.stop is None else farther(exact(signal.stop), tick),
        None if signal.take_profit is None else nearer(exact(signal.take_profit), tick),
        None if signal.trail is None else ceil_to(exact(signal.trail), tick),
    )


def _opened(rules: Rules, state: AccountState, fact: AccountOpened) -> None:
    state.opened = True
    state.cash = Decimal(fact.cash)


def _day_started(rules: Rules, state: AccountState, fact: TradingDayStarted) -> None:
    state.day_end = (date.fromisoformat(fact.day).toordinal() - EPOCH + 1) * timeframe.DAY
    state.day_equity = fact.equity


def _restricted(rules: Rules, state: AccountState, fact: TradingRestricted) -> None:
    state.restricted = fact.level


def _released(rules: Rules, state: AccountState, fact: TradingReleased) -> None:
    state.restricted = ""


def _placed(rules: Rules, state: AccountState, fact: OrderPlaced) -> None:
    key = subjects.market(fact.venue, fact.symbol)
    book = state.books[fact.bot]
    order = Order(
        fact.order,
        fact.bot,
        fact.ts,
        fact.side,
        fact.kind,
        fact.role,
        fact.qty,
        fact.limit,
        fact.trigger,
        fact.trail,
        fact.reduce_only,
        fact.parent,
        rested=fact.role in CHILDREN,
    )
    if book.wanted is not None:
        if fact.role == "entry":
            order.target = exact(book.wanted.target)
            order.bracket = bracket_of(book.wanted, rules.symbols[key])
        elif fact.role == "exit" and fact.qty is not None and fact.qty < abs(book.position):
            book.target = exact(book.wanted.target)
    state.markets[key].orders[fact.order] = order


def _triggered(rules: Rules, state: AccountState, fact: OrderTriggered) -> None:
    _order(state, fact).triggered = True


def _amended(rules: Rules, state: AccountState, fact: OrderAmended) -> None:
    order = _order(state, fact)
    order.qty, order.trigger = fact.qty, fact.trigger


def _ended(rules: Rules, state: AccountState, fact: OrderCancelled | OrderRejected) -> None:
    del state.markets[subjects.market(fact.venue, fact.symbol)].orders[fact.order]


def _filled(rules: Rules, state: AccountState, fact: Fill) -> None:
    book, order = state.books[fact.bot], _order(state, fact)
    signed = fact.qty if fact.side == "buy" else -fact.qty
    book.cost += signed * fact.price + fact.realized
    book.trip += fact.realized - fact.fee
    book.position = fact.position
    state.cash = fact.cash
    if fact.role == "entry":
        book.target = order.target
    if not fact.position:
        cooldown = rules.plan.limits.cooldown
        if book.trip < 0 and cooldown is not None:
            book.cool_until = fact.ts + cooldown * timeframe.SECOND
        book.trip = ZERO
    order.filled += fact.qty
    order.fills += 1
    order.qty = order.filled + fact.leaves
    if not fact.leaves:
        del state.markets[subjects.market(fact.venue, fact.symbol)].orders[fact.order]


def _order(state: AccountState, fact: OrderTriggered | OrderAmended | Fill) -> Order:
    return state.markets[subjects.market(fact.venue, fact.symbol)].orders[fact.order]


_CHANGES: dict[type[Fact], Callable[[Rules, AccountState, Any], None]] = {
    AccountOpened: _opened,
    TradingDayStarted: _day_started,
    TradingRestricted: _restricted,
    TradingReleased: _released,
    OrderPlaced: _placed,
    OrderTriggered: _triggered,
    OrderAmended: _amended,
    OrderCancelled: _ended,
    OrderRejected: _ended,
    Fill: _filled,
}
