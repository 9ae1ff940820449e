"""What input must be to count. What is not ends in Quarantined, with a stable reason and its original content."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns
from events.codec import legible
from events.control import CUT, Quarantined
from events.decision import Recorded
from events.fact import Fact
from events.market import Book, Candle, CandleBlock, FeedHeartbeat, FeedInterrupted, FeedOpened, Quote, Trade

from .rules import FACTS_MAX, ID_MAX, PRICE_MAX, PRICE_MIN, ROWS_MAX, TEXT_MAX, VOLUME_MAX, Rules

RAW_MAX = 512 * 1024  # bytes of original content in one fact: twice that, in base64, still fits a message

_json = json.JSONEncoder(ensure_ascii=False).encode
_COLUMNS = ("open", "high", "low", "close", "volume")


def quarantined(entry: Recorded, reason: str, detail: str, raw: bytes) -> Quarantined:
    detail = legible(detail)
    if len(raw) > RAW_MAX:
        detail += f"{CUT}{RAW_MAX} of {len(raw)} bytes, the rest stands in message {entry.decision.id}"
    return Quarantined(entry.actor, entry.decision.ts, reason, detail, raw[:RAW_MAX])


def original(*facts: Fact) -> bytes:
    """JSON that keeps NaN and infinities, which the codec's JSON has no words for; a list where it is not one fact."""
    found = [msgspec.to_builtins(fact) for fact in facts]
    return _json(found[0] if len(found) == 1 else found).encode()


def crowded(entry: Recorded) -> str:
    """What a message has too much of to be answered in one; empty for nearly all messages."""
    facts = entry.decision.facts
    if len(facts) == 1:
        rows = facts[0].rows if isinstance(facts[0], CandleBlock) else 0
        return f"{rows} rows of history, more than {ROWS_MAX}" if rows > ROWS_MAX else ""
    if len(facts) > FACTS_MAX:
        return f"{len(facts)} facts, more than {FACTS_MAX}"
    rows = text = 0
    for fact in facts:
        if isinstance(fact, Candle):
            text += len(fact.venue) + len(fact.symbol) + len(fact.timeframe)
        elif isinstance(fact, CandleBlock):
            rows += fact.rows
        elif isinstance(fact, Trade):
            text += len(fact.venue) + len(fact.symbol) + len(fact.side) + len(fact.id)
        elif not isinstance(fact, Quote | Book):
            values = (getattr(fact, name) for name in fact.__struct_fields__)
            text += sum(len(value) for value in values if isinstance(value, str | bytes))
    if rows > ROWS_MAX:
        return f"{rows} rows of history, more than {ROWS_MAX}"
    return f"names and ids of {text} characters, more than {TEXT_MAX}" if text > TEXT_MAX else ""


def candle_fault(rules: Rules, c: Candle, latest: int) -> tuple[str, str] | None:
    """(reason, detail) of the first thing wrong with a candle, None where all is right. `latest`: `rules.latest`."""
    if (
        c.low <= c.open <= c.high <= PRICE_MAX
        and PRICE_MIN <= c.low <= c.close <= c.high
        and 0.0 <= c.volume <= VOLUME_MAX
        and rules.low <= c.ts <= latest
        and not (c.ts - rules.origin) % rules.step
        and c.symbol == rules.symbol
        and c.venue == rules.venue
        and c.timeframe == rules.base.name
        and (c.count is None or c.count >= 0)
    ):
        return None
    return _named_fault(rules, c, latest)


def _named_fault(rules: Rules, c: Candle, latest: int) -> tuple[str, str]:
    if wrong := misplaced(rules, c):
        return wrong
    if c.timeframe != rules.base.name:
        return "timeframe", f"{c.timeframe} where {rules.base.name} is expected"
    prices = (c.open, c.high, c.low, c.close)
    if not all(map(isfinite, (*prices, c.volume))):
        return "not-finite", f"open, high, low, close, volume are {(*prices, c.volume)}"
    if min(prices) < PRICE_MIN:
        return "price", f"a price of {min(prices)}"
    if c.volume < 0 or (c.count is not None and c.count < 0):
        return "volume", f"volume {c.volume}, count {c.count}"
    if max(prices) > PRICE_MAX or c.volume > VOLUME_MAX:
        return "too-large", f"prices up to {max(prices)}, volume {c.volume}"
    if not (c.low <= c.open <= c.high and c.low <= c.close <= c.high):
        return "high-low", f"open {c.open} and close {c.close} outside low {c.low} to high {c.high}"
    if not rules.low <= c.ts <= latest:
        return untimely(rules, c.ts)
    return "misaligned", f"{c.ts} is no close of a {rules.base.name} bar"


