"""What input must be to count. What is not ends in Quarantined, with a stable reason and its original content."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns
from events.control import CUT, Quarantined
from events.decision import Recorded
from events.fact import Fact
from events.market import Candle, CandleBlock, FeedHeartbeat, FeedInterrupted, FeedOpened, Trade

from .rules import PRICE_MAX, VOLUME_MAX, Rules

RAW_MAX = 512 * 1024  # bytes of original content in one fact: twice that, in base64, still fits a message

_COLUMNS = ("open", "high", "low", "close", "volume")


def quarantined(entry: Recorded, reason: str, detail: str, raw: bytes) -> Quarantined:
    if len(raw) > RAW_MAX:
        detail += f"{CUT}{RAW_MAX} of {len(raw)} bytes, the rest stands in message {entry.decision.id}"
    return Quarantined(entry.actor, entry.decision.ts, reason, detail, raw[:RAW_MAX])


def original(fact: Fact) -> bytes:
    """JSON that keeps NaN and infinities, which the codec's JSON has no words for."""
    return json.dumps(msgspec.to_builtins(fact)).encode()


def candle_fault(rules: Rules, c: Candle) -> tuple[str, str] | None:
    """(reason, detail) of the first thing wrong with a candle, None where all is right."""
    if (
        c.low <= c.open <= c.high <= PRICE_MAX
        and 0.0 < c.low <= c.close <= c.high
        and 0.0 <= c.volume <= VOLUME_MAX
        and rules.low <= c.ts <= rules.high
        and not (c.ts - rules.origin) % rules.step
        and c.symbol == rules.symbol
        and c.venue == rules.venue
        and c.timeframe == rules.base.name
        and (c.count is None or c.count >= 0)
    ):
        return None
    return _named_fault(rules, c)


def _named_fault(rules: Rules, c: Candle) -> tuple[str, str]:
    if wrong := misplaced(rules, c):
        return wrong
    if c.timeframe != rules.base.name:
        return "timeframe", f"{c.timeframe} where {rules.base.name} is expected"
    prices = (c.open, c.high, c.low, c.close)
    if not all(map(isfinite, (*prices, c.volume))):
        return "not-finite", f"open, high, low, close, volume are {(*prices, c.volume)}"
    if min(prices) <= 0:
        return "price", f"a price of {min(prices)}"
    if c.volume < 0 or (c.count is not None and c.count < 0):
        return "volume", f"volume {c.volume}, count {c.count}"
    if max(prices) > PRICE_MAX or c.volume > VOLUME_MAX:
        return "too-large", f"prices up to {max(prices)}, volume {c.volume}"
    if not (c.low <= c.open <= c.high and c.low <= c.close <= c.high):
        return "high-low", f"open {c.open} and close {c.close} outside low {c.low} to high {c.high}"
    if not rules.low <= c.ts <= rules.high:
        return "stamp", f"{c.ts} is before {rules.low} or after {rules.high}"
    return "misaligned", f"{c.ts} is no close of a {rules.base.name} bar"


def misplaced(rules: Rules, fact: Any) -> tuple[str, str] | None:
    """Whether a fact is about another instrument."""
    if fact.venue != rules.venue or fact.symbol != rules.symbol:
        return "symbol", f"{fact.venue} {fact.symbol} where {rules.venue} {rules.symbol} is expected"
    return None


def trade_fault(rules: Rules, t: Trade) -> tuple[str, str] | None:
    if (
        0.0 < t.price <= PRICE_MAX
        and 0.0 <= t.qty <= VOLUME_MAX
        and rules.low <= t.ts <= rules.high
        and t.symbol == rules.symbol
        and t.venue == rules.venue
    ):
        return None
    if wrong := misplaced(rules, t):
        return wrong
    if not (isfinite(t.price) and isfinite(t.qty)):
        return "not-finite", f"price {t.price}, quantity {t.qty}"
    if t.price <= 0:
        return "price", f"a price of {t.price}"
    if t.qty < 0:
        return "volume", f"a quantity of {t.qty}"
    if t.price > PRICE_MAX or t.qty > VOLUME_MAX:
        return "too-large", f"price {t.price}, quantity {t.qty}"
    return "stamp", f"{t.ts} is before {rules.low} or after {rules.high}"


def stream_fault(rules: Rules, fact: FeedOpened | FeedHeartbeat | FeedInterrupted) -> tuple[str, str] | None:
    """A stream fact with a mad stamp would close or tear every bar until then."""
    if wrong := misplaced(rules, fact):
        return wrong
    ts = fact.complete_from if isinstance(fact, FeedOpened) else fact.ts
    if not rules.low <= ts <= rules.high:
        return "stamp", f"{ts} is before {rules.low} or after {rules.high}"
    return None


def block_fault(rules: Rules, block: CandleBlock) -> tuple[str, str] | None:
    if wrong := misplaced(rules, block):
        return wrong
    if block.timeframe != rules.base.name:
        return "timeframe", f"{block.timeframe} where {rules.base.name} is expected"
    return None


def row_faults(rules: Rules, rows: Columns) -> NDArray[np.str_]:
    """The reason against each row, empty where there is none."""
    ts, o, h, l, c, v = (getattr(rows, name) for name in ("ts", *_COLUMNS))
    low, high = np.minimum(np.minimum(o, c), np.minimum(h, l)), np.maximum(np.maximum(o, c), np.maximum(h, l))
    with np.errstate(invalid="ignore"):
        faults = [
            ("not-finite", ~(np.isfinite(low) & np.isfinite(high) & np.isfinite(v))),
            ("price", low <= 0),
            ("volume", v < 0),
            ("too-large", (high > PRICE_MAX) | (v > VOLUME_MAX)),
            ("high-low", (low != l) | (high != h)),
            ("stamp", (ts < rules.low) | (ts > rules.high)),
            ("misaligned", (ts - rules.origin) % rules.step != 0),
        ]
    found = np.select([mask for _, mask in faults], [name for name, _ in faults], "")
    good = np.flatnonzero(found == "")
    newest = np.maximum.accumulate(ts[good]) if good.size else ts[good]
    found[good[1:][ts[good[1:]] <= newest[:-1]]] = "unordered"
    return found
