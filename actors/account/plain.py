"""Plain trading in columns: one bot alone on its account, a fixed quantity, market orders, nothing that bounds them.

Every signal is then approved, and filled whole at the open of the next bar, so cash and positions are sums over
columns. What might not be so (an exposure near the equity, a bar with little volume) is left to the decider. Numbers
are integers of as many decimals as they need: nothing is rounded but fees, which are rounded as the decider does.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors import kernels
from events.block import Columns, Floats, Ints

from .money import ZERO, exact
from .sizes import sizes_of
from .terms import FEE, SAFE, Scales, Start, Terms, decimals_in, decimals_of, exponent, prices, scaled, slippage_of


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
        step = scaled(lot, self.scales.lots)
        entries = zip(self.signal[~self.exits].tolist(), self.qty[~self.exits].tolist(), strict=True)
        return {signal: qty // step * lot for signal, qty in entries}

    def of(self, signals: int) -> Legs:
        """Those of the first so many signals."""
        end = int(np.searchsorted(self.signal, signals))
        return Legs(self.scales, *(getattr(self, name)[:end] for name in self.__struct_fields__[1:]))


def legs_of(
    terms: Terms, start: Start, scales: Scales, rows: Columns, signals: Ints, targets: Ints
) -> tuple[Legs, int]:
    """(the executions, how many of the signals certainly come to that).

    `scales`: of prices among which are these. `signals`: rows on which a target (-1, 0, 1) was said, each other than
    the one before; row + 1 is a row, too.
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
    known = (signal, exits, row, side)
    if terms.fraction:
        qty = sizes_of(terms, start, scales, rows, signals, targets)[some]
    else:
        qty = np.full(len(row), scaled(terms.qty, scales.lots))
        if start.side and len(row):
            qty[0] = scaled(abs(start.position), scales.lots)
    legs = _legs(terms, start, scales, known, opens, qty)
    return legs, _certain(terms, start, legs, rows, signals)


def _legs(
    terms: Terms, start: Start, scales: Scales, known: tuple[Ints, NDArray[np.bool_], Ints, Ints], opens: Floats,
    qty: Ints,
) -> Legs:  # fmt: skip
    _, exits, row, side = known
    if kernels.is_warm():
        return Legs(scales, *known, qty, *kernels.legs(opens, side, exits, qty, _numbers(terms, start, scales)))
    price = prices(terms, scales, opens, side)
    notional = qty * price * 10 ** (scales.digits - scales.lots - scales.places)
    fee = _fees(terms.taker, scales, qty * price)
    signed = side * notional
    cost = np.where(exits, 0, signed)
    held = np.concatenate(([scaled(start.cost, scales.digits)], cost[:-1])) if len(row) else cost
    realized = np.where(exits, -signed - held, 0)  # entries and exits take turns
    cash = scaled(start.cash, scales.digits) + np.cumsum(-signed - fee * 10 ** (scales.digits - FEE))
    position, average = np.where(exits, 0, side * qty), np.where(exits, 0, price)
    return Legs(scales, *known, qty, price, fee, realized, position, average, cash)


def _numbers(terms: Terms, start: Start, scales: Scales) -> tuple[int, ...]:
    """For `kernels.legs`."""
    rate = decimals_in(terms.taker)
    spare = scales.lots + scales.places + rate - FEE
    fees = (scaled(terms.taker, rate), 10 ** max(0, -spare), 10**spare if spare > 0 else 0, 10 ** (scales.digits - FEE))
    before = (scaled(start.cash, scales.digits), scaled(start.cost, scales.digits))
    notional = 10 ** (scales.digits - scales.lots - scales.places)
    return 10**scales.raw, *slippage_of(terms, scales), notional, *fees, *before


def _fees(rate: Decimal, scales: Scales, notional: Ints) -> Ints:
    """In QUANTUM, half to even."""
    decimals = decimals_in(rate)
    product = notional * scaled(rate, decimals)
    spare = scales.lots + scales.places + decimals - FEE
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
    if _far(terms, start, legs, rows, signals):
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
    fine &= (np.abs(money) < scales.most) & (qty * (legs.price / 10.0**scales.places) < scales.notional)
    if terms.participation is not None:
        taken = np.where(first, qty, qty + np.concatenate(([0.0], qty[:-1])))
        fine &= taken * SAFE <= rows.volume[legs.row] * float(terms.participation) - float(terms.lot)
    return len(signals) if fine.all() else int(legs.signal[int(fine.argmin())])


def _far(terms: Terms, start: Start, legs: Legs, rows: Columns, signals: Ints) -> bool:
    """Whether what is held long, and nothing else is, never comes near a limit, even if all extremes met."""
    if terms.participation is not None or start.side < 0 or (legs.side > 0).sum() != len(legs) - legs.exits.sum():
        return False
    scales, closes = legs.scales, rows.close[signals]
    units, highest = 10.0**scales.digits, float(legs.price.max()) / 10.0**scales.places
    least, most = float(legs.qty.min()) / 10.0**scales.lots, float(legs.qty.max()) / 10.0**scales.lots
    low, high = min(float(start.cash), float(legs.cash.min()) / units), float(legs.cash.max()) / units
    # No entry finds less cash than the least of all, and none turns a position round.
    need = (most + float(terms.lot)) * max(highest, float(closes.max())) * (1 + max(float(terms.taker), 0.0))
    fine = low > 0 and need * SAFE + 1e-6 <= low and least > 0
    fine = fine and least * float(closes.min()) >= float(terms.notional_min) * SAFE
    return fine and high < scales.most and most * highest < scales.notional


def money_after(terms: Terms, start: Start, legs: Legs, opens: Floats) -> Start:
    """The account after these executions, its numbers written with the decimals that the decider leaves.

    `opens` of their bars.
    """
    if not len(legs):
        return start
    raw = decimals_of(opens)
    assert raw is not None, "their prices have been integers before"
    places = exponent(terms.tick) if terms.slippage else -raw
    product = exponent(terms.lot) + places
    if start.side:
        own = places if terms.slippage else exponent(exact(float(opens[0])))
        product = min(product, exponent(start.position) + own)
    cash = _written(int(legs.cash[-1]), legs.scales.digits, min(exponent(start.cash), product, -FEE))
    position = _written(int(legs.position[-1]), legs.scales.lots, min(exponent(start.position), exponent(terms.lot)))
    paid = 0 if legs.exits[-1] else int(legs.side[-1]) * int(legs.qty[-1]) * int(legs.price[-1])
    cost = _written(paid, legs.scales.lots + legs.scales.places, min(exponent(start.cost), product))
    return Start(cash, position, cost, (position > 0) - (position < 0))


def trip_after(legs: Legs) -> Decimal:
    """What the open round trip has come to so far."""
    return ZERO if legs.exits[-1] else _written(-int(legs.fee[-1]), FEE, -FEE)


def _written(number: int, decimals: int, exponent: int) -> Decimal:
    value = Decimal(number).scaleb(-decimals)
    return value.quantize(Decimal(1).scaleb(exponent))