def misplaced(rules: Rules, fact: Any) -> tuple[str, str] | None:
    """Whether a fact is about another instrument."""
    if fact.venue != rules.venue or fact.symbol != rules.symbol:
        return "symbol", f"{fact.venue} {fact.symbol} where {rules.venue} {rules.symbol} is expected"
    return None


def untimely(rules: Rules, ts: int) -> tuple[str, str]:
    """What is wrong with a stamp that is not between `rules.low` and `rules.latest`.

    No clock's reading is in it: it is hashed, and two runs of one history have other ones.
    """
    if not rules.low <= ts <= rules.high:
        return "stamp", f"{ts} is before {rules.low} or after {rules.high}"
    return "ahead", f"{ts} is more than {rules.plan.ahead} s later than the time at which it came"


def trade_fault(rules: Rules, t: Trade, latest: int) -> tuple[str, str] | None:
    if (
        PRICE_MIN <= t.price <= PRICE_MAX
        and 0.0 <= t.qty <= VOLUME_MAX
        and rules.low <= t.ts <= latest
        and t.symbol == rules.symbol
        and t.venue == rules.venue
        and len(t.id) <= ID_MAX
    ):
        return None
    if wrong := misplaced(rules, t):
        return wrong
    if not (isfinite(t.price) and isfinite(t.qty)):
        return "not-finite", f"price {t.price}, quantity {t.qty}"
    if t.price < PRICE_MIN:
        return "price", f"a price of {t.price}"
    if t.qty < 0:
        return "volume", f"a quantity of {t.qty}"
    if t.price > PRICE_MAX or t.qty > VOLUME_MAX:
        return "too-large", f"price {t.price}, quantity {t.qty}"
    if len(t.id) > ID_MAX:
        return "too-large", f"an id of {len(t.id)} characters"
    return untimely(rules, t.ts)


def counts(rules: Rules, entry: Recorded, trade: Trade) -> bool:
    """Whether a trade of a message that is not `crowded` is one for those who hear the raw feed too."""
    return trade_fault(rules, trade, rules.latest(entry)) is None


def stream_fault(
    rules: Rules, fact: FeedOpened | FeedHeartbeat | FeedInterrupted, latest: int
) -> tuple[str, str] | None:
    """A stream fact with a mad stamp would close or tear every bar until then."""
    if wrong := misplaced(rules, fact):
        return wrong
    ts = fact.complete_from if isinstance(fact, FeedOpened) else fact.ts
    return None if rules.low <= ts <= latest else untimely(rules, ts)


def block_fault(rules: Rules, block: CandleBlock) -> tuple[str, str] | None:
    if wrong := misplaced(rules, block):
        return wrong
    if block.timeframe != rules.base.name:
        return "timeframe", f"{block.timeframe} where {rules.base.name} is expected"
    return None


def row_faults(rules: Rules, rows: Columns, latest: int) -> NDArray[np.str_]:
    """The reason against each row, empty where there is none."""
    ts, o, h, l, c, v = (getattr(rows, name) for name in ("ts", *_COLUMNS))
    low, high = np.minimum(np.minimum(o, c), np.minimum(h, l)), np.maximum(np.maximum(o, c), np.maximum(h, l))
    with np.errstate(invalid="ignore"):
        faults = [
            ("not-finite", ~(np.isfinite(low) & np.isfinite(high) & np.isfinite(v))),
            ("price", low < PRICE_MIN),
            ("volume", v < 0),
            ("too-large", (high > PRICE_MAX) | (v > VOLUME_MAX)),
            ("high-low", (low != l) | (high != h)),
            ("stamp", (ts < rules.low) | (ts > rules.high)),
            ("ahead", ts > latest),
            ("misaligned", (ts - rules.origin) % rules.step != 0),
        ]
    found = np.select([mask for _, mask in faults], [name for name, _ in faults], "")
    good = np.flatnonzero(found == "")
    newest = np.maximum.accumulate(ts[good]) if good.size else ts[good]
    found[good[1:][ts[good[1:]] <= newest[:-1]]] = "unordered"
    return found
