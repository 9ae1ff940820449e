"""Sizes of plain trading that depend on the equity, and so on all trades before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from events.block import Columns, Ints

from .terms import FEE, WIDEST, Scales, Start, Terms, decimals_in, prices, scaled


def sizes_of(terms: Terms, start: Start, scales: Scales, rows: Columns, signals: Ints, targets: Ints) -> Ints:
    """(2 x signals,): what leaves and what enters at each, as `Legs.qty` has it; 0 from where on nothing can be bought.

    One signal after the other, in integers.
    """
    digits, count, fine = scales.digits, len(signals), scales.raw
    marks = np.rint(rows.close[signals] * 10.0**fine).astype(np.int64).tolist()
    buys, sells = (prices(terms, scales, rows.open[signals + 1], np.full(count, side)).tolist() for side in (1, -1))
    parts = decimals_in(terms.fraction)
    part, lot = scaled(terms.fraction, parts), scaled(terms.lot, scales.lots)
    cash, held = scaled(start.cash, digits), scaled(start.position, scales.lots)
    value, widen = 10 ** (digits - scales.lots - fine), 10 ** (digits - scales.lots - scales.places)
    unit, fees = 10**parts * value * lot, _fee(terms, scales)
    found = np.zeros(2 * count, np.int64)
    for place, target in enumerate(targets.tolist()):
        wanted = 0
        if target:
            equity = cash + held * marks[place] * value
            wanted = part * equity // (marks[place] * unit) * lot if equity > 0 else 0
        if held:
            out = -1 if held > 0 else 1
            paid = abs(held) * (buys if out > 0 else sells)[place]
            cash -= out * paid * widen + fees(paid)
            found[2 * place], held = abs(held), 0
        if target:
            if not 0 < wanted < WIDEST:
                break
            paid = wanted * (buys if target > 0 else sells)[place]
            cash -= target * paid * widen + fees(paid)
            found[2 * place + 1], held = wanted, target * wanted
    return found


def _fee(terms: Terms, scales: Scales) -> Callable[[int], int]:
    """From a notional to its fee with the decimals of cash: rounded to FEE decimals, half to even."""
    places = decimals_in(terms.taker)
    number, spare = scaled(terms.taker, places), scales.lots + scales.places + places - FEE
    unit, more, widen = (int(10**one) for one in (max(0, spare), max(0, -spare), scales.digits - FEE))

    def fee(notional: int) -> int:
        if spare <= 0:
            return notional * number * more * widen
        whole, rest = divmod(notional * number, unit)
        return (whole + int(2 * rest > unit or (2 * rest == unit and whole % 2 == 1))) * widen

    return fee
