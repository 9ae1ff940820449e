"""A decision in the making: the facts so far, and the account as it stands after them."""

from __future__ import annotations

from decimal import Decimal

from events.decision import id_after
from events.fact import Fact
from events.trading import Fill, OrderAmended, OrderCancelled, OrderPlaced, OrderTriggered

from .book import CHILDREN, AccountState, Book, Bracket, Market, Order, Rules
from .ledger import change
from .money import ZERO, average_of, ceil_to, fee_of, floor_to, share_of


class Sheet:
    """`state` is a copy of its own; `ts` is the time of new facts.

    Order ids begin with the id of the very decision that places them: that of `actor`, caused by the message `by`.
    """

    def __init__(self, rules: Rules, state: AccountState, actor: str, by: str, ts: int) -> None:
        self.rules, self.state, self.ts = rules, state, ts
        self.account = rules.plan.name
        self.facts: list[Fact] = []
        self._actor, self._by = actor, by
        self._prefix, self._placed = "", 0

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)
        change(self.rules, self.state, fact)

    def market_of(self, bot: str) -> Market:
        return self.state.markets[self.rules.keys[bot]]

    def book_of(self, bot: str) -> Book:
        return self.state.books[bot]

    def orders(self, bot: str, *roles: str) -> list[Order]:
        """Open orders of a bot, oldest first; of some roles only where they are named."""
        open_ = self.market_of(bot).orders
        if not open_:
            return []
        return [order for order in open_.values() if order.bot == bot and (not roles or order.role in roles)]

    def place(
        self,
        bot: str,
        side: str,
        kind: str,
        role: str,
        qty: Decimal | None,
        *,
        limit: Decimal | None = None,
        trigger: Decimal | None = None,
        trail: Decimal | None = None,
        parent: str = "",
    ) -> None:
        if not self._placed:
            self._prefix = id_after(self._actor, self._by)[:16]
        self._placed += 1
        plan = self.rules.bots[bot]
        self.emit(
            OrderPlaced(
                f"{self._prefix}-{self._placed}",
                self.account,
                bot,
                plan.venue,
                plan.symbol,
                self.ts,
                side,
                kind,
                role,
                qty,
                limit,
                trigger,
                trail,
                role != "entry",
                parent,
            )
        )

    def cancel(self, order: Order, reason: str) -> None:
        plan = self.rules.bots[order.bot]
        self.emit(OrderCancelled(order.id, self.account, order.bot, plan.venue, plan.symbol, self.ts, reason))

    def cancel_all(self, bot: str, reason: str, *roles: str) -> bool:
        """Whether there was one."""
        found = self.orders(bot, *roles)
        for order in found:
            self.cancel(order, reason)
        return bool(found)

    def amend(self, order: Order, qty: Decimal | None, trigger: Decimal | None, reason: str) -> None:
        plan = self.rules.bots[order.bot]
        self.emit(
            OrderAmended(order.id, self.account, order.bot, plan.venue, plan.symbol, self.ts, qty, trigger, reason)
        )

    def trigger(self, order: Order, price: Decimal) -> None:
        plan = self.rules.bots[order.bot]
        self.emit(OrderTriggered(order.id, self.account, order.bot, plan.venue, plan.symbol, self.ts, price))

    def fill(self, order: Order, qty: Decimal, price: Decimal, liquidity: str, leaves: Decimal) -> None:
        """Books an execution. It opens, adds to, reduces or closes a position, and never crosses zero."""
        plan, book = self.rules.bots[order.bot], self.book_of(order.bot)
        buys, held = order.side == "buy", book.position
        signed = qty if buys else -qty
        paid = signed * price
        fees = self.rules.plan.fees
        fee = fee_of(qty * price, fees.maker if liquidity == "maker" else fees.taker)
        position = held + signed
        realized = ZERO
        if held and (held > 0) != buys:
            assert abs(position) < abs(held), f"{order.id} would cross zero"
            realized = -paid - share_of(book.cost, qty, abs(held))
        average = average_of(book.cost + paid + realized, position)
        self.emit(
            Fill(
                f"{order.id}-f{order.fills + 1}",
                order.id,
                self.account,
                order.bot,
                plan.venue,
                plan.symbol,
                self.ts,
                order.side,
                order.role,
                qty,
                price,
                fee,
                liquidity,
                realized,
                position,
                average,
                self.state.cash - paid - fee,
                leaves,
            )
        )

    def close(self, bot: str) -> None:
        """Sends the whole position out at market, unless that is under way; its bracket is cancelled."""
        size = abs(self.book_of(bot).position)
        self.cancel_all(bot, "closing", *CHILDREN)
        working = self.orders(bot, "exit")
        if size and sum((order.leaves for order in working), ZERO) != size:
            self.cancel_all(bot, "superseded", "exit")
            self.place(bot, self._out(bot), "market", "exit", size)

    def reduce(self, bot: str, qty: Decimal) -> None:
        self.place(bot, self._out(bot), "market", "exit", qty)

    def protect(self, bot: str, bracket: Bracket, parent: str, price: Decimal) -> None:
        """Puts a bracket around the whole position in place of the one it has; a trail counts from `price`."""
        self.cancel_all(bot, "replaced", *CHILDREN)
        size, side = abs(self.book_of(bot).position), self._out(bot)
        if bracket.stop is not None:
            self.place(bot, side, "stop", "stop-loss", size, trigger=bracket.stop, parent=parent)
        if bracket.take_profit is not None:
            self.place(bot, side, "limit", "take-profit", size, limit=bracket.take_profit, parent=parent)
        if bracket.trail is not None:
            tick = self.rules.symbols[self.rules.keys[bot]].tick
            level = trail_level(side, price, bracket.trail, tick)
            self.place(bot, side, "trailing", "trailing", size, trigger=level, trail=bracket.trail, parent=parent)

    def _out(self, bot: str) -> str:
        return "sell" if self.book_of(bot).position > 0 else "buy"


def trail_level(side: str, price: Decimal, trail: Decimal, tick: Decimal) -> Decimal:
    """Where a trailing stop stands when the price is `price`: on the tick, away from it; never below one tick."""
    if side == "sell":
        return max(floor_to(price - trail, tick), tick) if price > trail else tick
    return ceil_to(price + trail, tick)
