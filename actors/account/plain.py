"""Plain trading in columns: one bot alone on its account, a fixed quantity, market orders, nothing that bounds them.

Every signal is then approved, and filled whole at the open of the next bar, so cash and positions are sums over
columns. What might not be so (an exposure near the equity, a bar with little volume) is left to the decider. Numbers
are integers of as many decimals as they need: nothing is rounded but fees, which are rounded as the decider does.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns, Floats, Ints

from .book import AccountState, Book
from .decider import AccountDecider
from .money import ONE, ZERO, ceil_to, exact, floor_to, units

SAFE = 1 + 1e-9  # of sums of floats: what is nearer to a limit than this is decided the long way
_WIDEST = 4e18  # below 2**63
_PLACES = 12
_FEE = 8


class Terms(msgspec.Struct, frozen=True):
    """`qty` of a full signal, or `fraction` of the equity that one buys, where that is not 0; `taker` and `slippage` as
    in the plan; `tick`, `lot` and `notional_min` of the symbol."""

    qty: Decimal
    fraction: Decimal
    taker: Decimal
    slippage: Decimal
    participation: Decimal | None
    tick: Decimal
    lot: Decimal
    notional_min: Decimal

    def price(self, at: Decimal, side: int) -> Decimal:
        """What a market order gets where the bar opens at `at`."""
        if not self.slippage:
            return at
        if side > 0:
            return ceil_to(at * (ONE + self.slippage), self.tick)
        return max(floor_to(at * (ONE - self.slippage), self.tick), min(self.tick, at))

    def size(self, equity: Decimal, price: Decimal) -> Decimal:
        """Units of a full signal."""
        return units(self.fraction * ONE * equity, price, self.lot) if self.fraction else self.qty


def terms_of(decider: AccountDecider, *, fractions: bool = True) -> Terms | None:
    """None where the account's trading is not plain. `fractions`: whether sizes may depend on the equity."""
    rules = decider.rules
    plan, limits = rules.plan, rules.plan.limits
    bounds = (limits.daily_loss, limits.position_fraction, limits.symbol_fraction, limits.cooldown)
    if len(rules.bots) != 1 or any(one is not None for one in (*bounds, limits.reward_to_risk)):
        return None
    if limits.positions is not None and limits.positions < 1:
        return None
    bot = next(iter(rules.bots.values()))
    symbol = rules.symbols[rules.keys[bot.name]]
    fills, method, value = plan.fills, bot.sizing.method, bot.sizing.value
    qty = floor_to(value, symbol.lot) if method == "quantity" else ZERO
    fraction = value if method == "fraction" and fractions else ZERO
    if qty <= 0 and fraction <= 0:
        return None
    return Terms(
        qty, fraction, plan.fees.taker, fills.slippage, fills.participation, symbol.tick, symbol.lot,
        symbol.notional_min,
    )  # fmt: skip


class Start(msgspec.Struct, frozen=True):
    """An account before a stretch: `side` is the sign of its position."""

    cash: Decimal
    position: Decimal
    cost: Decimal
    side: int


def start_of(state: AccountState, book: Book, wanted: float) -> Start | None:
    """None where the account is at something: an order works, or its position is not what was wanted last."""
    side = (book.position > 0) - (book.position < 0)
    if not state.opened or state.restricted or any(market.orders for market in state.markets.values()):
        return None
    return Start(state.cash, book.position, book.cost, side) if wanted == side else None


class Scales(msgspec.Struct, frozen=True):
    """Decimals of the integers: of opens as written, of quantities, of prices paid, and of sums of money."""

    raw: int
    lots: int
    places: int
    digits: int

    @property
    def most(self) -> float:
        """Cash and cost must stay below this."""
        return _WIDEST / 4 / 10.0**self.digits


class Range(msgspec.Struct, frozen=True):
    """What is to be known of prices: the decimals of the shortest texts of opens, and their highest and lowest."""

    raw: int
    highest: float
    lowest: float


def range_of(opens: Floats) -> Range | None:
    """None where their texts are too long."""
    raw = decimals_of(opens)
    if raw is None:
        return None
    return Range(raw, float(opens.max()), float(opens.min())) if len(opens) else Range(raw, 0.0, 1e300)


