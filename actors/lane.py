"""One symbol's candles on their way through the actors that hear them, for `actors.express`."""

from __future__ import annotations

import numpy as np

from actors.account import AccountDecider
from actors.account import columns as account_columns
from actors.account.decider import Source
from actors.bot import BotDecider, BotState, is_news
from actors.decider import Poison
from actors.seat import Seat
from actors.strategies import Target
from actors.strategies.columns import Asked, Columnar, held
from actors.symbol import SymbolDecider
from actors.symbol import columns as symbol_columns
from events import subjects
from events.block import Columns, candle_list
from events.decision import Decision, Recorded, derived
from events.market import Candle


class Listener:
    """A bot that hears a symbol's candles. `candle` and `wish` are what its strategy was shown last and answered."""

    def __init__(self, seat: Seat, columns: bool) -> None:
        assert isinstance(seat.decider, BotDecider)
        self.seat, self.decider = seat, seat.decider
        self.state: BotState = seat.state
        self.columnar = columns and isinstance(self.state.strategy, Columnar)
        self.asked: Asked | None = None
        self.count = 0  # candles shown since `listen` began
        self.candle: Candle | None = None
        self.wish: Target | None = None

    def listen(self, candles: list[Candle]) -> int:
        """How many candles the strategy was shown before the one that made it say something new."""
        state = self.state
        on_candle, position = state.strategy.on_candle, state.position
        wish = None
        for self.count, candle in enumerate(candles):
            wish = on_candle(candle, position)
            if wish is not None and is_news(state, wish):
                self.candle, self.wish = candle, wish
                return self.count
        if candles:
            self.candle, self.wish = candle, wish
        return len(candles)

    def show(self, candle: Candle) -> bool:
        """Whether the strategy has something new to say of a candle."""
        self.candle, self.wish = candle, self.state.strategy.on_candle(candle, self.state.position)
        return self.wish is not None and is_news(self.state, self.wish)

    def keep(self) -> None:
        """Brings the state to what it is after the last candle shown."""
        candle, state = self.candle, self.state
        if candle is not None and candle.ts > state.learnt:
            state.price, state.learnt, state.wish = candle.close, candle.ts, self.wish

    def answer(self, entry: Recorded) -> Decision | None:
        """As `Seat.react` for the symbol's message of the candle shown last."""
        state, decider, seat, candle = self.state, self.decider, self.seat, self.candle
        assert candle is not None
        state.price, state.wish = candle.close, self.wish
        if candle.ts > state.learnt:
            state.learnt = candle.ts
        seat.at, seat.stood_at = entry.seq, 0
        if state.started and self.wish is None:
            return None
        try:
            facts = decider.decide(state, entry)
            for fact in facts:
                decider.evolve(state, fact)
        except Poison:
            raise
        except Exception as error:
            raise Poison(seat.actor, entry.seq, f"{type(error).__name__}: {error}") from error
        return derived(seat.actor, entry, facts) if facts else None


class Holder:
    """An account that hears a symbol's candles. Rows before `seen` are in its state; at `due` it may decide."""

    def __init__(self, seat: Seat, market: str) -> None:
        assert isinstance(seat.decider, AccountDecider)
        self.seat, self.decider = seat, seat.decider
        self.source: Source = seat.decider.sources[market]
        self.seen = self.due = 0

    def look(self, rows: Columns, start: int) -> int:
        self.due = account_columns.first_of_interest(self.decider, self.seat.state, self.source, rows, start)
        return self.due

    def see(self, rows: Columns, end: int) -> None:
        if end > self.seen:
            account_columns.pass_over(self.seat.state, self.source, rows, self.seen, end)
            self.seen = end

    def react(self, entry: Recorded, row: int) -> Decision | None:
        self.seen = row + 1
        return self.seat.react(entry)


