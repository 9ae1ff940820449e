"""Facts to bytes and back, old versions included, and what malformed bytes are told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import Codec, MalformedFact
from events.control import Unreadable
from events.decision import Decision, derived, digest_of
from events.decision import Recorded as Entry
from events.fact import Fact, kind, tag
from events.feed import observed
from events.market import Candle, Trade
from events.trading import TradingDayStarted


class Tick(Fact, frozen=True, tag="tick/3"):
    symbol: str
    price: Decimal
    size: int = 1


def _cents_to_decimal(fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": fields["name"], "price": str(Decimal(fields["cents"]) / 100)}


def _name_to_symbol(fields: dict[str, Any]) -> dict[str, Any]:
    return {"symbol": fields["name"], "price": fields["price"]}


CODEC = Codec((Tick, Trade), {("tick", 1): _cents_to_decimal, ("tick", 2): _name_to_symbol})
TRADE = b'{"type":"trade/1","venue":"v","symbol":"s","ts":1,"price":2.5,"qty":1.0}'


def body(*facts: bytes) -> bytes:
    return b'{"id":"i","cause":3,"by":"b","ts":4,"facts":[' + b",".join(facts) + b"]}"


def test_old_versions_become_the_newest_one() -> None:
    newest = Tick("BTC", Decimal("12.34"))
    for stored in (
        b'{"type":"tick/1","name":"BTC","cents":1234}',
        b'{"type":"tick/2","name":"BTC","price":"12.34"}',
        b'{"type":"tick/3","symbol":"BTC","price":"12.34"}',
    ):
        assert CODEC.fact(stored) == newest
        trade = Trade("v", "s", 1, 2.5, 1.0)
        assert CODEC.decode(body(TRADE, stored, TRADE)) == Decision("i", 3, "b", 4, (trade, newest, trade))


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (b'{"type":"tick/4","symbol":"BTC"}', r"no fact has the tag `tick/4`; the nearest known one is `tick/3`"),
        (b'{"type":"trad/1"}', r"no fact has the tag `trad/1`; the nearest known one is `trade/1`"),
        (b'{"type":"zzz"}', r"no fact has the tag `zzz`$"),
        (b'{"type":"tick/x"}', r"no fact has the tag `tick/x`"),
        (b'{"type":"tick/2","name":"BTC","price":"1","qty":2}', None),
        (
            b'{"type":"tick/3","symbol":"BTC","prise":"1"}',
            r"tick/3 has no field `prise`; the nearest known one is `price`",
        ),
        (b'{"type":"tick/3","symbol":"BTC"}', r"tick/3: .*missing required field `price`"),
        (b'{"type":"tick/3","symbol":5,"price":"1"}', r"tick/3: Expected `str`, got `int` - at `\$\.symbol`"),
        (b'{"type":"tick/3","symbol":"B","price":"1","size":1.5}', r"tick/3: Expected `int`, got `float`.*size"),
        (b'{"type":"tick/3","symbol":"B","price":"1","size":null}', r"tick/3: Expected `int`, got `null`.*size"),
        (TRADE.replace(b"2.5", b'"2.5"'), r"trade/1: Expected `float`, got `str`.*price"),
        (TRADE.replace(b"2.5", b"null"), r"trade/1: Expected `float`, got `null`.*price"),
        (TRADE.replace(b"2.5", b"NaN"), "not JSON"),
        (TRADE.replace(b"2.5", b"Infinity"), "not JSON"),
        (TRADE.replace(b"2.5", b"1e999"), "out of range|not JSON"),
        (b'{"symbol":"BTC"}', "no `type`"),
        (b"[]", "no `type`"),
        (b"17", "no `type`"),
    ],
)
def test_a_malformed_fact_is_told_what_is_wrong(fact: bytes, message: str | None) -> None:
    if message is None:  # fields that an upcaster does not know are not carried over
        assert CODEC.fact(fact) == Tick("BTC", Decimal(1))
        return
    with pytest.raises(MalformedFact, match=message):
        CODEC.fact(fact)
    with pytest.raises(MalformedFact, match=message):
        CODEC.decode(body(TRADE, fact))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (body(TRADE)[:-5], "not JSON"),
        (body(TRADE) + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1,2]", "not a decision"),
        (body(), "without facts"),
        (body(TRADE).replace(b'"by":"b",', b""), "missing required field `by`"),
        (body(TRADE).replace(b'"cause":3', b'"cause":"3"'), r"Expected `int`, got `str`.*cause"),
        (body(TRADE).replace(b'"cause"', b'"because"'), "because"),
    ],
)
def test_bytes_that_are_no_decision_become_unreadable_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(MalformedFact, match=message) as caught:
        CODEC.decode(data)
    found = CODEC.decode_or_unreadable("main.x.y.z", data)
    assert found.facts == (Unreadable("main.x.y.z", str(caught.value), data),)
    assert (found.id, found.by, found.kind) == (digest_of(data), "", "unreadable")


def test_what_is_not_a_number_is_not_written_as_one() -> None:
    """NaN has no place in JSON: it is written as null, which no reader takes for a price."""
    for value in (float("nan"), float("inf")):
        written = Codec().encode(Decision("i", 0, "", 1, (Trade("v", "s", 1, value, 1.0),)))
        with pytest.raises(MalformedFact, match="price"):
            Codec().decode(written)


prices = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63 - 1)
candles = st.builds(
    Candle, st.text(), st.text(), st.text(), whole, prices, prices, prices, prices, prices, st.none() | whole
)
days = st.builds(TradingDayStarted, st.text(), whole, st.text(), st.decimals(allow_nan=False, allow_infinity=False))


ids = st.text("0123456789abcdefxyz-:", min_size=1, max_size=64)


causes = st.integers(0, 2**63 - 1)


@given(st.builds(Decision, ids, causes, st.just("") | ids, whole, st.tuples(candles, days | candles)))
def test_every_decision_survives_the_codec(entry: Decision) -> None:
    found = Codec().decode(Codec().encode(entry))
    assert found == entry
    assert Codec().encode(found) == Codec().encode(entry)  # Decimal('1.0') == Decimal('1'), but not in bytes


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_codec(data: bytes) -> None:
    assert CODEC.decode_or_unreadable("main.x.y", data).facts


def test_ids_name_content_and_cause() -> None:
    trade = Trade("v", "s", 1, 2.5, 1.0)
    first = observed("feed.v.s", 1, trade)
    assert first == observed("feed.v.s", 1, trade)
    others = [observed("feed.v.t", 1, trade), observed("feed.v.s", 2, trade), observed("feed.v.s", 1, trade, trade)]
    assert len({first.id, *(other.id for other in others)}) == 4
    cause = Entry(9, "feed.v.s", first)
    made = derived("market.v.s", cause, (trade,))
    assert (made.cause, made.by, made.ts, made.kind) == (9, first.id, 1, "trade")
    assert made.id != derived("market.v.t", cause, (trade,)).id
    assert made.id == derived("market.v.s", Entry(10, "feed.v.s", first), (trade,)).id  # sequences are no part of it


def test_tags() -> None:
    assert (tag(Tick), kind(Tick), kind(Trade("v", "s", 1, 2.5, 1.0))) == ("tick/3", "tick", "trade")
    with pytest.raises(AttributeError):
        Tick("B", Decimal(1)).size = 2  # type: ignore[misc]
    assert msgspec.structs.asdict(Tick("B", Decimal(1))) == {"symbol": "B", "price": Decimal(1), "size": 1}


def message(**head: Any) -> bytes:
    return msgspec.json.encode({"id": "1", "cause": 0, "by": "", "ts": 1, **head, "facts": [msgspec.Raw(TRADE)]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (message(id=""), "without an id"),  # what follows from it would pass for a message from outside
        (message(id="a\0"), "without an id"),
        (message(id="x" * 65), "length <= 64"),
        (message(by="x" * 65), "length <= 64"),
        (message(cause=-1), ">= 0"),
        (message(cause=2**63), "<= 9223372036854775807"),
        (message(ts=10**300), "<= 9223372036854775807"),
        (message().replace(b"trade/1", b"trade/" + b"9" * 5_000), "no fact has the tag"),
        (message().replace(b"trade/1", b"x" * 900_000), "no fact has the tag"),
        (message().replace(b"trade/1", "trade/²".encode()), "no fact has the tag"),
        (message().replace(b"trade/1", b"\\u0000"), r"`\\x00`"),
    ],
)  # fmt: skip
def test_extremes_are_told_in_a_sentence_of_bounded_length(body: bytes, said: str) -> None:
    with pytest.raises(MalformedFact, match=said.replace("<", ".").replace("\\\\", "\\\\")) as found:
        Codec().decode(body)
    assert len(str(found.value)) < 6_000
    assert str(found.value).isprintable()