def scales_of(terms: Terms, start: Start, opens: Floats | Range, qty: float | None = None) -> Scales | None:
    """None where the numbers do not fit columns. `qty`: the largest there is, where it is not that of the terms."""
    seen = opens if isinstance(opens, Range) else range_of(opens)
    if seen is None or (terms.slippage and seen.lowest < float(terms.tick)):
        return None
    lots = max(_decimals(terms.lot), _decimals(start.position))
    places = max(seen.raw, _decimals(terms.tick)) if terms.slippage else seen.raw
    found = Scales(seen.raw, lots, places, max(lots + places, _FEE, _decimals(start.cash), _decimals(start.cost)))
    most = max(float(terms.qty) if qty is None else qty, abs(float(start.position)))
    price = seen.highest * (1 + float(terms.slippage)) + float(terms.tick)
    fine = lots + places + _decimals(terms.taker)
    wide = (
        (abs(float(start.cash)) + abs(float(start.cost)) + most * price) * 4 * 10.0**found.digits,
        most * price * abs(float(terms.taker)) * 10.0**fine * 2,
        price * 10.0 ** (seen.raw + _decimals(terms.slippage) + _decimals(terms.tick)) * 2,
    )
    return found if max(wide) < _WIDEST else None


class Legs(msgspec.Struct, frozen=True):
    """Executions as columns. `signal`: the index of what caused it; `row` of its bar; `side` 1 buys, -1 sells.

    `qty` and `position` have `scales.lots` decimals, `price` and `average` `scales.places`, `fee` 8, `realized` and
    `cash` `scales.digits`.
    """

    scales: Scales
    signal: Ints
    exits: NDArray[np.bool_]
    row: Ints
    side: Ints
    qty: Ints
    price: Ints
    fee: Ints
    realized: Ints
    position: Ints
    average: Ints
    cash: Ints

    def __len__(self) -> int:
        return len(self.row)

    def sizes(self, lot: Decimal) -> dict[int, Decimal]:
        """What each signal entered, written as the account writes it."""
        step = _scaled(lot, self.scales.lots)
        entries = zip(self.signal[~self.exits].tolist(), self.qty[~self.exits].tolist(), strict=True)
        return {signal: qty // step * lot for signal, qty in entries}

    def of(self, signals: int) -> Legs:
        """Those of the first so many signals."""
        end = int(np.searchsorted(self.signal, signals))
        return Legs(self.scales, *(getattr(self, name)[:end] for name in self.__struct_fields__[1:]))


def legs_of(terms: Terms, start: Start, rows: Columns, signals: Ints, targets: Ints) -> tuple[Legs, int] | None:
    """(the executions, how many of the signals certainly come to that); None where the numbers do not fit columns.

    `signals`: rows on which a target (-1, 0, 1) was said, each other than the one before; row + 1 is a row, too.
    """
    count = len(signals)
    sides = np.concatenate(([start.side], targets[:-1])) if count else targets
    some = np.empty(2 * count, np.bool_)
    some[::2], some[1::2] = sides != 0, targets != 0
    signal = np.repeat(np.arange(count), 2)[some]
    exits = np.tile(np.array([True, False]), count)[some]
    row = signals[signal] + 1
    side = np.where(exits, -sides[signal], targets[signal])
    opens = rows.open[row]
    scales = scales_of(terms, start, opens)
    if scales is None:
        return None
    known = (signal, exits, row, side)
    if terms.fraction:
        sized = _Sizes(terms, start, scales).of(rows, signals, targets)
        if sized is None or (scales_of(terms, start, opens, float(sized.max(initial=0)) / 10**scales.lots)) is None:
            return None
        qty = sized[some]
    else:
        qty = np.full(len(row), _scaled(terms.qty, scales.lots))
        if start.side and len(row):
            qty[0] = _scaled(abs(start.position), scales.lots)
    legs = _legs(terms, start, scales, known, opens, qty)
    return legs, _certain(terms, start, legs, rows, signals)


class _Sizes:
    """Quantities that depend on the equity, and so on all trades before: one signal after the other, in integers."""

    def __init__(self, terms: Terms, start: Start, scales: Scales) -> None:
        self.terms, self.start, self.scales = terms, start, scales

    def of(self, rows: Columns, signals: Ints, targets: Ints) -> Ints | None:
        """(2 x signals,): what leaves and what enters at each, in lots as `Legs.qty` has them; None where closes do
        not fit. From where on money runs out it is all 0."""
        terms, scales = self.terms, self.scales
        closes, count = rows.close[signals], len(signals)
        fine = decimals_of(closes)
        if fine is None:
            return None
        digits, opens = scales.digits, rows.open[signals + 1]
        marks = np.rint(closes * 10.0**fine).astype(np.int64).tolist()
        buys, sells = (_prices(terms, scales, opens, np.full(count, side)).tolist() for side in (1, -1))
        part, parts = _scaled(terms.fraction, _decimals(terms.fraction)), _decimals(terms.fraction)
        lot = _scaled(terms.lot, scales.lots)
        cash, held = _scaled(self.start.cash, digits), _scaled(self.start.position, scales.lots)
        widen = 10 ** (digits - scales.lots - scales.places)
        value = 10 ** (digits - scales.lots - fine) if digits >= scales.lots + fine else 0
        if not value:
            return None
        unit = 10**parts * 10 ** (digits - scales.lots - fine)  # of a lot's price
        found = np.zeros(2 * count, np.int64)
        fees = self._fee()
        for place, target in enumerate(targets.tolist()):
            wanted = 0
            if target:
                equity = cash + held * marks[place] * value
                wanted = part * equity // (marks[place] * lot * unit) * lot if equity > 0 else 0
                wanted = wanted if wanted < _WIDEST else 0
            if held:
                side = -1 if held > 0 else 1
                paid = abs(held) * (buys if side > 0 else sells)[place]
                cash -= side * paid * widen + fees(paid)
                found[2 * place], held = abs(held), 0
            if target:
                paid = wanted * (buys if target > 0 else sells)[place]
                cash -= target * paid * widen + fees(paid)
                found[2 * place + 1], held = wanted, target * wanted
                if not wanted:
                    break
        return found

    def _fee(self) -> Callable[[int], int]:
        """As `_fees`, with the decimals of cash."""
        scales, rate = self.scales, self.terms.taker
        decimals = _decimals(rate)
        number, spare = _scaled(rate, decimals), scales.lots + scales.places + decimals - _FEE
        unit, more, widen = (int(10**places) for places in (max(0, spare), max(0, -spare), scales.digits - _FEE))

        def fee(notional: int) -> int:
            if spare <= 0:
                return notional * number * more * widen
            whole, rest = divmod(notional * number, unit)
            return (whole + int(2 * rest > unit or (2 * rest == unit and whole % 2 == 1))) * widen

        return fee


def _legs(
    terms: Terms, start: Start, scales: Scales, known: tuple[Ints, NDArray[np.bool_], Ints, Ints], opens: Floats,
    qty: Ints,
) -> Legs:  # fmt: skip
    _, exits, row, side = known
    price = _prices(terms, scales, opens, side)
    notional = qty * price * 10 ** (scales.digits - scales.lots - scales.places)
    fee = _fees(terms.taker, scales, qty * price)
    signed = side * notional
    cost = np.where(exits, 0, signed)
    held = np.concatenate(([_scaled(start.cost, scales.digits)], cost[:-1])) if len(row) else cost
    realized = np.where(exits, -signed - held, 0)  # entries and exits take turns
    cash = _scaled(start.cash, scales.digits) + np.cumsum(-signed - fee * 10 ** (scales.digits - _FEE))
    position, average = np.where(exits, 0, side * qty), np.where(exits, 0, price)
    return Legs(scales, *known, qty, price, fee, realized, position, average, cash)


def _prices(terms: Terms, scales: Scales, opens: Floats, side: Ints) -> Ints:
    """As `Terms.price`."""
    at: Ints = np.rint(opens * 10.0**scales.raw).astype(np.int64)
    if not terms.slippage:
        return at
    fine = _decimals(terms.slippage)
    part, one = _scaled(terms.slippage, fine), 10**fine
    places = max(scales.raw + fine, scales.places)
    widen, step = 10 ** (places - scales.raw - fine), _scaled(terms.tick, places)
    up = -(-(at * (one + part) * widen) // step) * step
    down = np.maximum(at * (one - part) * widen // step * step, step)
    found: Ints = np.where(side > 0, up, down) // 10 ** (places - scales.places)
    return found


def _fees(rate: Decimal, scales: Scales, notional: Ints) -> Ints:
    """In QUANTUM, half to even."""
    decimals = _decimals(rate)
    product = notional * _scaled(rate, decimals)
    spare = scales.lots + scales.places + decimals - _FEE
    if spare <= 0:
        return product * int(10**-spare)
    unit = 10**spare
    whole, rest = np.divmod(product, unit)
    up = (2 * rest > unit) | ((2 * rest == unit) & (whole % 2 == 1))
    found: Ints = whole + up.astype(np.int64)
    return found


def _certain(terms: Terms, start: Start, legs: Legs, rows: Columns, signals: Ints) -> int:
    """How many signals, from the first on, certainly meet no limit."""
    if not len(legs):
        return len(signals)
    scales = legs.scales
    money = legs.cash / 10.0**scales.digits
    before = np.concatenate(([float(start.cash)], money[:-1]))
    first = np.concatenate(([True], legs.signal[1:] != legs.signal[:-1]))
    # An entry that follows an exit of the same signal turns the position round: it is approved with what was held.
    whole = np.where(first, before, np.concatenate(([0.0], before[:-1])))
    qty = legs.qty / 10.0**scales.lots
    left = np.concatenate(([0.0], (-legs.side * qty)[:-1]))  # what the leg before has closed
    held = np.where(first, 0.0, left)
    close = rows.close[signals[legs.signal]]
    need = (qty + float(terms.lot)) * (legs.price / 10.0**scales.places) * (1 + max(float(terms.taker), 0.0))
    fine = (need * SAFE + 1e-6 <= before) & (qty * close * SAFE + 1e-6 <= whole + held * close)
    fine &= (qty * close >= float(terms.notional_min) * SAFE) & (legs.qty > 0)
    fine |= legs.exits
    fine &= np.abs(money) < scales.most
    if terms.participation is not None:
        taken = np.where(first, qty, qty + np.concatenate(([0.0], qty[:-1])))
        fine &= taken * SAFE <= rows.volume[legs.row] * float(terms.participation) - float(terms.lot)
    return len(signals) if fine.all() else int(legs.signal[int(fine.argmin())])


def decimals_of(values: Floats) -> int | None:
    """How many decimals the shortest texts of these floats have at most, and at least one; None for too many.

    A quotient of integers below 2**53 is the float nearest to that decimal, so this compares exactly.
    """
    if not len(values):
        return 1
    for places in range(1, _PLACES + 1):
        scaled = np.rint(values * 10.0**places)
        if not scaled.max() < 2**53:
            return None
        if (scaled / 10.0**places == values).all():
            return places
    return None


def money_after(terms: Terms, start: Start, legs: Legs, opens: Floats) -> Start:
    """The account after these executions, its numbers written with the decimals that the decider leaves.

    `opens` of their bars.
    """
    if not len(legs):
        return start
    raw = decimals_of(opens)
    assert raw is not None, "their prices have been integers before"
    places = _exponent(terms.tick) if terms.slippage else -raw
    product = _exponent(terms.lot) + places
    if start.side:
        own = places if terms.slippage else _exponent(exact(float(opens[0])))
        product = min(product, _exponent(start.position) + own)
    cash = _written(int(legs.cash[-1]), legs.scales.digits, min(_exponent(start.cash), product, -_FEE))
    position = _written(int(legs.position[-1]), legs.scales.lots, min(_exponent(start.position), _exponent(terms.lot)))
    paid = 0 if legs.exits[-1] else int(legs.side[-1]) * int(legs.qty[-1]) * int(legs.price[-1])
    cost = _written(paid, legs.scales.lots + legs.scales.places, min(_exponent(start.cost), product))
    return Start(cash, position, cost, (position > 0) - (position < 0))


def trip_after(legs: Legs) -> Decimal:
    """What the open round trip has come to so far."""
    return ZERO if legs.exits[-1] else _written(-int(legs.fee[-1]), _FEE, -_FEE)


def _written(number: int, decimals: int, exponent: int) -> Decimal:
    value = Decimal(number).scaleb(-decimals)
    return value.quantize(Decimal(1).scaleb(exponent))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), f"{value} is no number"
    return exponent


def _decimals(value: Decimal) -> int:
    return max(0, -_exponent(value.normalize()))


def _scaled(value: Decimal, decimals: int) -> int:
    scaled = value.scaleb(decimals)
    number = int(scaled)
    assert number == scaled, f"{value} has more than {decimals} decimals"
    return number
