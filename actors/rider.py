"""Plain trading over whole stretches of columns, for `actors.express`: see `actors.account.plain` for what is plain."""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.account.money import EXACT, average_of, exact
from actors.account.plain import Legs, legs_of, money_after, trip_after
from actors.account.terms import Range, Start, Terms, range_of, scales_of, start_of, terms_of
from actors.bot import same
from actors.lane import Holder, Lane, Listener
from actors.strategies import FLAT, Position, Target
from actors.strategies.columns import ANY, Reasons, Wishes
from actors.stretch import Said, Stretch, united
from actors.watch import Watch
from events import timeframe
from events.block import Ints

_LEAST = 8  # rows: shorter stretches are not worth their columns
_ALL = 2**62
_REACH = 256  # signals looked at after one that was not plain; more and more while all are
_FEW = 4  # signals: a stretch of less is hardly worth its columns
_PAUSE_MAX = 64
_NOTHING = np.empty(0, np.int64)


class Ride(msgspec.Struct, frozen=True):
    """Rows before `end` are dealt with. `shown`: what the strategy has already said of the next rows.

    `error` is what the strategy raised at row `end`, after `decisions` of bot and account that are not told.
    """

    end: int
    shown: tuple[Target | None, ...] = ()
    error: Exception | None = None
    decisions: int = 0


def rider_of(lanes: list[Lane]) -> Rider | None:
    """None where there is more than one symbol, account or bot, or where their trading is not plain."""
    if len(lanes) != 1 or len(lanes[0].holders) != 1 or len(lanes[0].listeners) != 1:
        return None
    lane, holder, listener = lanes[0], lanes[0].holders[0], lanes[0].listeners[0]
    if listener.decider.account != holder.seat.actor or listener.decider.plan.timeframe != lane.timeframe:
        return None
    terms = terms_of(holder.decider)
    return None if terms is None else Rider(lane, holder, listener, terms)


