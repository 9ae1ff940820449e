"""Messages read into columns against the codec: whatever is taken must be what the codec reads."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
import pytest

from events.codec import Codec
from events.decision import Decision, Recorded
from events.market import Book, Candle, FeedHeartbeat, Quote, Trade
from events.scanned import UNKNOWN, Scanned
from infra.tapes.scan import scanned

CODEC = Codec()
TS = 1_700_000_040_000_000
BARS = (
    Candle("sim", "BTC-USDT", "1m", TS, 0.1, 1e15, -0.0, 99.97, 0.30000000000000004, 3),
    Candle("sim", "BTC-USDT", "5m", -1, 138111.0, 9007199254740993.0, 0.001, 123456789.12345678, 5e-7),
)
FEED = (
    Trade("sim", "BTC-USDT", TS, 1.5, 0.25, "buy", "t1"),
    Quote("sim", "BTC-USDT", TS, 1.0, 2.0, 3.0, 4.5),
    Book("sim", "BTC-USDT", TS, ((1.5, 2.0), (1.25, 0.5)), ()),
    FeedHeartbeat("sim", "BTC-USDT", TS),
    BARS[0],
)


def encoded(*facts: object, name: str = "a" * 32, ts: int = TS) -> bytes:
    return CODEC.encode(Decision(name, 7, "b" * 32, ts, facts))  # type: ignore[arg-type]


def scan(bodies: Iterable[bytes], entity: int) -> Scanned:
    bodies = list(bodies)
    ends = np.cumsum([len(body) + 3 for body in bodies], dtype=np.int64) - 3
    begins = ends - [len(body) for body in bodies]
    many = np.arange(len(bodies), dtype=np.int64)

    def entry(place: int) -> Recorded:
        return Recorded(place, "feed.sim.X", CODEC.decode_or_unreadable("x", bodies[place]))

    return scanned(b"|||".join(bodies), begins, ends, many * 0 + entity, many, many, entry)


def same(page: Scanned, bodies: list[bytes]) -> int:
    """Every plain message is what the codec reads; how many there are."""
    place = 0
    for message, held in enumerate(page.facts.tolist()):
        assert (held == 0) == (message in page.alone)
        if not held:
            continue
        facts = CODEC.decode(bodies[message]).facts
        assert len(facts) == held, bodies[message]
        for fact in facts:
            group = page.groups[page.group[place]]
            assert (page.message[place], group.type, page.ts[place]) == (message, type(fact), fact.ts)  # type: ignore[attr-defined]
            assert group.market == (fact.venue, fact.symbol)  # type: ignore[attr-defined]
            if isinstance(fact, Candle):
                numbers = [fact.open, fact.high, fact.low, fact.close, fact.volume]
                assert list(map(repr, page.prices[place].tolist())) == list(map(repr, numbers))
                assert page.count[place] == (UNKNOWN if fact.count is None else fact.count)
                assert group.timeframe == fact.timeframe
            place += 1
    assert place == len(page.ts)
    return int((page.facts > 0).sum())


def test_what_the_codec_writes_is_taken() -> None:
    feeds = [encoded(fact) for fact in FEED] + [encoded(*FEED)]
    assert same(scan(feeds, 1), feeds) == len(feeds)
    markets = [encoded(*BARS), encoded(BARS[1], name="x", ts=-5)]
    assert same(scan(markets, 2), markets) == 2


def test_a_market_may_say_candles_alone() -> None:
    bodies = [encoded(fact) for fact in FEED[:4]]
    assert same(scan(bodies, 2), bodies) == 0
    assert same(scan([encoded(FEED[0])], 0), [encoded(FEED[0])]) == 0


ODD = (
    ('"ts":1700000040000000,"open"', '"ts":1700000040000000.0,"open"'),
    ('"ts":1700000040000000,"open"', '"ts":1e15,"open"'),
    ('"ts":1700000040000000,"open"', '"ts":-0,"open"'),
    ('"ts":1700000040000000,"open"', '"ts":9223372036854775807,"open"'),
    ('"ts":1700000040000000,"open"', '"ts":9223372036854775808,"open"'),
    ('"ts":1700000040000000,"open"', '"ts":253402300800000000,"open"'),
    ('"open":0.1', '"open":01.1'),
    ('"open":0.1', '"open":.1'),
    ('"open":0.1', '"open":1.'),
    ('"open":0.1', '"open":+1'),
    ('"open":0.1', '"open":-'),
    ('"open":0.1', '"open":1e'),
    ('"open":0.1', '"open":1e+'),
    ('"open":0.1', '"open":1e400'),
    ('"open":0.1', '"open":NaN'),
    ('"open":0.1', '"open":-0'),
    ('"open":0.1', '"open":' + "9" * 309),
    ('"open":0.1', '"open":1' + "0" * 250 + "e99"),
    ('"open":0.1', '"open":"0.1"'),
    ('"open":0.1', '"open": 0.1'),
    ('"open":0.1', '"open":null'),
    ('"open":0.1', '"close":0.1'),
    ('"open":0.1,', ""),
    ('"count":3', '"count":3.0'),
    ('"count":3', '"count":nul'),
    ('"count":3', '"count":3,"more":1'),
    ('"symbol":"BTC-USDT"', '"symbol":"BTC\\u0000"'),
    ('"symbol":"BTC-USDT"', '"symbol":"BTC\\"'),
    ('"symbol":"BTC-USDT"', '"symbol":"B\u00e9"'),
    ('"symbol":"BTC-USDT"', '"symbol":"' + "B" * 201 + '"'),
    ('"id":"' + "a" * 32, '"id":"' + "a" * 65),
    ('"id":"' + "a" * 32, '"id":"'),
    ('"cause":7', '"cause":-7'),
    ("candle/1", "candle/2"),
    ("]}", "]}}"),
    ("]}", "]"),
    ("]}", "],}"),
    ('"facts":[', '"facts":[,'),
)


@pytest.mark.parametrize(("usual", "odd"), ODD)
def test_what_is_written_in_another_way_is_left_to_the_codec(usual: str, odd: str) -> None:
    body = encoded(BARS[0])
    assert usual.encode() in body
    assert scan([body.replace(usual.encode(), odd.encode())], 2).facts.tolist() == [0]


@pytest.mark.parametrize("price", ["9" * 310, "1" + "0" * 250 + "e99"])
def test_prices_without_a_float_are_left_to_the_codec(price: str) -> None:
    bodies = [encoded(FEED[number]).replace(b"1.5,", price.encode() + b",") for number in (0, 2)]
    assert all(price.encode() in body for body in bodies)
    assert scan(bodies, 1).facts.tolist() == [0, 0]


def test_a_message_of_two_markets_or_without_facts_is_left_to_the_codec() -> None:
    other = Candle("sim", "ETH-USDT", "1m", TS, 1.0, 1.0, 1.0, 1.0, 1.0)
    bodies = [encoded(BARS[0], other), encoded(), encoded(BARS[0]), b"", b"{", encoded(other)[:-30]]
    assert scan(bodies, 2).facts.tolist() == [0, 0, 1, 0, 0, 0]


MANY_DIGITS = (
    "123456789.12345678", "0.1234567890123456789012345", "9007199254740993", "0.00000000000000000000000001",
    "-123456789012345678901.5", "1E+7", "-1.5e-7", "0e3", "2e99",
)  # fmt: skip


@pytest.mark.parametrize("number", MANY_DIGITS)
def test_numbers_of_many_digits_are_rounded_as_by_the_codec(number: str) -> None:
    body = encoded(BARS[0]).replace(b'"close":99.97', f'"close":{number}'.encode())
    assert same(scan([body], 2), [body]) == 1


def test_bytes_changed_at_random_are_never_taken_for_something_else() -> None:
    chance, bodies = Random(5), []
    for fact in (*FEED, BARS[1]) * 500:
        body = bytearray(encoded(fact))
        for _ in range(chance.choice((1, 1, 2))):
            place = chance.randrange(len(body))
            what = chance.choice((b'0123456789.,"{}[]:-e \\', bytes(range(256))))
            body[place : place + chance.choice((0, 1, 1, 1, 3))] = bytes([chance.choice(what)])
        bodies.append(bytes(body))
    assert same(scan(bodies, 1), bodies) > 200
