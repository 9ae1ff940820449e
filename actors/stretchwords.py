"""What the digest hashes of a stretch of plain trading, straight from its columns, as `events.tradebytes` has it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors import kernels
from actors.account.plain import Legs
from actors.account.terms import FEE
from actors.stretch import SIDES, Stretch, day_of
from events import subjects, timeframe
from events.block import Ints
from events.decision import number_of
from events.numbers import halves, ids_after, words
from events.tradebytes import APPROVED, DAY, FILL, MARK, NAN, PLACED, SIGNAL, UNIT, money, text_hash

Words = NDArray[np.int64]

_HEAD, _SIGNAL, _APPROVED, _PLACED, _FILL, _DAY = 6, 12, 8, 9, 23, 6


class StretchWords:
    """`bot` and `account`: their decisions in canonical bytes, each after its length.

    `ids`: (rows, 16), of the feed's messages on the rows of the stretch's window.
    """

    _loops = True

    def __init__(self, stretch: Stretch, ids: NDArray[np.uint8]) -> None:
        self.of, self._ids = stretch, ids
        bot = stretch.bot
        self._names = (bot.name, bot.venue, bot.symbol)
        self._bot, self._account = subjects.bot(bot.name), subjects.account(stretch.account.name)
        self._market = subjects.market(bot.venue, bot.symbol)

    def both(self) -> tuple[Any, Any]:
        """(bot, account)"""
        return self._looped() if kernels.is_warm() and self._loops else (self.bot(), self.account())

    def _looped(self) -> tuple[Any, Any]:
        """As `bot` and `account`, in one compiled pass."""
        from actors import wordloops

        of, said, legs = self.of, self.of.said, self.of.legs
        exits = int(np.count_nonzero(legs.exits))
        entries, answers = len(legs) - exits, len(legs) + len(of.days)
        bot = np.empty(len(said) * (1 + _HEAD + _SIGNAL), np.int64)
        size = (len(said) + answers) * (1 + _HEAD) + len(of.days) * _DAY + len(legs) * (_PLACED + _FILL)
        account = np.empty(size + entries * _APPROVED, np.int64)
        own = [_hashed(self._bot), _hashed(self._account), _hashed(of.account.name, *self._names)]
        texts = np.concatenate([own, *(self._texts(*one).reshape(4, 2) for one in (("market", ""), ("", "taker")))])
        sums = np.stack([column for column, _ in self._sums(legs)], axis=1)
        units = np.array([10**decimals for _, decimals in self._sums(legs)])
        ts, ids, at = of.rows.ts, self._ids.view(np.uint64), (said.rows, legs.row, of.days)
        said_at, filled_at, days_at = ((one, ts[one], ids.take(one, axis=0)) for one in at)
        words = wordloops.stretch_words(
            *said_at, of.rows.close[said.rows], said.targets.astype(np.float64), said.confidence, self._reasons(),
            *filled_at, legs.signal, legs.exits, legs.side, sums,
            *days_at, self._days(days_at[1]), self._equities,
            units, 1.0 / units, UNIT // units,
            self._numbered, texts, bot, bot.view(np.float64), account,
        )  # fmt: skip
        return bot.view(np.uint8), account[:words].view(np.uint8)

    @staticmethod
    def _sums(legs: Legs) -> tuple[tuple[Ints, int], ...]:
        """Of a fill, in order: columns and their decimals."""
        scales = legs.scales
        lots, places, digits = scales.lots, scales.places, scales.digits
        return (
            (legs.qty, lots), (legs.price, places), (legs.fee, FEE), (legs.realized, digits),
            (legs.position, lots), (legs.average, places), (legs.cash, digits),
        )  # fmt: skip

    @property
    def _numbered(self) -> NDArray[np.uint64]:
        """What ids follow by: of market, bot and account."""
        numbers = [number_of(one) for one in (self._market, self._bot, self._account)]
        return np.array([[one >> 64, one & (2**64 - 1)] for one in numbers], np.uint64)

    def bot(self) -> bytes:
        """Of each signal one decision."""
        said, rows = self.of.said, self.of.rows
        count = len(said)
        found = np.empty((count, 1 + _HEAD + _SIGNAL), np.int64)
        found[:, 0] = 8 * (_HEAD + _SIGNAL)
        ts = rows.ts[said.rows]
        self._head(found[:, 1:], self._bot, 1, words(self._markets(said.rows)), ts)
        body, levels = found[:, 1 + _HEAD :], np.full(5, NAN)
        body[:, 0], body[:, 3] = SIGNAL, ts
        body[:, 1:3] = self._reasons()
        numbers = body.view(np.float64)
        numbers[:, 4], numbers[:, 5], numbers[:, 11] = said.targets, rows.close[said.rows], said.confidence
        numbers[:, 6:11] = levels
        return found.tobytes()

    def account(self) -> bytes:
        """Of each signal one decision, and of each row that is filled or starts a day."""
        of = self.of
        pieces = [*self._placed_pieces(), *self._filled_pieces()]
        width = np.concatenate([np.full(len(at), part.shape[1]) for at, part in pieces])
        order = np.concatenate([at for at, _ in pieces])
        # By row; the answer to a candle comes before the answer to the signal that was made of it.
        place = np.argsort(order, kind="stable")
        starts = np.empty(len(order), np.int64)
        starts[place] = np.cumsum(width[place]) - width[place]
        found = np.empty(int(width.sum()), np.int64)
        done = 0
        for at, part in pieces:
            found[starts[done : done + len(at), None] + np.arange(part.shape[1])] = part
            done += len(at)
        assert done == of.decisions - len(of.said), "every decision has its place"
        return found.tobytes()

    @cached_property
    def _signals(self) -> tuple[Any, Any]:
        """Ids of the bot's messages."""
        return ids_after(self._bot, self._markets(self.of.said.rows))

    @cached_property
    def _orders(self) -> Ints:
        """What the ids of the orders begin with, by signal."""
        return words(ids_after(self._account, self._signals))[:, 0]

    @cached_property
    def _numbers(self) -> Ints:
        """Which of a signal's orders each leg is."""
        legs = self.of.legs
        again = np.concatenate(([False], legs.signal[1:] == legs.signal[:-1])) if len(legs) else legs.exits
        return 1 + again.astype(np.int64)

    def _markets(self, rows: Ints) -> tuple[Any, Any]:
        return ids_after(self._market, halves(self._ids[rows]))

    def _head(self, into: Words, actor: str, facts: int, by: Words, ts: Ints) -> None:
        into[:, 0] = MARK + 256 * facts
        into[:, 1:3] = _hashed(actor)
        into[:, 3:5] = by
        into[:, 5] = ts

    def _reasons(self) -> Words:
        of, said = self.of, self.of.said
        if said.codes is not None:
            table = np.stack([_hashed(*self._names, "market", texts) for texts in said.texts])
            known: Words = table.take(said.codes, axis=0)
            return known
        texts = [said.reasons(number) for number in range(len(said))]
        hashes = b"".join([text_hash(of.bot.name, of.bot.venue, of.bot.symbol, "market", one) for one in texts])
        return np.frombuffer(hashes, "<i8").reshape(-1, 2)

    def _placed_pieces(self) -> list[tuple[Ints, Words]]:
        """(where in order, words) of the answers to signals, by their kinds: out, in, and out and in."""
        said, legs = self.of.said, self.of.legs
        outs = np.zeros(len(said), np.bool_)
        outs[legs.signal[legs.exits]] = True
        ins = said.targets != 0
        found = []
        for out, in_ in ((True, False), (False, True), (True, True)):
            some = np.flatnonzero((outs == out) & (ins == in_))
            if len(some):
                found.append((2 * said.rows[some] + 1, self._placed(some, out, in_)))
        return found

    def _placed(self, some: Ints, out: bool, in_: bool) -> Words:
        of, said = self.of, self.of.said
        facts = out + 2 * in_
        size = _HEAD + out * _PLACED + in_ * (_APPROVED + _PLACED)
        found = np.empty((len(some), 1 + size), np.int64)
        found[:, 0] = 8 * size
        ts, by = of.rows.ts[said.rows[some]], words(self._signals)[some]
        self._head(found[:, 1:], self._account, facts, by, ts)
        at = 1 + _HEAD
        first = np.searchsorted(of.legs.signal, some)
        if out:
            self._order(found[:, at : at + _PLACED], first, ts)
            at += _PLACED
        if in_:
            body = found[:, at : at + _APPROVED]
            body[:, 0], body[:, 3] = APPROVED, ts
            body[:, 1:3] = _hashed(of.account.name, *self._names)
            body[:, 4:6] = by
            body[:, 6:8] = _money(of.legs.qty[first + out], of.legs.scales.lots)
            at += _APPROVED
            self._order(found[:, at:], first + out, ts)
        return found

    def _order(self, into: Words, legs: Ints, ts: Ints) -> None:
        of = self.of
        exits, side = of.legs.exits[legs], of.legs.side[legs]
        into[:, 0], into[:, 5], into[:, 8] = PLACED, ts, exits
        into[:, 1:3] = self._text(exits, side, "market", "")
        into[:, 3], into[:, 4] = self._orders[of.legs.signal[legs]], self._numbers[legs]
        into[:, 6:8] = _money(of.legs.qty[legs], of.legs.scales.lots)

    def _text(self, exits: Any, side: Ints, kind: str, liquidity: str) -> Words:
        found: Words = self._texts(kind, liquidity)[exits.astype(np.int64), (side > 0).astype(np.int64)]
        return found

    def _texts(self, kind: str, liquidity: str) -> Words:
        """The texts of an order (`kind`) or of a fill (`liquidity`), by exits and side."""
        names = (self.of.account.name, *self._names)
        table = np.zeros((2, 2, 2), np.int64)
        for out, role in ((0, "entry"), (1, "exit")):
            for up, sign in ((0, -1), (1, 1)):
                texts = (SIDES[sign], kind, role) if kind else (SIDES[sign], role, liquidity)
                table[out, up] = _hashed(*names, *texts)
        return table

    def _filled_pieces(self) -> list[tuple[Ints, Words]]:
        """(where in order, words) of the answers to candles, by how many fills there are and whether a day starts."""
        of, rows = self.of, self.of.answers
        first = np.searchsorted(of.legs.row, rows)
        fills = np.searchsorted(of.legs.row, rows, "right") - first
        begins = np.isin(rows, of.days)
        found = []
        for day in (False, True):
            for count in (0, 1, 2):
                some = np.flatnonzero((begins == day) & (fills == count))
                if len(some):
                    found.append((2 * rows[some], self._filled(rows[some], first[some], count, day)))
        return found

    def _filled(self, rows: Ints, first: Ints, count: int, day: bool) -> Words:
        of = self.of
        size = _HEAD + day * _DAY + count * _FILL
        found = np.empty((len(rows), 1 + size), np.int64)
        found[:, 0] = 8 * size
        ts = of.rows.ts[rows]
        self._head(found[:, 1:], self._account, day + count, words(self._markets(rows)), ts)
        at = 1 + _HEAD
        if day:
            days = np.searchsorted(of.days, rows)
            body = found[:, at : at + _DAY]
            body[:, 0], body[:, 3] = DAY, ts
            body[:, 1:3], body[:, 4:6] = self._days(ts), self._equities[days]
            at += _DAY
        for number in range(count):
            self._fill(found[:, at : at + _FILL], first + number, ts)
            at += _FILL
        return found

    def _days(self, ts: Ints) -> Words:
        """The texts of days that start with bars that close then."""
        name = self.of.account.name
        hashes = b"".join([_day_text(name, day) for day in ((ts - 1) // timeframe.DAY).tolist()])
        return np.frombuffer(hashes, "<i8").reshape(-1, 2)

    @cached_property
    def _equities(self) -> Words:
        """As each of `days` starts."""
        of = self.of
        found = of.day_sums()
        if found is not None:
            return _money(found, of.legs.scales.digits)
        return np.array([money(one) for one in of.day_equities()], np.int64).reshape(-1, 2)

    def _fill(self, into: Words, legs: Ints, ts: Ints) -> None:
        of = self.of.legs
        exits, side = of.exits[legs], of.side[legs]
        into[:, 0], into[:, 5], into[:, 6] = FILL, 1, ts
        into[:, 1:3] = self._text(exits, side, "", "taker")
        into[:, 3], into[:, 4] = self._orders[of.signal[legs]], self._numbers[legs]
        for place, (column, decimals) in enumerate(self._sums(of)):
            into[:, 7 + 2 * place : 9 + 2 * place] = _money(column[legs], decimals)
        into[:, 21:23] = 0  # nothing is left open


def _money(column: Ints, decimals: int) -> Words:
    """(rows, 2): as `tradebytes.money`."""
    whole, rest = np.divmod(column, 10**decimals)
    return np.stack([whole, rest * (UNIT // 10**decimals)], axis=1)


@lru_cache(maxsize=65_536)
def _day_text(account: str, day: int) -> bytes:
    return text_hash(account, day_of((day + 1) * timeframe.DAY))


def _hashed(*texts: Any) -> Words:
    return np.frombuffer(text_hash(*texts), "<i8")
