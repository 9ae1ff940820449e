"""Round trips: from flat to flat, put together from fills."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, localcontext

import msgspec

from actors.account.money import EXACT, ZERO
from events.trading import Fill

_QUOTIENT = Context(prec=28)


class Trip(msgspec.Struct, frozen=True, gc=False):
    """One position from its first fill until it was flat again, or until the end of the data.

    `side` long or short. `opened` and `closed` in µs (`closed` None: still open). `qty`: what was entered in all.
    `entry` and `exit` are average prices, `exit` 0 where nothing was sold. `fees` are positive when paid; `pnl` is
    after fees; `gain` is `pnl` as a fraction of what the entries cost. `reason`: the role of the last fill.
    """

    account: str
    bot: str
    venue: str
    symbol: str
    side: str
    opened: int
    closed: int | None
    qty: Decimal
    entry: Decimal
    exit: Decimal
    fees: Decimal
    pnl: Decimal
    gain: float
    entries: int
    exits: int
    reason: str


class _Part(msgspec.Struct):
    """A trip in the making; `paid` and `got` are notionals of its entries and exits."""

    first: Fill
    sign: int
    position: Decimal = ZERO
    entered: Decimal = ZERO
    left: Decimal = ZERO
    paid: Decimal = ZERO
    got: Decimal = ZERO
    fees: Decimal = ZERO
    entries: int = 0
    exits: int = 0


def trips(fills: Iterable[Fill]) -> tuple[list[Trip], list[Trip]]:
    """(closed, open) round trips by bot and symbol, in the order of their ends.

    Positions are added up from the fills themselves. One fill that crosses zero ends a trip and begins the next; its
    fee is shared by quantity. The `pnl` of an open trip counts only what was closed of it.
    """
    parts: dict[tuple[str, str, str, str], _Part] = {}
    closed: list[Trip] = []
    with localcontext(EXACT):
        for fill in fills:
            key = (fill.account, fill.bot, fill.venue, fill.symbol)
            part = parts.get(key) or _Part(fill, 1 if fill.side == "buy" else -1)
            parts[key] = part
            rest = _add(part, fill, fill.qty, fill.fee)
            if part.position:
                continue
            closed.append(_trip(part, fill, fill.ts))
            del parts[key]
            if rest:
                twin = parts[key] = _Part(fill, -part.sign)
                _add(twin, fill, rest, fill.fee - _share(fill.fee, fill.qty - rest, fill.qty))
        left = [_trip(part, part.first, None) for part in parts.values()]
    return closed, left


def _add(part: _Part, fill: Fill, qty: Decimal, fee: Decimal) -> Decimal:
    """Books a fill and returns the quantity that goes beyond flat."""
    if (fill.side == "buy") == (part.sign > 0):
        part.position += qty
        part.entered += qty
        part.paid += qty * fill.price
        part.entries += 1
        part.fees += fee
        return ZERO
    used = min(qty, part.position)
    part.position -= used
    part.left += used
    part.got += used * fill.price
    part.exits += 1
    part.fees += _share(fee, used, qty)
    return qty - used


def _share(fee: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return fee if part == whole else _QUOTIENT.divide(fee * part, whole)


def _trip(part: _Part, last: Fill, closed: int | None) -> Trip:
    fill, entry = part.first, _QUOTIENT.divide(part.paid, part.entered)
    exit_price = _QUOTIENT.divide(part.got, part.left) if part.left else ZERO
    cost = part.paid if closed is not None else entry * part.left
    pnl = (part.got - cost) * part.sign - part.fees
    gain = float(pnl) / float(part.paid)
    return Trip(
        fill.account,
        fill.bot,
        fill.venue,
        fill.symbol,
        "long" if part.sign > 0 else "short",
        fill.ts,
        closed,
        part.entered,
        entry,
        exit_price,
        part.fees,
        pnl,
        gain,
        part.entries,
        part.exits,
        last.role,
    )