class Lane:
    """A window of one symbol's rows, and the actors that hear them in rank order.

    `published`: what the symbol said of rows that did not pass unchanged, by row.
    """

    def __init__(self, seat: Seat, accounts: list[Seat], bots: list[Seat], columns: bool) -> None:
        assert isinstance(seat.decider, SymbolDecider)
        self.seat, self.decider, self.market = seat, seat.decider, seat.actor
        plan = seat.decider.plan
        self.venue, self.symbol, self.timeframe = plan.venue, plan.symbol, plan.base
        self.feed = subjects.feed(plan.venue, plan.symbol)
        self.eligible = symbol_columns.eligible(seat.decider)
        self.holders = [Holder(one, self.market) for one in accounts]
        self.listeners = [Listener(one, columns) for one in bots]
        self._by_actor = {one.seat.actor: one for one in self.listeners}
        self.shown = self.listeners[0] if self.listeners else None
        self._stop: int | None = None
        self._late = symbol_columns.Tail()

    def load(self, rows: Columns, judge: symbol_columns.Judge) -> None:
        """Raises ValueError where the rows are not in order of time."""
        self.rows, self.judged = rows, judge(self.decider, self.seat.state, rows)
        self.odd, heard, every = self.judged.odd, self.judged.heard, self.judged.every
        self.published: list[tuple[int, Decision | None]] = []
        self.passed = self.at = 0  # rows in the symbol's state; rows dealt with
        for holder in self.holders:
            holder.seen = holder.due = 0
        self.candles: list[Candle] = []
        if any(not one.columnar for one in self.listeners):
            self.candles = candle_list(self.venue, self.symbol, self.timeframe, rows)
        for listener in self.listeners:
            listener.candle = listener.wish = None
            if isinstance(strategy := listener.state.strategy, Columnar) and listener.columnar:
                shown = (rows if every else rows[heard]).read_only()
                listener.asked = Asked(strategy.on_columns(shown), None if every else heard, len(rows))
        self._stop = None

    def candle(self, row: int) -> Candle:
        if self.candles:
            return self.candles[row]
        rows = self.rows
        prices = (getattr(rows, name).item(row) for name in ("open", "high", "low", "close", "volume"))
        count = None if rows.count is None else int(rows.count[row])
        o, h, l, c, v = prices
        return Candle(self.venue, self.symbol, self.timeframe, int(rows.ts[row]), o, h, l, c, v, count)

    def stop(self) -> int:
        """The next row that must go the long way, or the number of rows."""
        if self._stop is None:
            at, rows = self.at, len(self.rows)
            place = int(np.searchsorted(self.odd, at))
            found = int(self.odd[place]) if place < len(self.odd) else rows
            for holder in self.holders:
                found = min(found, holder.look(self.rows, at))
            for listener in self.listeners:
                if not listener.state.started:
                    found = min(found, at)
                elif listener.asked is not None and not listener.state.paused:
                    state = listener.state
                    found = listener.asked.next_news(held(state.position), state.wanted, state.undone, at, found)
            self._stop = found
        return self._stop

    def dealt_with(self, row: int) -> None:
        self.at, self._stop = row + 1, None

    def catch_up(self, row: int) -> None:
        """Takes rows before `row` into the symbol's state; those since the last time are plain."""
        if row > self.passed:
            rows = self.rows[slice(self.passed, row)]
            symbol_columns.pass_over(self.seat.state, rows)
            self._late.add(rows)
            self.passed = row

    def remember(self) -> None:
        """Brings the symbol's memory of bars up to date, which only rows that are not plain ask for."""
        late, self._late = self._late, symbol_columns.Tail()
        if late.rows is not None:
            symbol_columns.remember(self.decider.rules, self.seat.state, late.rows, late.count)

    def close(self) -> None:
        """Brings every state to the end of the window."""
        end = len(self.rows)
        self.catch_up(end)
        for holder in self.holders:
            holder.see(self.rows, end)
        last = end - 1 - (0 if self.judged.every else int(self.judged.heard[::-1].argmax()))
        for listener in self.listeners:
            if listener.columnar and self.judged.heard[last]:
                self.recall(listener, last)
            listener.keep()
            listener.asked = None
        self.candles = []

    def recall(self, listener: Listener, row: int) -> None:
        """What a strategy that was asked in columns answers to a row that it hears."""
        assert listener.asked is not None
        listener.candle = self.candle(row)
        listener.wish = listener.asked.at(held(listener.state.position), row)

    def show(self, row: int) -> bool:
        """Whether a strategy that sees every candle has something new to say of this one."""
        if not self.candles:
            return False  # every strategy here was asked in columns
        candle, news = self.candles[row], False
        for listener in self.listeners:
            self.shown = listener
            if not listener.columnar and listener.show(candle):
                news = True
        return news

    def react(self, seat: Seat, entry: Recorded, row: int) -> Decision | None:
        """As `Seat.react`; a strategy that was asked in columns is not asked again."""
        listener = self._by_actor.get(seat.actor)
        if listener is None or not listener.columnar or entry.actor != self.market:
            return seat.react(entry)
        assert self.judged.heard[row], f"{self.market} published a candle that was not expected at row {row}"
        self.recall(listener, row)
        return listener.answer(entry)

    def poison(self, seq: int, error: Exception) -> Poison:
        listener = self.shown
        assert listener is not None, "only a strategy that was shown a candle can have raised"
        return Poison(listener.seat.actor, seq, f"{type(error).__name__}: {error}")