class Rider:
    """One bot on its own account, on the only symbol that is played."""

    def __init__(self, lane: Lane, holder: Holder, listener: Listener, terms: Terms) -> None:
        self.lane, self.holder, self.listener, self.terms = lane, holder, listener, terms
        self.book = listener.decider.plan.name
        self._unfit = False  # numbers of this window do not fit columns
        self._range: Range | None = None
        self._reach = _ALL
        self._pause = self._waits = 0  # how often to leave it after stretches that were not worth it

    def load(self) -> None:
        self._unfit, self._range = False, None

    def ride(self, first: int, seq: int, told: Callable[[Stretch], None]) -> Ride:
        """Deals with plain rows from `first` on as far as trading stays plain, and tells them where there are any.

        `seq` is the last place on the tape.
        """
        lane = self.lane
        place = int(np.searchsorted(lane.odd, first))
        stop = int(lane.odd[place]) if place < len(lane.odd) else len(lane.rows)
        if stop - first < _LEAST or self._unfit or (start := self._start()) is None:
            return Ride(first)
        if self._waits:
            self._waits -= 1
            return Ride(first)
        with localcontext(EXACT):
            found = self._asked(start, first, stop) if self.listener.asked is not None else None
        if self.listener.asked is None:
            found = self._watched(start, first, stop)  # the strategy's own decimals are not our business
        if found is None:
            self._unfit = True
            return Ride(first)
        said, legs, ride = found
        self._judge(len(said), ride.end == stop)
        stretch = Stretch(
            self.listener.decider.plan, self.holder.decider.plan, lane.rows, lane.timeframe, first, ride.end, seq,
            self._price(), self.terms, start, said, legs, self._days(first, ride.end),
        )  # fmt: skip
        if ride.error is not None:
            before = int((said.rows < ride.end).sum()), stretch.answers
            return msgspec.structs.replace(ride, decisions=2 * before[0] + int((before[1] < ride.end).sum()))
        if ride.end > first:
            with localcontext(EXACT):
                self._settle(stretch, ride)
            told(stretch)
        return ride

    def _judge(self, signals: int, through: bool) -> None:
        """Where little is plain, looking for it in vain must not cost more than it saves."""
        if through or signals >= _FEW:
            self._pause = 0
        else:
            self._waits = self._pause = min(_PAUSE_MAX, 2 * self._pause + 1)

    def _start(self) -> Start | None:
        state, account = self.listener.state, self.holder.seat.state
        if not state.started or state.paused or state.undone:
            return None
        wanted = 0.0 if state.wanted is None else state.wanted.target
        return start_of(account, account.books[self.book], wanted)

    def _price(self) -> float:
        price = self.holder.seat.state.markets[self.lane.market].price
        assert price is not None, "an account that is open has seen a price"
        return float(price)

    def _days(self, first: int, end: int) -> Ints:
        """Rows on which a UTC day starts."""
        ts, begun = self.lane.rows.ts, int(self.holder.seat.state.day_end)
        if end == first or int(ts[end - 1]) <= begun:
            return _NOTHING
        rows = np.searchsorted(ts, np.arange(begun, int(ts[end - 1]), timeframe.DAY), "right")
        return united(rows[(rows >= first) & (rows < end)])

    def _asked(self, start: Start, first: int, stop: int) -> tuple[Said, Legs, Ride] | None:
        """From the column form of the strategy."""
        asked = self.listener.asked
        assert asked is not None
        wishes = asked.wishes
        if not wishes.bare or wishes.when is not None:
            return None
        rows, places = asked.said(first, stop)
        whole = stop
        if len(rows) > self._reach:
            stop = int(rows[self._reach])
            rows, places = rows[: self._reach], places[: self._reach]
        target = wishes.target[places]
        fresh = np.ones(len(rows), np.bool_)
        fresh[1:] = target[1:] != target[:-1]
        if len(rows):
            one = asked.at(ANY, int(rows[0]))
            assert one is not None, "this row says something"
            fresh[0] = not same(one, self.listener.state.wanted)
        news = np.flatnonzero(fresh)
        follows = np.diff(news, append=len(fresh)) == 1  # nothing is said until the next news
        rows, places, target = rows[news], places[news], target[news]
        sides = np.concatenate(([start.side], target[:-1])) if len(target) else target
        fine = (rows + 1 < stop) & ((target == 0.0) | (np.abs(target) == 1.0)) & (target != sides)
        fine &= follows | ~_undone(rows, target, sides)
        count = _closed(rows, len(rows) if fine.all() else int(fine.argmin()))
        end = stop if count == len(rows) else int(rows[count])
        rows, places, targets = rows[:count], places[:count], target[:count].astype(np.int64)
        paid = self.lane.rows.open[rows + 1]
        scales = scales_of(self.terms, start, range_of(paid, self.lane.rows.close[rows]))
        if scales is None:
            return None
        legs, certain = legs_of(self.terms, start, scales, self.lane.rows, rows, targets)
        if (certain := _closed(rows, certain)) < count:
            legs, end = legs.of(certain), int(rows[certain])
        self._reach = min(_ALL, 2 * self._reach) if end in (stop, whole) else _REACH
        return _said(wishes, rows, targets, places).of(certain), legs, Ride(end)

    def _watched(self, start: Start, first: int, stop: int) -> tuple[Said, Legs, Ride] | None:
        """From the strategy itself, candle by candle."""
        rows, terms = self.lane.rows, self.terms
        with localcontext(EXACT):
            self._range = self._range or range_of(rows.open, rows.close)
            scales = scales_of(terms, start, self._range)
        if scales is None:
            return None
        watch = Watch(self.listener, terms, start, scales)
        end, shown = watch.run(self.lane.candles, first, stop)
        at, targets = np.array(watch.rows, np.int64), np.array(watch.targets, np.int64)
        with localcontext(EXACT):
            legs, _ = legs_of(terms, start, scales, rows, at, targets)
        wishes = watch.wishes
        confidence = np.array([float(one.confidence) for one in wishes], np.float64)
        said = Said(at, targets, confidence, lambda i: tuple(str(reason) for reason in wishes[i].reasons))
        return said, legs, Ride(end, shown, watch.error)

    def _settle(self, stretch: Stretch, ride: Ride) -> None:
        """Brings bot and account to the end of the stretch."""
        legs, said = stretch.legs, stretch.said
        account, state = self.holder.seat.state, self.listener.state
        book = account.books[self.book]
        if len(stretch.days):
            ts = int(stretch.rows.ts[stretch.days[-1]])
            account.day_end = ((ts - 1) // timeframe.DAY + 1) * timeframe.DAY
            account.day_equity = stretch.day_equities(last=True)[0]
        self.holder.see(stretch.rows, stretch.end)
        if not ride.shown:
            if self.listener.asked is not None:
                self.lane.recall(self.listener, stretch.end - 1)
            self.listener.keep()
        if len(legs):
            after = money_after(self.terms, stretch.start, legs, stretch.rows.open[legs.row])
            account.cash, book.position, book.cost = after.cash, after.position, after.cost
            book.trip = trip_after(legs)
            entries = np.flatnonzero(~legs.exits)
            if len(entries):
                book.target = exact(float(legs.side[entries[-1]]))
            average = average_of(after.cost, after.position)
            state.position = Position(after.position, average) if after.position else FLAT
            if int(legs.row[-1]) == stretch.end - 1:
                state.wish = None  # the fill was heard after the candle
        if len(said):
            signal = book.wanted = stretch.signal(len(said) - 1)
            state.wanted = Target(signal.target, confidence=signal.confidence, reasons=signal.reasons)
            state.asked = signal.ts
            sides = np.concatenate(([stretch.start.side], said.targets[:-1]))
            state.undone = bool(_undone(said.rows, said.targets, sides)[-1])


def _closed(rows: Ints, count: int) -> int:
    """How many of the first `count` signals are filled before the row of the one after them."""
    while 0 < count < len(rows) and rows[count - 1] + 1 == rows[count]:
        count -= 1
    return count


def _undone(rows: Ints, targets: Any, sides: Any) -> NDArray[np.bool_]:
    """Signals after which the bot is told of an exit from the side that it has just asked for: it had wanted that exit
    one candle before. `sides` before each signal."""
    found = np.zeros(len(rows), np.bool_)
    found[1:] = (rows[1:] == rows[:-1] + 1) & (sides[:-1] * targets[1:] > 0)
    return found


def _said(wishes: Wishes, rows: Ints, targets: Ints, places: Ints) -> Said:
    confidence = np.ones(len(rows)) if wishes.confidence is None else wishes.confidence[places]
    reasons = wishes.reasons
    if isinstance(reasons, Reasons):
        return Said(rows, targets, confidence, lambda i: reasons(int(places[i])), reasons.codes[places], reasons.texts)
    if reasons is None:
        return Said(rows, targets, confidence, lambda _: (), np.zeros(len(rows), np.int64), ((),))
    return Said(rows, targets, confidence, lambda i: reasons(int(places[i])))
