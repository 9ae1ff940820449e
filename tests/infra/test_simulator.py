"""The simulated exchange itself: one history for each seed, whole wherever it is looked at."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice, pairwise, takewhile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from actors.roster import check
from events.block import candles, unpack
from events.digest import Digest
from events.market import Book, Candle, CandleBlock, FeedHeartbeat, FeedInterrupted, FeedOpened, Trade
from events.memory import MemoryTape
from events.timeframe import MINUTE
from infra.session.market import Stamped
from infra.session.player import Player
from infra.simulator import PAIRS, VENUE, SimulatorSettings, candle, columns, default_plan, resume, source, stream
from infra.simulator.exchange import SILENCE_MAX, trades
from infra.simulator.outages import WINDOW, outage

START = 1_760_000_400_000_000  # 2025-10-09 09:00:00 UTC
SETTINGS = SimulatorSettings(history_minutes=30)


def part(settings: SimulatorSettings, minutes: int, start: int = START) -> list[Stamped]:
    return list(until(stream(settings, start), start + minutes * MINUTE))


def until(messages: Iterator[Stamped], end: int) -> Iterator[Stamped]:
    return takewhile(lambda message: message[0] <= end, messages)


def digest(messages: list[Stamped]) -> str:
    found = Digest()
    for _, actor, message in messages:
        found.add(actor, msgspec.structs.replace(message, by="feed"))
    return found.hexdigest()


@pytest.fixture(scope="module")
def hour() -> list[Stamped]:
    return part(SETTINGS, 60)


def test_a_seed_is_one_history_in_every_process(hour: list[Stamped]) -> None:
    code = "from tests.infra.test_simulator import SETTINGS, digest, part; print(digest(part(SETTINGS, 60)))"
    for hash_seed in ("0", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        root = Path(__file__).parents[2]
        said = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, check=True)
        assert said.stdout.decode().strip() == digest(hour)


def test_the_history_is_the_one_that_tapes_have_been_begun_with(hour: list[Stamped]) -> None:
    """Whatever the platform and the version, for tapes go on after an upgrade as if nothing had been."""
    assert digest(hour) == "ae3dad59767e19172c9d15c15562f7c8"


def test_another_seed_is_another_history(hour: list[Stamped]) -> None:
    assert digest(part(msgspec.structs.replace(SETTINGS, seed=8), 60)) != digest(hour)


@pytest.mark.parametrize("symbol", [one.symbol for one in PAIRS])
def test_any_minute_is_the_same_alone_as_in_a_row(symbol: str) -> None:
    first = START // MINUTE
    minutes = np.arange(first, first + 90)
    row, bars = (
        trades(SETTINGS, symbol, minutes),
        list(candles(VENUE, symbol, "1m", columns(SETTINGS, symbol, first, first + 90))),
    )
    for index in range(89, -1, -7):
        alone = trades(SETTINGS, symbol, minutes[index : index + 1])
        mine = slice(row.starts[index], row.starts[index + 1])
        for name in ("ts", "ticks", "lots", "buys", "ids"):
            assert (getattr(alone, name) == getattr(row, name)[mine]).all()
        assert candle(SETTINGS, symbol, first + index) == bars[index]


def test_pairs_differ_in_liquidity_and_volatility() -> None:
    first, end = START // MINUTE - 1440, START // MINUTE
    counts, moves = {}, {}
    for one in PAIRS:
        day = columns(SETTINGS, one.symbol, first, end)
        assert day.count is not None
        counts[one.symbol] = day.count
        moves[one.symbol] = float(np.std(np.diff(np.log(day.close))))
    assert 20 <= counts["BTC-USDT"].mean() <= 40
    assert (counts["BTC-USDT"] > 0).all()
    assert 0.2 < (counts["ALGO-USDT"] == 0).mean() < 0.8
    silence = np.diff(np.flatnonzero(counts["ALGO-USDT"])).max()
    assert 3 < silence <= SILENCE_MAX
    assert max(moves.values()) > 1.5 * min(moves.values())
    assert all(0.0002 < move < 0.003 for move in moves.values())


def test_prices_stay_near_their_base_over_a_year() -> None:
    year = np.arange(START // MINUTE - 525_600, START // MINUTE, 360)
    for one in PAIRS:
        found = trades(SETTINGS, one.symbol, year)
        prices = found.ticks / 10.0**one.price_digits / one.base
        assert 0.2 < prices.min() < 1 < prices.max() < 5


def test_messages_come_in_canonical_order_with_stamps_of_their_own(hour: list[Stamped]) -> None:
    for before, after in pairwise(hour):
        assert before[:2] < after[:2]
    assert all(ts == message.ts for ts, _, message in hour)


def test_a_stream_begins_with_history_and_its_opening(hour: list[Stamped]) -> None:
    opening = hour[: 2 * len(PAIRS)]
    for (_, actor, message), one in zip(opening, sorted(PAIRS) * 2, strict=True):
        assert actor == f"feed.{VENUE}.{one.symbol}"
        match message.facts:
            case (CandleBlock() as block,):
                known = columns(SETTINGS, one.symbol, START // MINUTE - 30, START // MINUTE)
                assert [*candles(VENUE, one.symbol, "1m", unpack(block))] == [*candles(VENUE, one.symbol, "1m", known)]
            case (FeedOpened() as opened,):
                assert opened.complete_from == START
            case other:
                pytest.fail(f"{other} in the opening")


def test_trades_are_on_the_grid_with_ids_that_increase(hour: list[Stamped]) -> None:
    plans = {symbol.symbol: symbol for symbol in default_plan(SETTINGS).symbols}
    last: dict[str, int] = defaultdict(int)
    sides = set()
    for _, _, message in hour:
        for fact in message.facts:
            if isinstance(fact, Trade):
                assert int(fact.id) > last[fact.symbol]
                last[fact.symbol] = int(fact.id)
                assert Decimal(repr(fact.price)) % plans[fact.symbol].tick == 0
                assert Decimal(repr(fact.qty)) % plans[fact.symbol].lot == 0
                assert fact.qty > 0
                sides.add(fact.side)
    assert sides == {"buy", "sell"}
    assert len(last) == len(PAIRS)


def test_trades_of_a_message_span_no_more_than_its_quarter_of_a_minute(hour: list[Stamped]) -> None:
    several = 0
    for ts, _, message in hour:
        made = [fact for fact in message.facts if isinstance(fact, Trade)]
        if made:
            assert len(made) == len(message.facts)
            assert [trade.ts for trade in made] == sorted(trade.ts for trade in made)
            assert made[-1].ts == ts
            assert made[0].ts // (MINUTE // 4) == ts // (MINUTE // 4)
            several += len(made) > 1
    assert several > 1000


def test_books_are_sorted_uncrossed_and_around_the_last_price(hour: list[Stamped]) -> None:
    last: dict[str, float] = {}
    books = 0
    for _, _, message in hour:
        for fact in message.facts:
            if isinstance(fact, Trade):
                last[fact.symbol] = fact.price
            elif isinstance(fact, Book):
                books += 1
                bids, asks = ([price for price, _ in side] for side in (fact.bids, fact.asks))
                assert len(bids) == len(asks) == 10
                assert all(a > b for a, b in pairwise(bids))
                assert all(a < b for a, b in pairwise(asks))
                assert 0 < bids[-1] < bids[0] < asks[0]
                assert all(qty > 0 for _, qty in fact.bids + fact.asks)
                if fact.symbol in last and not silent(fact.symbol, fact.ts):
                    assert bids[0] <= last[fact.symbol] <= asks[0]
    assert 24 * 60 <= books <= 25 * 60


def silent(symbol: str, ts: int) -> bool:
    """Whether the last trade on the tape may not be the exchange's last one: an outage came before, less than a
    silence ago."""
    found = outage(SETTINGS, ts // MINUTE // WINDOW)
    return found is not None and found.symbol == symbol and found.end < ts < found.end + 2 * MINUTE


def test_an_outage_is_silent_and_its_candles_come_after_it(hour: list[Stamped]) -> None:
    found = [one for window in range(4) if (one := outage(SETTINGS, START // MINUTE // WINDOW + window))]
    assert len(found) >= 3
    for down in found:
        mine = [
            message
            for _, actor, message in hour
            if actor.endswith(down.symbol) and down.begin <= message.ts <= down.backfill
        ]
        assert isinstance(mine[0].facts[0], FeedInterrupted)
        opened = mine[1].facts[0]
        assert isinstance(opened, FeedOpened)
        assert opened.complete_from == down.end
        assert 2 <= len(down.minutes) <= 9
        assert mine[-1].facts == tuple(candle(SETTINGS, down.symbol, minute) for minute in down.minutes)
        assert sum(isinstance(message.facts[0], Candle) for message in mine) == 1


def test_every_minute_of_every_pair_ends_with_a_heartbeat_unless_its_stream_is_down(hour: list[Stamped]) -> None:
    beats = {(f.symbol, f.ts) for _, _, message in hour for f in message.facts if isinstance(f, FeedHeartbeat)}
    for one in PAIRS:
        for end in range(START + MINUTE, START + 61 * MINUTE, MINUTE):
            down = outage(SETTINGS, (end // MINUTE - 1) // WINDOW)
            away = down is not None and down.symbol == one.symbol and down.begin < end < down.end
            assert ((one.symbol, end) in beats) != away


def test_without_outages_every_stream_is_whole() -> None:
    calm = msgspec.structs.replace(SETTINGS, outages=False)
    kinds = {type(fact) for _, _, message in part(calm, 30)[2 * len(PAIRS) :] for fact in message.facts}
    assert kinds == {Trade, Book, FeedHeartbeat}


def test_without_backfill_holes_stay() -> None:
    kinds = {
        type(fact)
        for _, _, message in part(msgspec.structs.replace(SETTINGS, backfill=False), 60)
        for fact in message.facts
    }
    assert FeedInterrupted in kinds
    assert Candle not in kinds


def test_a_stream_goes_on_after_any_message_as_if_it_had_not_stopped(hour: list[Stamped]) -> None:
    end = START + 60 * MINUTE
    places = [*range(0, 120, 11), *range(120, len(hour) - 1, 797)]
    for place in places:
        ts, feed, _ = hour[place]
        rest = until(resume(SETTINGS, ts, feed), min(end, ts + 3 * MINUTE))
        for offset, message in enumerate(rest, place + 1):
            assert message == hour[offset]
    ts, feed, _ = hour[1000]
    assert hour[:1001] + list(until(resume(SETTINGS, ts, feed), end)) == hour


def test_a_fresh_tape_begins_at_the_quarter_of_an_hour_and_a_used_one_where_it_stands(hour: list[Stamped]) -> None:
    begin = source(SETTINGS, START + 7 * MINUTE + 12_345)
    assert next(begin(0, "")) == hour[0]
    ts, feed, _ = hour[500]
    assert next(begin(ts, feed)) == hour[501]


async def test_a_tape_that_was_left_is_played_on_to_the_same_tape(hour: list[Stamped]) -> None:
    begin, tape, end = source(SETTINGS, START), MemoryTape(), START + 10 * MINUTE
    ts, feed = 0, ""
    for stop in (30, 400, 10_000):
        await Player(tape, None).play(islice(until(begin(ts, feed), end), stop))
        ts, feed = tape.entries[-1].decision.ts, tape.entries[-1].actor
    assert [(entry.actor, entry.decision) for entry in tape.entries] == [
        message[1:] for message in until(iter(hour), end)
    ]


def test_a_stream_may_begin_in_an_outage() -> None:
    down = next(one for window in range(9) if (one := outage(SETTINGS, START // MINUTE // WINDOW + window)))
    start = down.begin - down.begin % MINUTE + MINUTE
    mine = [message for _, actor, message in part(SETTINGS, 15, start) if actor.endswith(down.symbol)]
    opened = next(fact for message in mine for fact in message.facts if isinstance(fact, FeedOpened))
    assert opened.complete_from == down.end
    assert not any(message.ts < down.end for message in mine[1:])


@pytest.mark.parametrize("pairs", [1, 3, 25])
def test_fewer_pairs_have_the_same_prices_and_a_sound_plan(pairs: int) -> None:
    few = msgspec.structs.replace(SETTINGS, pairs=pairs, outages=False)
    plan = default_plan(few)
    check(plan)
    assert len(plan.symbols) == pairs
    assert plan.bots
    seen = {fact.symbol for _, _, message in part(few, 5) for fact in message.facts if isinstance(fact, FeedHeartbeat)}
    assert seen == {one.symbol for one in PAIRS[:pairs]}
    assert candle(few, "BTC-USDT", START // MINUTE) == candle(SETTINGS, "BTC-USDT", START // MINUTE)


def test_settings_refuse_what_they_do_not_know() -> None:
    for wrong in ({"sed": 1}, {"pairs": 26}, {"pairs": 0}, {"speed": 0}, {"history_minutes": -1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, SimulatorSettings)


def test_an_unknown_pair_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="has no EUR-USD; it has BTC-USDT, ETH-USDT"):
        candle(SETTINGS, "EUR-USD", 0)
