"""Paper matching: open orders against one bar or one trade, along one path. The README says every assumption."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from events.market import Candle

from .book import CHILDREN, Market, Order
from .money import ONE, ZERO, affordable, ceil_to, exact, floor_to
from .risk import room_at_fill
from .sheet import Sheet, trail_level

_STOPS = ("stop", "stop-limit", "trailing")


def path_of(candle: Candle) -> Iterator[Decimal]:
    """The order in which the prices of a bar are taken to have come: open, the extreme nearer to it (the low where
    both are as near), the other extreme, close."""
    start = exact(candle.open)
    yield start
    high, low = exact(candle.high), exact(candle.low)
    yield from (high, low) if high - start < start - low else (low, high)
    yield exact(candle.close)


def quiet(market: Market, candle: Candle) -> bool:
    """Whether this bar certainly changes no order of this market."""
    orders = market.orders.values()
    for order in orders:
        if order.kind == "market":
            return False
    low, high = exact(candle.low), exact(candle.high)
    for order in orders:
        buys = order.side == "buy"
        if order.kind == "limit" and order.limit is not None:
            if low <= order.limit if buys else high >= order.limit:
                return False
        elif order.kind in ("stop", "stop-limit") and not order.triggered and order.trigger is not None:
            if high >= order.trigger if buys else low <= order.trigger:
                return False
        elif order.trail is not None and not order.triggered and order.trigger is not None:
            stands = high < order.trigger <= low + order.trail if buys else low > order.trigger >= high - order.trail
            if not stands:
                return False
        else:
            return False
    return True


class Matcher:
    """One walk along a path of prices. `volume`: what was traded on it; `start`: when it began, so that orders
    placed later than that have no part in it."""

    def __init__(self, sheet: Sheet, key: str, volume: float, start: int) -> None:
        self.sheet, self.key = sheet, key
        self.market, self.symbol = sheet.state.markets[key], sheet.rules.symbols[key]
        fills = sheet.rules.plan.fills
        self.slippage = fills.slippage
        self.pool: Decimal | None = None
        if fills.participation is not None:
            self.pool = floor_to(exact(volume) * fills.participation, self.symbol.lot)
        self.books = sheet.state.books
        self.old = frozenset(self.market.orders)
        self.asleep = frozenset([name for name, order in self.market.orders.items() if order.ts > start])
        self.said: dict[str, Decimal | None] = {}

    def walk(self, path: Iterator[Decimal]) -> None:
        """Looks at no more prices than it needs: mostly the first one fills all there is."""
        at = next(path)
        self._drag(at)
        self._settle(at)
        while self.market.orders and (to := next(path, None)) is not None:
            while (order := self._next(at, to)) is not None:
                at = _level(order)
                self._touch(order, at, crossed=True)
                self._settle(at)
            at = to
            self._drag(at)
        for order in self.market.orders.values():
            if self._may(order):
                self._say_trigger(order)
                order.rested = True

    def _may(self, order: Order) -> bool:
        """Whether an open order may act now; an entry waits until the opposite position is closed."""
        if order.id in self.asleep:
            return False
        return order.reduce_only or self.books[order.bot].position * order.sign >= 0

    def _settle(self, at: Decimal) -> None:
        """Everything that can happen without the price moving: exits first, then in the order of placing."""
        done, facts, orders = -1, self.sheet.facts, self.market.orders
        while orders and done != len(facts):
            done = len(facts)
            active = [order for order in orders.values() if self._may(order)]
            if len(active) > 1:
                active.sort(key=_turn)
            for order in active:
                if order.id not in orders or not self._may(order):
                    continue
                if order.kind == "market" or (order.triggered and order.kind != "stop-limit"):
                    self._execute(order, at, maker=False)
                elif self._reached(order, at):
                    self._touch(order, at, crossed=False)

    def _reached(self, order: Order, at: Decimal) -> bool:
        if order.kind in _STOPS and not order.triggered:
            return (at - _level(order)) * order.sign >= 0
        return self._has_room() and (_level(order) - at) * order.sign >= 0

    def _next(self, at: Decimal, to: Decimal) -> Order | None:
        """The first order that the price meets on its way from `at` to `to`; of several there, the oldest."""
        nearest: Order | None = None
        for order in self.market.orders.values():
            if order.kind == "market" or (order.triggered and order.kind != "stop-limit"):
                continue
            stop = order.kind in _STOPS and not order.triggered
            level, rising = _level(order), (order.side == "buy") == stop
            met = at < level <= to if rising else to <= level < at
            if not met or not (stop or self._has_room()) or not self._may(order):
                continue
            if nearest is None or abs(level - at) < abs(_level(nearest) - at):
                nearest = order
        return nearest

    def _touch(self, order: Order, at: Decimal, *, crossed: bool) -> None:
        if order.kind in _STOPS and not order.triggered:
            self._trigger(order, at)
            if order.kind == "stop-limit" and not self._reached(order, at):
                return
            self._execute(order, at, maker=False)
        else:
            self._execute(order, at, maker=crossed or (order.rested and order.id in self.old))

    def _trigger(self, order: Order, at: Decimal) -> None:
        self._say_trigger(order)
        self.sheet.trigger(order, at)
        if order.role in CHILDREN:
            for other in self.sheet.orders(order.bot, *CHILDREN):
                if other is not order:
                    self.sheet.cancel(other, "oco")
            self.sheet.cancel_all(order.bot, "bracket-closed", "entry")

    def _execute(self, order: Order, at: Decimal, *, maker: bool) -> None:
        if not self._has_room():
            return
        price = at if maker else self._slipped(order, at)
        if order.reduce_only:
            most, leaves, reason = order.leaves, order.leaves, ""
        else:
            leaves, most, reason = self._allowed(order, price, maker=maker)
        qty = most if self.pool is None else min(most, self.pool)
        if qty > 0:
            if self.pool is not None:
                self.pool -= qty
            self.sheet.fill(order, qty, price, "maker" if maker else "taker", leaves - qty)
            self._follow(order, at)
        if reason and qty == most and order.id in self.market.orders:
            self.sheet.cancel(order, reason)

    def _allowed(self, order: Order, price: Decimal, *, maker: bool) -> tuple[Decimal, Decimal, str]:
        """(what is open of an entry, how much of it the limits leave room for, the reason where that is less)."""
        fees, lot = self.sheet.rules.plan.fees, self.symbol.lot
        unsized = order.qty is None
        room, reason = room_at_fill(self.sheet.rules, self.sheet.state, order, price, unsized)
        most = affordable(room, price, fees.maker if maker else fees.taker, lot)
        if not unsized:
            return order.leaves, min(most, order.leaves), reason if most < order.leaves else ""
        if most * price < self.symbol.notional_min:
            return ZERO, ZERO, "notional-min"
        return most, most, "" if most else reason

    def _slipped(self, order: Order, at: Decimal) -> Decimal:
        """The price a taker gets, on the tick and never beyond its limit; untouched where there is no slippage."""
        price = at
        if self.slippage and order.sign > 0:
            price = ceil_to(at * (ONE + self.slippage), self.symbol.tick)
        elif self.slippage:
            price = max(floor_to(at * (ONE - self.slippage), self.symbol.tick), min(self.symbol.tick, at))
        if order.limit is not None:
            price = min(price, order.limit) if order.sign > 0 else max(price, order.limit)
        return price

    def _follow(self, order: Order, at: Decimal) -> None:
        """After a fill the other orders of the bot follow its position: brackets cover all of it and no more."""
        bot, size = order.bot, abs(self.sheet.book_of(order.bot).position)
        if not size:
            closed = order.role in CHILDREN
            self.sheet.cancel_all(bot, "oco" if closed else "position-closed", *CHILDREN)
            self.sheet.cancel_all(bot, "position-closed", "exit")
            if closed:
                self.sheet.cancel_all(bot, "bracket-closed", "entry")
            return None
        children = self.sheet.orders(bot, *CHILDREN)
        if order.role == "entry" and order.bracket and all(child.parent != order.id for child in children):
            return self.sheet.protect(bot, order.bracket, order.id, at)
        for other in self.sheet.orders(bot, "exit", *CHILDREN):
            if other.leaves > size or (other.leaves < size and other.role in CHILDREN):
                self.said[other.id] = other.trigger
                self.sheet.amend(other, other.filled + size, other.trigger, "position")
        return None

    def _drag(self, at: Decimal) -> None:
        """Trailing stops follow the price; the fact about it comes once, at the end of the walk."""
        for order in self.market.orders.values():
            if order.trail is None or order.trigger is None or order.triggered or not self._may(order):
                continue
            self.said.setdefault(order.id, order.trigger)
            level = trail_level(order.side, at, order.trail, self.symbol.tick)
            order.trigger = min(order.trigger, level) if order.sign > 0 else max(order.trigger, level)

    def _say_trigger(self, order: Order) -> None:
        if order.trail is not None and order.trigger != self.said.get(order.id, order.trigger):
            self.said[order.id] = order.trigger
            self.sheet.amend(order, order.qty, order.trigger, "trail")

    def _has_room(self) -> bool:
        return self.pool is None or self.pool > 0


def _turn(order: Order) -> bool:
    return not order.reduce_only


def _level(order: Order) -> Decimal:
    level = order.limit if order.kind == "limit" or order.triggered else order.trigger
    assert level is not None, f"{order.id} has no price to meet"
    return level
