"""A stretch of plain trading: many candles, one bot, one account, and what was decided on the way, as columns.

The facts are made when somebody wants to see them, with the arithmetic of the account's own sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Any, TypeVar

import msgspec
import numpy as np

from actors.account.ledger import EPOCH
from actors.account.money import EXACT, ZERO, average_of, exact, fee_of, share_of
from actors.account.plain import Legs
from actors.account.terms import WIDEST, Start, Terms, scaled
from actors.plan import AccountPlan, BotPlan
from events import subjects, timeframe
from events.block import Columns, Floats, Ints
from events.bulk import feed_ids
from events.decision import Decision, Recorded, derived, id_after
from events.fact import Fact
from events.feed import observed
from events.market import Candle
from events.numbers import halves, ids_after
from events.trading import Fill, OrderPlaced, RiskApproved, Signal, TradingDayStarted

SIDES = {1: "buy", -1: "sell"}


class Said(msgspec.Struct, frozen=True):
    """What the strategy said, a row per signal: the row of the candle, and the target -1, 0 or 1.

    `reasons(i)` and `confidence` are those of signal i; `codes` and `texts` the reasons once more, where they are few.
    """

    rows: Ints
    targets: Ints
    confidence: Floats
    reasons: Callable[[int], tuple[str, ...]]
    codes: Any = None
    texts: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, signals: int) -> Said:
        codes = None if self.codes is None else self.codes[:signals]
        part = (self.rows[:signals], self.targets[:signals], self.confidence[:signals])
        return Said(*part, self.reasons, codes, self.texts)


F = TypeVar("F", bound=Fact)


class Stretch(msgspec.Struct, frozen=True, dict=True):
    """Rows `first` to `end` - 1 of a window, all of them plain. `seq` is the last place on the tape before them.

    `days`: rows on which a UTC day starts. `legs.signal` counts in `said`.
    """

    bot: BotPlan
    account: AccountPlan
    rows: Columns
    timeframe: str
    first: int
    end: int
    seq: int
    before: float
    terms: Terms
    start: Start
    said: Said
    legs: Legs
    days: Ints

    def count(self, kind: type[Fact]) -> int:
        if kind in (Fill, OrderPlaced):
            return len(self.legs)
        return len(self.said) if kind is Signal else sum(1 for _ in self.facts(kind))

    def facts(self, kind: type[F]) -> list[F]:
        """Those of one type, in order."""
        if kind is Fill:
            with localcontext(EXACT):
                return list(_Telling(self).fills())  # type: ignore[arg-type]
        if kind is Signal:
            return [self.signal(number) for number in range(len(self.said))]  # type: ignore[misc]
        return [fact for entry in self.entries() for fact in entry.decision.facts if type(fact) is kind]

    def last_fill(self) -> Fill:
        """The last one, with its numbers only: its ids are left empty."""
        legs = self.legs

        def value(name: str, decimals: int) -> Decimal:
            return Decimal(int(getattr(legs, name)[-1])).scaleb(-decimals)

        scales, bot = legs.scales, self.bot
        lots, places, digits = scales.lots, scales.places, scales.digits
        return Fill(
            "", "", self.account.name, bot.name, bot.venue, bot.symbol, int(self.rows.ts[legs.row[-1]]),
            SIDES[int(legs.side[-1])], "exit" if legs.exits[-1] else "entry", value("qty", lots),
            value("price", places), value("fee", 8), "taker", value("realized", digits), value("position", lots),
            value("average", places), value("cash", digits), ZERO,
        )  # fmt: skip

    def signal(self, number: int) -> Signal:
        bot, said, row = self.bot, self.said, int(self.said.rows[number])
        return Signal(
            bot.name, bot.venue, bot.symbol, int(self.rows.ts[row]), float(said.targets[number]),
            float(self.rows.close[row]), confidence=float(said.confidence[number]), reasons=said.reasons(number),
        )  # fmt: skip

    def day_equities(self, last: bool = False) -> list[Decimal]:
        """Of each of `days`, or of the `last` one alone, when it starts: before its bar."""
        legs, found, days = self.legs, [], self.days[-1:] if last else self.days
        done = np.searchsorted(legs.row, days).tolist()
        with localcontext(EXACT):
            for row, count in zip(days.tolist(), done, strict=True):
                cash, position = self.start.cash, self.start.position
                if count:
                    cash = Decimal(int(legs.cash[count - 1])).scaleb(-legs.scales.digits)
                    position = Decimal(int(legs.position[count - 1])).scaleb(-legs.scales.lots)
                before = float(self.rows.close[row - 1]) if row > self.first else self.before
                found.append(cash + position * exact(before))
        return found

    def day_sums(self) -> Ints | None:
        """`day_equities` as integers of `legs.scales.digits` decimals; None where they might not fit."""
        legs, days, scales = self.legs, self.days, self.legs.scales
        cash = np.concatenate(([scaled(self.start.cash, scales.digits)], legs.cash))
        position = np.concatenate(([scaled(self.start.position, scales.lots)], legs.position))
        done = np.searchsorted(legs.row, days)
        before = np.where(days > self.first, self.rows.close[days - 1], self.before)
        marks = np.rint(before * 10.0**scales.raw)
        value, unit = position[done] * marks, 10.0 ** (scales.digits - scales.lots - scales.raw)
        if (
            not (marks < 2**53).all()
            or (marks / 10.0**scales.raw != before).any()
            or not (abs(value) * unit < WIDEST / 4).all()
        ):
            return None
        found: Ints = cash[done] + position[done] * marks.astype(np.int64) * int(unit)
        return found

    def compact(self) -> Stretch:
        """The same with no other rows than those on which something happened; only its facts and counts can be had."""
        days, legs, said = self.days, self.legs, self.said
        first = days - 1 if not len(days) or days[0] > self.first else days[1:] - 1
        kept = united(said.rows, legs.row, days, first)

        def place(rows: Ints) -> Ints:
            return np.searchsorted(kept, rows)

        if said.codes is not None:
            codes, texts = said.codes, said.texts
            reasons: Callable[[int], tuple[str, ...]] = lambda i: texts[int(codes[i])]  # noqa: E731
        else:
            whole = [said.reasons(number) for number in range(len(said))]
            reasons = whole.__getitem__
        return msgspec.structs.replace(
            self,
            rows=self.rows[kept],
            first=int(place(np.array([self.first]))[0]),
            end=len(kept),
            said=msgspec.structs.replace(said, rows=place(said.rows), reasons=reasons),
            legs=msgspec.structs.replace(legs, row=place(legs.row)),
            days=place(days),
        )

    @property
    def touched(self) -> Ints:
        """Rows on which something happened, in no order, some of them twice."""
        return np.concatenate((self.said.rows, self.legs.row, self.days))

    @cached_property
    def answers(self) -> Ints:
        """Rows that the account answers to, in order."""
        return united(self.legs.row, self.days)

    @property
    def decisions(self) -> int:
        """Of bot and account."""
        return 2 * len(self.said) + len(self.answers)

    def entries(self) -> Iterator[Recorded]:
        """What stands on the tape of bot and account, in order. Not re-entrant with a changed decimal context."""
        return _Telling(self).entries()


class _Telling:
    """Goes through a stretch once more, row by row, to write down its facts."""

    def __init__(self, stretch: Stretch) -> None:
        self.of, self.seq = stretch, stretch.seq
        bot = stretch.bot
        self.names = (bot.name, bot.venue, bot.symbol)
        self.market = subjects.market(bot.venue, bot.symbol)
        self.feed = subjects.feed(bot.venue, bot.symbol)
        self.actors = (subjects.bot(bot.name), subjects.account(stretch.account.name))
        self.cash, self.position, self.cost = stretch.start.cash, stretch.start.position, stretch.start.cost
        self.orders: list[tuple[str, int, Decimal]] = []  # id, side, quantity to enter or 0 to leave
        self.sizes = stretch.legs.sizes(stretch.terms.lot)

    def entries(self) -> Iterator[Recorded]:
        of = self.of
        signals = {row: number for number, row in enumerate(of.said.rows.tolist())}
        days = frozenset(of.days.tolist())
        rows = sorted(signals.keys() | days | set(of.legs.row.tolist()))
        done = of.first
        for row in rows:
            self.seq += 2 * (row - done)
            done = row + 1
            with localcontext(EXACT):
                told = list(self._row(row, row in days, signals.get(row)))
            yield from told

    def _row(self, row: int, day: bool, signal: int | None) -> Iterator[Recorded]:
        candle = self._candle(row)
        said = observed(self.feed, candle.ts, candle)
        heard = Recorded(self.seq + 1, self.feed, said, candle.ts)
        self.seq += 2
        cause = Recorded(self.seq, self.market, derived(self.market, heard, (candle,)), candle.ts)
        of, (bot, account) = self.of, self.actors
        facts = [self._day(row, candle.ts)] if day else []
        facts += self._filled(candle)
        if facts:
            yield self._put(account, derived(account, cause, tuple(facts)))
        if signal is not None:
            own = self._put(bot, derived(bot, cause, (of.signal(signal),)))
            yield own
            yield self._put(account, derived(account, own, tuple(self._placed(signal, own))))

    def _put(self, actor: str, decision: Decision) -> Recorded:
        self.seq += 1
        return Recorded(self.seq, actor, decision, decision.ts)

    def _candle(self, row: int) -> Candle:
        rows = self.of.rows
        prices = (float(getattr(rows, name)[row]) for name in ("open", "high", "low", "close", "volume"))
        o, h, l, c, v = prices
        count = None if rows.count is None else int(rows.count[row])
        return Candle(*self.names[1:], self.of.timeframe, int(rows.ts[row]), o, h, l, c, v, count)

    def _day(self, row: int, ts: int) -> Fact:
        of = self.of
        before = float(of.rows.close[row - 1]) if row > of.first else of.before
        equity = self.cash + self.position * exact(before) if self.position else self.cash
        return TradingDayStarted(of.account.name, ts, day_of(ts), equity)

    def fills(self) -> Iterator[Fill]:
        """Without the facts around them, which are more work."""
        of = self.of
        rows, legs, done, number = of.rows, of.legs, -1, 0
        opens, times = rows.open[legs.row].tolist(), rows.ts[legs.row].tolist()
        columns = (legs.signal.tolist(), legs.exits.tolist(), legs.side.tolist(), opens, times)
        prefixes = self._prefixes()
        for signal, exits, side, at, ts in zip(*columns, strict=True):
            number = number + 1 if signal == done else 1
            done = signal
            yield self._fill(f"{prefixes[signal]}-{number}", side, ZERO if exits else self.sizes[signal], at, ts)

    def _prefixes(self) -> list[str]:
        """What the ids of the orders begin with that each signal leads to."""
        of, (_, venue, symbol) = self.of, self.names
        raw = feed_ids(self.feed, venue, symbol, of.timeframe, of.rows[of.said.rows])
        ids = halves(raw)
        for actor in (self.market, *self.actors):
            ids = ids_after(actor, ids)
        return [f"{high:016x}" for high in ids[0].tolist()]

    def _filled(self, candle: Candle) -> Iterator[Fact]:
        orders, self.orders = self.orders, []
        for order, side, size in orders:
            yield self._fill(order, side, size, candle.open, candle.ts)

    def _fill(self, order: str, side: int, size: Decimal, at: float, ts: int) -> Fill:
        of, exits = self.of, not size
        qty = size or abs(self.position)
        price = of.terms.price(exact(at), side)
        signed = side * qty
        fee, position = fee_of(qty * price, of.terms.taker), self.position + signed
        realized = -signed * price - share_of(self.cost, qty, abs(self.position)) if exits else ZERO
        average = average_of(self.cost + signed * price + realized, position)
        self.cash, self.position = self.cash - signed * price - fee, position
        self.cost += signed * price + realized
        return Fill(
            f"{order}-f1", order, of.account.name, *self.names, ts, SIDES[side], "exit" if exits else "entry",
            qty, price, fee, "taker", realized, position, average, self.cash, qty - qty,
        )  # fmt: skip

    def _placed(self, number: int, cause: Recorded) -> Iterator[Fact]:
        of, account = self.of, self.of.account.name
        ts, target = cause.decision.ts, int(of.said.targets[number])
        prefix = id_after(self.actors[1], cause.decision.id)[:16]
        if self.position:
            side, size = -1 if self.position > 0 else 1, abs(self.position)
            self.orders.append((f"{prefix}-1", side, ZERO))
            yield OrderPlaced(f"{prefix}-1", account, *self.names, ts, SIDES[side], "market", "exit", size,
                              reduce_only=True)  # fmt: skip
        if target:
            qty = self.sizes[number]
            yield RiskApproved(account, *self.names, ts, cause.decision.id, qty)
            order = f"{prefix}-{len(self.orders) + 1}"
            self.orders.append((order, target, qty))
            yield OrderPlaced(order, account, *self.names, ts, SIDES[target], "market", "entry", qty)


def united(*rows: Ints) -> Ints:
    """All of them in order, each once."""
    whole = np.concatenate(rows)
    whole.sort()
    fresh = np.ones(len(whole), np.bool_)
    np.not_equal(whole[1:], whole[:-1], out=fresh[1:])
    return whole[fresh]


def day_of(ts: int) -> str:
    """The UTC day that a bar closing at `ts` belongs to."""
    return date.fromordinal(EPOCH + (ts - 1) // timeframe.DAY).isoformat()
