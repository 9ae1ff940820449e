"""What the limits say of new risk, before an order (whole refusals) and at its fill (how much room there is)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from events.trading import Signal

from .book import AccountState, Book, Bracket, Order, Rules, equity_of, holdings, mark_of, orders_of
from .money import ZERO
from .sizing import Entry


class Refusal(msgspec.Struct, frozen=True):
    """`reason` is a stable code, `detail` says the numbers."""

    reason: str
    detail: str


class Wish(msgspec.Struct, frozen=True):
    """New risk that a bot asks for: `qty` more than `held`, which is what it keeps of its position."""

    bot: str
    key: str
    entry: Entry
    bracket: Bracket
    qty: Decimal
    held: Decimal


def standing(rules: Rules, state: AccountState, book: Book, signal: Signal) -> Refusal | None:
    """Limits that have nothing to do with the size."""
    limits = rules.plan.limits
    if state.restricted:
        return Refusal("restricted", f"trading is restricted to {state.restricted}")
    if state.stopping:
        return Refusal("stopping", "the session is ending")
    if signal.ts < book.cool_until:
        return Refusal("cooldown", f"{(book.cool_until - signal.ts) / 1_000_000:.6f} s left after a losing round trip")
    if limits.daily_loss is not None:
        loss, most = state.day_equity - equity_of(rules, state), limits.daily_loss * state.day_equity
        if loss >= most:
            return Refusal("daily-loss", f"lost {loss:f} today, the limit is {most:f}")
    if limits.positions is not None:
        others = sum(1 for name in state.books if name != book.bot and _engaged(rules, state, name))
        if others + 1 > limits.positions:
            return Refusal("positions", f"{others} positions are open or being opened, the limit is {limits.positions}")
    return None


def worth(rules: Rules, entry: Entry, bracket: Bracket) -> Refusal | None:
    """Whether the bracket is on the right sides of the entry, and the reward is worth the risk."""
    sign = 1 if entry.side == "buy" else -1
    risk = None if bracket.stop is None else (entry.price - bracket.stop) * sign
    reward = None if bracket.take_profit is None else (bracket.take_profit - entry.price) * sign
    if (risk is not None and risk <= 0) or (reward is not None and reward <= 0):
        return Refusal(
            "bracket",
            f"stop {bracket.stop} and target {bracket.take_profit} are not on either side of {entry.price:f}",
        )
    least = rules.plan.limits.reward_to_risk
    if least is None:
        return None
    if risk is None or reward is None:
        return Refusal("reward-to-risk", f"needs a stop and a target to show a ratio of {least:f}")
    if reward < least * risk:
        return Refusal("reward-to-risk", f"{reward:f} to {risk:f} is less than {least:f}")
    return None


def size_fits(rules: Rules, state: AccountState, wish: Wish) -> Refusal | None:
    """Limits on the size, reckoned at the entry's price, with the orders that are working counted as filled."""
    limits, price = rules.plan.limits, wish.entry.price
    symbol = rules.symbols[wish.key]
    if wish.qty <= 0:
        return Refusal("size", f"less than one lot of {symbol.lot:f} at {price:f}")
    if wish.qty * price < symbol.notional_min:
        return Refusal("notional-min", f"{wish.qty * price:f} is below {symbol.notional_min:f}")
    equity = equity_of(rules, state)
    own = (wish.held + wish.qty) * price
    same = gross = own
    for name in state.books:
        if name != wish.bot:
            claim = _claim(rules, state, name)
            gross += claim
            if rules.keys[name] == wish.key:
                same += claim
    if limits.position_fraction is not None and own > limits.position_fraction * equity:
        return Refusal("position-size", f"{own:f} is more than {limits.position_fraction:f} of {equity:f}")
    if limits.symbol_fraction is not None and same > limits.symbol_fraction * equity:
        return Refusal("symbol-size", f"{same:f} is more than {limits.symbol_fraction:f} of {equity:f}")
    if gross > equity:
        return Refusal("cash", f"exposure would be {gross:f} with an equity of {equity:f}")
    return None


def room_at_fill(rules: Rules, state: AccountState, order: Order, price: Decimal, unsized: bool) -> tuple[Decimal, str]:
    """How much more money this entry may take at `price`, its fee included, and which limit that is."""
    limits, key = rules.plan.limits, rules.keys[order.bot]
    equity = state.cash
    gross = same = own = ZERO
    for one in holdings(rules, state, key, price):
        worth = one.position * one.mark
        equity += worth
        value = abs(worth)
        gross += value
        same += value if one.key == key else ZERO
        own += value if one.bot == order.bot else ZERO
    rooms = [(equity - gross, "cash")]
    if limits.position_fraction is not None:
        rooms.append((limits.position_fraction * equity - own, "position-size"))
    if limits.symbol_fraction is not None:
        rooms.append((limits.symbol_fraction * equity - same, "symbol-size"))
    if unsized:
        rooms.append((abs(order.target) * equity - own, "size"))
    return min(rooms, key=lambda room: room[0])


def _engaged(rules: Rules, state: AccountState, bot: str) -> bool:
    if state.books[bot].position:
        return True
    return any(order.role == "entry" for order in orders_of(state.markets[rules.keys[bot]], bot))


def _claim(rules: Rules, state: AccountState, bot: str) -> Decimal:
    """The exposure a bot is heading for: its position less what is being sent out, plus its working entries."""
    key = rules.keys[bot]
    orders = orders_of(state.markets[key], bot)
    book, mark = state.books[bot], mark_of(state, key)
    staying = abs(book.position) - sum((order.leaves for order in orders if order.role == "exit"), ZERO)
    claim = max(staying, ZERO) * mark
    for order in orders:
        if order.role == "entry" and order.qty is None:
            claim = max(claim, abs(order.target) * equity_of(rules, state))
        elif order.role == "entry":
            claim += order.leaves * (order.limit or order.trigger or mark)
    return claim
