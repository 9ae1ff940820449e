"""A strategy that is shown candle by candle, for as long as what it wants is plain trading."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import isfinite

from actors.account.money import EXACT, average_of, exact, fee_of
from actors.account.terms import SAFE, Scales, Start, Terms
from actors.bot import same
from actors.lane import Listener
from actors.strategies import FLAT, Position, Target
from events.market import Candle


class Watch:
    """`rows`, `targets` and `wishes` of the signals, after `run`; `error` is what the strategy raised.

    Cash is only estimated here, never above what it is: what may come near a limit is not plain. `scales`: of the
    prices that there may be.
    """

    def __init__(self, listener: Listener, terms: Terms, start: Start, scales: Scales) -> None:
        self.rows: list[int] = []
        self.targets: list[int] = []
        self.wishes: list[Target] = []
        self.error: Exception | None = None
        self._listener, self._terms, self._scales = listener, terms, scales
        self._side = start.side
        self._held, self._cost = start.position, start.cost
        self._cash = float(start.cash)
        self._size, self._money = terms.qty, start.cash  # exactly, where sizes depend on it
        self._full, self._lot, self._tick = float(terms.qty), float(terms.lot), 0.0
        self._slip, self._fee = float(terms.slippage), max(float(terms.taker), 0.0)
        if terms.slippage:
            self._tick = float(terms.tick)
        self._participation = None if terms.participation is None else float(terms.participation)
        self._notional_min = float(terms.notional_min) * SAFE
        self._before = 0  # the side before the newest signal

    def run(self, candles: list[Candle], first: int, stop: int) -> tuple[int, tuple[Target | None, ...]]:
        """(the first row that is not dealt with, what the strategy has already said of it and of the rows after it)."""
        listener, state = self._listener, self._listener.state
        on_candle, position, wanted = state.strategy.on_candle, state.position, state.wanted
        wish, at, filled, after, undone = None, first, -1, position, False
        try:
            for at, candle in enumerate(candles[first:stop], first):
                wish = on_candle(candle, position)
                if at == filled:
                    position = after
                if wish is None or (not undone and same(wish, wanted)):
                    continue
                if at + 1 >= stop or not self._plain(wish, candle, candles[at + 1]):
                    return self._given_back(at, wish)
                side, target = self._side, int(wish.target)
                undone = at == filled and self._before * target > 0
                self._before = side
                after = self._fill(candles[at + 1], target)
                self.rows.append(at)
                self.targets.append(target)
                self.wishes.append(wish)
                wanted, filled = wish, at + 1
        except Exception as error:
            self.error = error
            return at, ()
        listener.candle, listener.wish = candles[stop - 1], wish
        return stop, ()

    def _given_back(self, at: int, wish: Target) -> tuple[int, tuple[Target | None, ...]]:
        """A signal that is filled on a row that is not dealt with is not dealt with either."""
        shown = [wish]
        while self.rows and self.rows[-1] + 1 == at:
            at = self.rows.pop()
            self.targets.pop()
            shown.insert(0, self.wishes.pop())
        return at, tuple(shown)

    def _plain(self, wish: Target, candle: Candle, following: Candle) -> bool:
        """Whether the wish certainly comes to fills on the next bar; see `actors.account.plain`."""
        target = wish.target
        if target not in (-1, 0, 1) or target == self._side or wish.order != "market":
            return False
        levels = (wish.stop, wish.take_profit, wish.trail, wish.limit, wish.trigger)
        if any(level is not None for level in levels) or not isfinite(wish.confidence):
            return False
        if self._terms.fraction and target:
            self._size = self._sized(candle.close)
            self._full = float(self._size)
        full, slip = self._full, self._slip
        held = float(self._held)
        at, close = following.open, candle.close
        least, most = at * (1 - slip) - self._tick, at * (1 + slip) + self._tick
        cash = self._cash
        if held:
            gained = held * (least if held > 0 else most)
            cash += gained - abs(held) * most * self._fee
        turned, part = abs(held) + full * abs(target), self._participation
        if not -self._scales.most < cash < self._scales.most or turned * most >= self._scales.notional:
            return False
        if part is not None and part * following.volume - self._lot < SAFE * turned:
            return False
        if target:
            need = (full + self._lot) * most * (1 + self._fee) * SAFE + 1e-6
            fits = full * close * SAFE + 1e-6 <= self._cash + held * close
            if not fits or need > cash or full * close < self._notional_min or full <= 0:
                return False
            cash -= target * full * (most if target > 0 else least) + full * most * self._fee
        self._cash = cash
        return True

    def _fill(self, bar: Candle, target: int) -> Position:
        """The position after the next bar, written as the account writes it."""
        terms, at = self._terms, exact(bar.open)
        with localcontext(EXACT):
            if self._held:
                price = terms.price(at, -self._side)
                signed = -self._held
                self._cost = self._cost + signed * price + (-signed * price - self._cost)
                self._held = self._held + signed
                self._pay(signed, price)
            if target:
                price = terms.price(at, target)
                signed = target * self._size
                self._cost = self._cost + signed * price
                self._held = self._held + signed
                self._pay(signed, price)
            self._side = target
            return Position(self._held, average_of(self._cost, self._held)) if target else FLAT

    def _sized(self, close: float) -> Decimal:
        price = exact(close)
        with localcontext(EXACT):
            return self._terms.size(self._money + self._held * price, price)

    def _pay(self, signed: Decimal, price: Decimal) -> None:
        if self._terms.fraction:
            self._money -= signed * price + fee_of(abs(signed) * price, self._terms.taker)
