"""The canonical bytes of the decisions that trading consists of, in 8-byte words, so that columns of them can be made.

A decision has a form here where all of its facts are of the kinds below, with numbers that fit; every other one is
hashed as JSON. Texts that repeat (names, sides, roles, reasons) enter as a hash of all of them; money as whole units
and the rest in 10**-18, whatever trailing zeros it was written with; None as a value that cannot occur.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from .decision import Decision
from .fact import Fact
from .trading import Fill, OrderPlaced, RiskApproved, Signal, TradingDayStarted

MARK = 2
"""The first byte: JSON begins with `[`, a single candle with 1."""
SIGNAL, APPROVED, PLACED, FILL, DAY = range(1, 6)
NONE = -(2**63)
UNIT = 10**18
NAN = float("nan")

HEAD = struct.Struct("<q16s16sq")
"""Mark and number of facts (times 256), actor, id of the cause, time."""
_SIGNAL = struct.Struct("<q16sq8d")
_APPROVED = struct.Struct("<q16sq16s2q")
_PLACED = struct.Struct("<q16s8s2q2qq")
_FILL = struct.Struct("<q16s8s3q16q")
_DAY = struct.Struct("<q16sq2q")

_WIDE = Context(prec=200, traps=[InvalidOperation, Overflow, Inexact])


class NoWords(ValueError):
    """This decision is hashed as JSON."""


def decision_words(actor: str, decision: Decision) -> bytes | None:
    """None where the decision has no such form."""
    facts = decision.facts
    try:
        parts = [
            HEAD.pack(MARK + 256 * len(facts), text_hash(actor), _id(decision.by), decision.ts),
            *(_FORMS[type(fact)](fact) for fact in facts),
        ]
    except (KeyError, ValueError, OverflowError, struct.error, DecimalException):
        return None
    return b"".join(parts)


@lru_cache(maxsize=65_536)
def text_hash(*texts: Any) -> bytes:
    """16 bytes of BLAKE2b over the texts as JSON."""
    return blake2b(msgspec.json.encode(texts), digest_size=16).digest()


def money(value: Decimal | None) -> tuple[int, int]:
    """(whole units, rounded down; the rest in 10**-18)."""
    if value is None:
        return NONE, 0
    scaled = value.scaleb(18, _WIDE)
    number = int(scaled)
    if number != scaled:
        raise NoWords(f"{value} has more than 18 decimals")
    return divmod(number, UNIT)


def _id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16 or found.hex() != text:
        raise NoWords(f"{text!r} is no id of 32 hex digits")
    return found


def _order(text: str) -> tuple[bytes, int]:
    """The parts of an order's id: 16 hex digits, and a number after a dash."""
    prefix, _, number = text.partition("-")
    try:
        found, count = bytes.fromhex(prefix), int(number)
    except ValueError:
        raise NoWords(f"{text!r} is no order id of an account") from None
    if len(found) != 8 or f"{found.hex()}-{count}" != text:
        raise NoWords(f"{text!r} is no order id of an account")
    return found, count


def _level(value: float | None) -> float:
    if value is None:
        return NAN
    if value != value:
        raise NoWords("NaN stands for None")
    return value


def _signal(fact: Signal) -> bytes:
    text = text_hash(fact.bot, fact.venue, fact.symbol, fact.order, fact.reasons)
    levels = map(_level, (fact.limit, fact.trigger, fact.stop, fact.take_profit, fact.trail))
    return _SIGNAL.pack(SIGNAL, text, fact.ts, fact.target, fact.price, *levels, fact.confidence)


def _approved(fact: RiskApproved) -> bytes:
    text = text_hash(fact.account, fact.bot, fact.venue, fact.symbol)
    return _APPROVED.pack(APPROVED, text, fact.ts, _id(fact.signal), *money(fact.qty))


def _placed(fact: OrderPlaced) -> bytes:
    if fact.limit is not None or fact.trigger is not None or fact.trail is not None or fact.parent:
        raise NoWords("only orders without levels are worth a form of their own")
    text = text_hash(fact.account, fact.bot, fact.venue, fact.symbol, fact.side, fact.kind, fact.role)
    return _PLACED.pack(PLACED, text, *_order(fact.order), fact.ts, *money(fact.qty), fact.reduce_only)


def _fill(f: Fill) -> bytes:
    name, _, number = f.fill.rpartition("-f")
    if name != f.order or not number.isdecimal() or str(int(number)) != number:
        raise NoWords(f"{f.fill!r} is no fill id of an account")
    text = text_hash(f.account, f.bot, f.venue, f.symbol, f.side, f.role, f.liquidity)
    sums = (f.qty, f.price, f.fee, f.realized, f.position, f.average, f.cash, f.leaves)
    pairs = [word for one in sums for word in money(one)]
    return _FILL.pack(FILL, text, *_order(f.order), int(number), f.ts, *pairs)


def _day(fact: TradingDayStarted) -> bytes:
    return _DAY.pack(DAY, text_hash(fact.account, fact.day), fact.ts, *money(fact.equity))


_FORMS: dict[type[Fact], Callable[[Any], bytes]] = {
    Signal: _signal,
    RiskApproved: _approved,
    OrderPlaced: _placed,
    Fill: _fill,
    TradingDayStarted: _day,
}
