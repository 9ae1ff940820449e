"""What plain trading is reckoned with: the terms of an account, where it stands, and integers for its numbers."""

from __future__ import annotations

from decimal import Decimal
from math import inf

import msgspec
import numpy as np

from actors import kernels
from events.block import Floats, Ints

from .book import AccountState, Book
from .decider import AccountDecider
from .money import ONE, ZERO, ceil_to, floor_to, units

SAFE = 1 + 1e-9  # of sums of floats: what is nearer to a limit than this is decided the long way
WIDEST = 4e18  # below 2**63
_PLACES = 12
FEE = 8


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
    if (
        not state.opened
        or state.restricted
        or state.stopping
        or any(market.orders for market in state.markets.values())
    ):
        return None
    return Start(state.cash, book.position, book.cost, side) if wanted == side else None


class Scales(msgspec.Struct, frozen=True):
    """Decimals of the integers: of prices as written, of quantities, of prices paid, and of sums of money.

    `most`: cash and cost must stay below this, and each notional below `notional`, or they do not fit 64 bits.
    """

    raw: int
    lots: int
    places: int
    digits: int
    most: float
    notional: float


class Range(msgspec.Struct, frozen=True):
    """What is to be known of prices: the decimals of their shortest texts, and the highest and lowest."""

    raw: int
    highest: float
    lowest: float


def range_of(opens: Floats, closes: Floats) -> Range | None:
    """Of the opens that are paid, with the decimals of the closes that sizes are reckoned with. None where texts are
    too long."""
    raw, other = decimals_of(opens), decimals_of(closes)
    if raw is None or other is None:
        return None
    raw = max(raw, other)
    if max(opens.max(initial=0.0), closes.max(initial=0.0)) * 10.0**raw >= 2**53:
        return None
    highest, lowest = (float(opens.max()), float(opens.min())) if len(opens) else (0.0, inf)
    return Range(raw, highest, lowest)


def scales_of(terms: Terms, start: Start, seen: Range | None) -> Scales | None:
    """None where the numbers do not fit columns. What fits a range of prices fits every part of it."""
    if seen is None or (terms.slippage and seen.lowest < float(terms.tick)):
        return None
    lots = max(decimals_in(terms.lot), decimals_in(start.position))
    places = max(seen.raw, decimals_in(terms.tick)) if terms.slippage else seen.raw
    digits = max(lots + places, FEE, decimals_in(start.cash), decimals_in(start.cost))
    most, rate = WIDEST / 4 / 10.0**digits, decimals_in(terms.taker)
    notional = min(most, WIDEST / 2 / (abs(float(terms.taker)) * 10.0 ** (lots + places + rate) or 1.0))
    price = seen.highest * (1 + float(terms.slippage)) + float(terms.tick)
    wide = price * 10.0 ** (seen.raw + decimals_in(terms.slippage) + decimals_in(terms.tick)) * 2
    if not terms.fraction and abs(float(terms.qty)) * 10.0**lots >= WIDEST:
        return None
    if wide >= WIDEST or abs(float(start.cash)) + abs(float(start.cost)) >= most:
        return None
    return Scales(seen.raw, lots, places, digits, most, notional)


def decimals_of(values: Floats) -> int | None:
    """How many decimals the shortest texts of these floats have at most, and at least one; None for too many.

    A quotient of integers below 2**53 is the float nearest to that decimal, so this compares exactly.
    """
    if not len(values):
        return 1
    if kernels.is_warm():
        return kernels.decimals(values, _PLACES) or None
    for places in range(1, _PLACES + 1):
        scaled = np.rint(values * 10.0**places)
        if not scaled.max() < 2**53:
            return None
        if (scaled / 10.0**places == values).all():
            return places
    return None


def prices(terms: Terms, scales: Scales, opens: Floats, side: Ints) -> Ints:
    """As `Terms.price`."""
    at: Ints = np.rint(opens * 10.0**scales.raw).astype(np.int64)
    part, one, widen, step, cut = slippage_of(terms, scales)
    if not step:
        return at
    up = -(-(at * (one + part) * widen) // step) * step
    down = np.maximum(at * (one - part) * widen // step * step, step)
    found: Ints = np.where(side > 0, up, down) // cut
    return found


def slippage_of(terms: Terms, scales: Scales) -> tuple[int, int, int, int, int]:
    """It is `part` of `one`; an open times these and `widen` is rounded to a `step` (0: there is none), then cut."""
    if not terms.slippage:
        return 0, 1, 1, 0, 1
    fine = decimals_in(terms.slippage)
    places = max(scales.raw + fine, scales.places)
    widen, step = 10 ** (places - scales.raw - fine), scaled(terms.tick, places)
    return scaled(terms.slippage, fine), 10**fine, widen, step, 10 ** (places - scales.places)


def exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), f"{value} is no number"
    return exponent


def decimals_in(value: Decimal) -> int:
    return max(0, -exponent(value.normalize()))


def scaled(value: Decimal, decimals: int) -> int:
    scaled = value.scaleb(decimals)
    number = int(scaled)
    assert number == scaled, f"{value} has more than {decimals} decimals"
    return number
