"""What a symbol's decider says of one thing at a time."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.calendars import MONDAY, calendar
from actors.symbol import SymbolDecider
from actors.symbol.rules import FLAT_MAX, HOLES_MAX, IDS_MAX, OPEN_MAX, RECENT_MAX, TRIM
from actors.symbol.validation import RAW_MAX
from events import block, subjects
from events.codec import Codec
from events.control import PauseBot, Quarantined
from events.fact import Fact
from events.feed import observed
from events.market import (
    Book,
    Candle,
    CandleBackfilled,
    CandleBlock,
    CandleRevised,
    DataFlagged,
    FeedHeartbeat,
    FeedInterrupted,
    FeedOpened,
    GapFilled,
    GapFound,
    Quote,
    Trade,
)
from events.timeframe import DAY, HOUR
from tests.actors.symbols import (
    MINUTE,
    T0,
    S,
    V,
    bars,
    blocks,
    candles,
    columns_of,
    entries,
    entry,
    minute,
    of,
    plan,
    play,
    step,
)


def trade(seconds: float, price: float = 100.0, qty: float = 1.0, number: str = "") -> Trade:
    return Trade(V, S, T0 + round(seconds * 1e6), price, qty, "buy", number)


def opened(seconds: float = 0) -> FeedOpened:
    ts = T0 + round(seconds * 1e6)
    return FeedOpened(V, S, ts, ts)


def beat(seconds: float) -> FeedHeartbeat:
    return FeedHeartbeat(V, S, T0 + round(seconds * 1e6))


def gap(first: int, last: int, missing: int) -> GapFound:
    return GapFound(V, S, "1m", T0 + first * MINUTE, T0 + last * MINUTE, missing)


def numbered(facts: list[Any]) -> list[int]:
    return [(fact.ts - T0) // MINUTE for fact in facts]


def test_it_is_the_actor_of_its_market() -> None:
    decider = SymbolDecider(plan())
    assert decider.actor == subjects.market(V, S)
    assert decider.inbox == ("feed.venue.BTC-USDT.>",)


def test_a_valid_bar_in_order_is_handed_on_as_it_is() -> None:
    decider, c = SymbolDecider(plan()), minute(1)
    (said,) = play(decider, [c])
    assert said is c


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"source": "ticks"}, "candles or trades"),
        ({"empty": "maybe"}, "flat or omit"),
        ({"base": "5m", "timeframes": ("7m",)}, "7m of venue BTC-USDT is no multiple of 5m"),
        ({"timeframes": ("1m",)}, "no multiple"),
        ({"timeframes": ("1x",)}, "not a timeframe"),
        ({"calendar": "24x8"}, "did you mean 24x7"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SymbolDecider(plan(**changes))


def test_higher_bars_come_with_the_bar_that_completes_them() -> None:
    decider = SymbolDecider(plan(timeframes=("15m", "5m")))
    state, said = decider.initial(), []
    for one in entries(minute(number, 100 + number) for number in range(1, 16)):
        said.append([(fact.timeframe, fact.ts) for fact in of(step(decider, state, one), Candle)])
    assert said[4] == [("1m", T0 + 5 * MINUTE), ("5m", T0 + 5 * MINUTE)]
    assert [name for name, _ in said[14]] == ["1m", "5m", "15m"]
    assert sum(map(len, said)) == 15 + 3 + 1


def test_weeks_end_on_mondays() -> None:
    monday = (T0 - MONDAY) // (7 * DAY) * (7 * DAY) + MONDAY
    week = [Candle(V, S, "1d", monday + day * DAY, 1, 1, 1, 1, 1) for day in range(-1, 9)]
    facts = play(SymbolDecider(plan(base="1d", timeframes=("1w",))), week)
    assert [c.ts for c in of(facts, Candle, "1w")] == [monday + 7 * DAY]
    weeks = play(SymbolDecider(plan(base="1w")), [msgspec.structs.replace(week[1], timeframe="1w")])
    assert [fact.ts for fact in of(weeks, Candle)] == [monday]


def test_a_hole_is_a_gap_until_the_last_bar_of_it_has_come() -> None:
    decider = SymbolDecider(plan(timeframes=("5m",)))
    state = decider.initial()
    feed = [minute(n) for n in (1, 2, 5, 6, 3, 4)]
    said = [step(decider, state, one) for one in entries(feed)]
    assert said[2] == (gap(3, 4, 2), minute(5))
    assert [type(fact) for fact in said[4]] == [CandleBackfilled]
    late, higher, filled = said[5]
    assert (late.ts, higher.timeframe, higher.volume) == (minute(4).ts, "5m", 5.0)
    assert type(higher) is CandleBackfilled
    assert filled == GapFilled(V, S, "1m", T0 + 3 * MINUTE, T0 + 4 * MINUTE, 2)
    assert not state.ladder.holes


def test_where_bars_without_trades_are_left_out_a_hole_is_no_gap() -> None:
    feed = [minute(1), minute(3), minute(7), FeedHeartbeat(V, S, T0 + 10 * MINUTE)]
    decider = SymbolDecider(plan(empty="omit", timeframes=("5m",)))
    state = decider.initial()
    said = [[(c.timeframe, (c.ts - T0) // MINUTE) for c in step(decider, state, one)] for one in entries(feed)]
    assert said == [[("1m", 1)], [("1m", 3)], [("5m", 5), ("1m", 7)], [("5m", 10)]]
    (flagged,) = step(decider, state, entry(9, minute(9)))
    assert flagged.issue == "late"


def test_where_a_hole_is_no_gap_the_streams_word_makes_one() -> None:
    feed = [
        *(minute(n) for n in range(1, 8)),
        FeedInterrupted(V, S, T0 + 7 * MINUTE + 1, "down"),
        FeedOpened(V, S, T0 + 9 * MINUTE + 5, T0 + 9 * MINUTE + 5),
        *(minute(n) for n in range(10, 16)),
    ]
    decider = SymbolDecider(plan(empty="omit", timeframes=("5m",)))
    facts = play(decider, feed)
    assert of(facts, GapFound) == [gap(8, 9, 2)]
    assert numbered(of(facts, Candle, "5m")) == [5, 15]
    facts = play(decider, [*feed, minute(8), minute(9)])
    assert numbered(of(facts, CandleBackfilled, "5m")) == [10]
    assert len(of(facts, GapFilled)) == 1


def test_a_bar_with_other_content_is_a_revision_all_the_way_up() -> None:
    feed = [minute(n) for n in range(1, 8)]
    facts = play(SymbolDecider(plan(timeframes=("5m",))), [*feed, minute(3, 103.0, 2.0), minute(7, 99.0)])
    assert [(fact.timeframe, (fact.ts - T0) // MINUTE) for fact in of(facts, CandleRevised)] == [
        ("1m", 3),
        ("5m", 5),
        ("1m", 7),
    ]
    assert bars(facts, "5m")[T0 + 5 * MINUTE] == (100.0, 103.0, 100.0, 100.0, 6.0, 5)
    more = play(SymbolDecider(plan(timeframes=("5m",))), [*feed, minute(7, 99.0), *map(minute, (8, 9, 10))])
    assert bars(more, "5m")[T0 + 10 * MINUTE] == (100.0, 100.0, 99.0, 100.0, 5.0, 5)


def test_what_is_too_old_to_be_compared_is_flagged() -> None:
    feed = [minute(n) for n in range(1, RECENT_MAX + TRIM + 1)]
    facts = play(SymbolDecider(plan(timeframes=("1d",))), [*feed, minute(1, 77.0), feed[-1], minute(200, 99.0)])
    assert [fact.issue for fact in of(facts, DataFlagged)] == ["late", "duplicate", "unrevised"]


def test_an_implausible_jump_is_kept_and_flagged() -> None:
    facts = play(SymbolDecider(plan()), [minute(1), minute(2, 151.0), minute(3, 75.6), minute(4, 75.6)])
    assert [type(fact) for fact in facts] == [Candle, DataFlagged, Candle, Candle, Candle]
    assert facts[1].issue == "jump"  # type: ignore[attr-defined]
    assert not of(play(SymbolDecider(plan(), jump=0.6), [minute(1), minute(2, 151.0)]), DataFlagged)


def test_unusable_facts_are_kept_in_quarantine() -> None:
    state_fact = PauseBot("b", T0, "me", "no")
    wrong: list[Fact] = [
        minute(1, float("nan")),
        minute(1, 10.0, high=9.0),
        FeedHeartbeat("other", S, T0),
        FeedOpened(V, S, T0, 1),
        state_fact,
    ]
    reasons = [fact.reason for fact in of(play(SymbolDecider(plan()), wrong), Quarantined)]
    assert reasons == ["not-finite", "high-low", "symbol", "stamp", "unexpected"]
    (kept,) = of(play(SymbolDecider(plan()), [wrong[0]]), Quarantined)
    assert kept.source == "feed.venue.BTC-USDT"
    assert b'"open": NaN' in kept.raw


def test_bytes_that_are_no_fact_are_kept_in_quarantine() -> None:
    raw = b"\xff{" * RAW_MAX
    decision = Codec().decode_or_unreadable("t.feed.venue.BTC-USDT.candle", raw)
    (kept,) = of(play(SymbolDecider(plan()), decision.facts), Quarantined)
    assert (kept.reason, kept.raw) == ("unreadable", raw[:RAW_MAX])
    assert decision.id  # names the message that holds the rest
    assert f"of {len(raw)} bytes" in kept.detail


def test_quotes_and_books_are_passed_over() -> None:
    decider = SymbolDecider(plan())
    assert play(decider, [Quote(V, S, T0, 1, 1, 2, 1), Book(V, S, T0, (), ()), trade(1)]) == []


def test_days_of_a_market_with_weekends_are_complete_without_them() -> None:
    """From Monday 8 to Tuesday 16 January 2024: FX closes on Friday 22:00 UTC and opens on Sunday 22:00."""
    fx, start = calendar("fx"), 1_704_672_000_000_000
    closes = [ts for ts in range(start + HOUR, start + 8 * DAY + 1, HOUR) if fx.expects(ts, HOUR)]
    hours = [Candle(V, S, "1h", ts, 1, 1, 1, 1, 1) for ts in closes]
    decider = SymbolDecider(plan(base="1h", timeframes=("1d", "1w"), calendar="fx"))
    facts = play(decider, hours)
    assert not of(facts, GapFound)
    days = {(c.ts - start) / DAY: c.volume for c in of(facts, Candle, "1d")}
    assert days == {1: 24, 2: 24, 3: 24, 4: 24, 5: 22, 7: 2, 8: 24}
    assert [c.volume for c in of(facts, Candle, "1w")] == [5 * 24]
    friday = next(place for place, fact in enumerate(facts) if fact == hours[4 * 24 + 21])
    assert facts[friday + 1].timeframe == "1d"  # type: ignore[attr-defined]
    assert play(decider, blocks(columns_of(hours), "1h", 1_000))[-1].timeframe == "1w"  # type: ignore[attr-defined]
    odd = play(decider, [*hours[:118], Candle(V, S, "1h", start + 5 * DAY + 12 * HOUR, 1, 1, 1, 1, 1)])
    assert [fact.issue for fact in of(odd, DataFlagged)] == ["closed"]
    missing = play(decider, [c for c in hours if c.ts != start + 7 * DAY])
    assert [one.missing for one in of(missing, GapFound)] == [1]
    assert not of(missing, Candle, "1w")


def test_trades_become_bars_when_their_minute_is_over() -> None:
    feed = [opened(), trade(1, 100), trade(30, 102, 0.1), trade(59.9, 101, 0.2), trade(60, 103), beat(125)]
    facts = play(SymbolDecider(plan(source="trades")), feed)
    assert facts == [
        Candle(V, S, "1m", T0 + MINUTE, 100, 102, 100, 101, 1.3, 3),
        Candle(V, S, "1m", T0 + 2 * MINUTE, 103, 103, 103, 103, 1.0, 1),
    ]


def test_trades_come_once_and_in_time() -> None:
    feed = [opened(), trade(1, number="a"), trade(1, number="a"), trade(61, number="b"), trade(2, number="c")]
    facts = play(SymbolDecider(plan(source="trades")), feed)
    assert [fact.issue for fact in of(facts, DataFlagged)] == ["duplicate", "late"]
    assert [c.count for c in of(facts, Candle)] == [1]


def test_a_minute_that_was_over_without_trades_stays_without() -> None:
    """Its higher bar is out already; a trade that comes after all must not change it."""
    feed = [opened(), trade(1), beat(185), trade(150), beat(400)]
    facts = play(SymbolDecider(plan(source="trades", empty="omit", timeframes=("3m",))), feed)
    assert [(c.timeframe, c.count) for c in of(facts, Candle)] == [("1m", 1), ("3m", 1)]
    assert [fact.issue for fact in of(facts, DataFlagged)] == ["late"]


def test_silence_makes_flat_bars_up_to_a_bound_and_then_a_gap() -> None:
    decider = SymbolDecider(plan(source="trades"))
    facts = play(decider, [opened(), trade(1), beat(60 * (FLAT_MAX + 1))])
    assert len(facts) == FLAT_MAX + 1
    assert facts[-1] == Candle(V, S, "1m", T0 + (FLAT_MAX + 1) * MINUTE, 100, 100, 100, 100, 0.0, 0)
    facts = play(decider, [opened(), trade(1), beat(60 * (FLAT_MAX + 2)), beat(60 * (FLAT_MAX + 3))])
    assert of(facts, GapFound) == [gap(2, FLAT_MAX + 2, FLAT_MAX + 1)]
    assert numbered(of(facts, Candle)) == [1, FLAT_MAX + 3]
    assert not of(play(SymbolDecider(plan(source="trades", empty="omit")), [opened(), beat(600)]), Candle)


def test_minutes_before_the_first_price_are_a_gap() -> None:
    facts = play(SymbolDecider(plan(source="trades")), [opened(), beat(130), trade(190), beat(300)])
    assert facts[0] == gap(1, 3, 3)
    assert numbered(of(facts, Candle)) == [4, 5]


def test_a_broken_stream_leaves_a_gap_that_bars_from_outside_fill() -> None:
    feed = [
        opened(),
        trade(10, 100),
        trade(70, 101),
        FeedInterrupted(V, S, T0 + 100_000_000, "down"),
        beat(500),
        opened(200),
        trade(205, 104),
        trade(250, 105),
        beat(300),
    ]
    decider = SymbolDecider(plan(source="trades", timeframes=("5m",)))
    facts = play(decider, feed)
    assert numbered(of(facts, Candle, "1m")) == [1, 5]
    assert [(one.first, one.last) for one in of(facts, GapFound)] == [
        (T0 + 2 * MINUTE, T0 + 3 * MINUTE),
        (T0 + 4 * MINUTE, T0 + 4 * MINUTE),
    ]
    facts = play(decider, [*feed, *(minute(n) for n in (2, 3, 4)), minute(6), minute(5, 1.0, 1.0)])
    assert numbered(of(facts, CandleBackfilled, "5m")) == [5]
    assert len(of(facts, GapFilled)) == 2
    assert [fact.issue for fact in of(facts, DataFlagged)] == ["early"]
    assert len(of(facts, CandleRevised, "5m")) == 1


def test_a_stream_that_caught_up_leaves_no_gap() -> None:
    feed = [
        opened(),
        trade(10, number="a"),
        FeedInterrupted(V, S, T0 + 30_000_000, "down"),
        FeedOpened(V, S, T0 + 90_000_000, T0 + 30_000_000),
        trade(10, number="a"),
        trade(40, number="b"),
        trade(80, number="c"),
        beat(120),
    ]
    facts = play(SymbolDecider(plan(source="trades")), feed)
    assert not of(facts, GapFound)
    assert [c.count for c in of(facts, Candle)] == [2, 1]


def test_trades_go_on_after_history() -> None:
    decider = SymbolDecider(plan(source="trades", timeframes=("5m",)))
    history = blocks(columns_of([minute(n) for n in range(1, 4)]), "1m", 10)
    facts = play(decider, [*history, opened(180), trade(181), trade(241), beat(300)])
    assert not of(facts, GapFound)
    assert bars(facts, "5m")[T0 + 5 * MINUTE][4] == 5.0
    facts = play(decider, [*history, opened(200), trade(241), beat(300)])
    assert of(facts, GapFound) == [gap(4, 4, 1)]


def test_bad_rows_of_a_block_are_kept_in_quarantine() -> None:
    some = [minute(n) for n in (1, 2, 2, 3, 4, 5, 6)]
    some[3] = minute(3, float("inf"))
    some[5] = minute(5, -1.0)
    facts = play(SymbolDecider(plan()), blocks(columns_of(some), "1m", 100))
    (kept,) = of(facts, Quarantined)
    assert kept.detail == "rows rejected: not-finite 1, price 1, unordered 1"
    assert [(row[0], row[-1]) for row in json.loads(kept.raw)] == [
        (minute(2).ts, "unordered"),
        (minute(3).ts, "not-finite"),
        (minute(5).ts, "price"),
    ]
    assert [list(block.unpack(one).ts) for one in of(facts, CandleBlock)] == [[minute(n).ts for n in (1, 2, 4, 6)]]
    assert of(facts, GapFound) == [gap(3, 3, 1), gap(5, 5, 1)]


def test_a_block_that_is_none_is_kept_in_quarantine() -> None:
    (good,) = blocks(columns_of([minute(1)]), "1m", 10)
    wrong = [{"ts": b"123"}, {"rows": 7}, {"timeframe": "5m"}, {"venue": "other"}]
    facts = play(SymbolDecider(plan()), [msgspec.structs.replace(good, **change) for change in wrong])
    assert [fact.reason for fact in of(facts, Quarantined)] == ["malformed", "malformed", "timeframe", "symbol"]
    again = play(SymbolDecider(plan()), [good, good, msgspec.structs.replace(good, open=good.volume, low=good.volume)])
    assert [fact.issue for fact in of(again, DataFlagged)] == ["duplicate", "late"]
    assert play(SymbolDecider(plan()), [msgspec.structs.replace(good, rows=0, **dict.fromkeys(COLUMNS, b""))]) == []


COLUMNS = ("ts", "open", "high", "low", "close", "volume", "count")


def test_decisions_about_full_blocks_fit_a_message() -> None:
    """4,000 rows with 499 holes, and seven timeframes, stay below the bus's 1 MB."""
    columns = columns_of([minute(n * 2 if n < 500 else 500 + n) for n in range(1, 4_001)])
    decider = SymbolDecider(plan(timeframes=("3m", "5m", "15m", "30m", "1h", "4h", "1d")))
    facts = play(decider, blocks(columns, "1m", 10_000))
    assert len(of(facts, GapFound)) == 499
    assert len(Codec().encode(observed("x", 0, *facts))) < 1_000_000


def test_memory_is_bounded() -> None:
    decider = SymbolDecider(plan(timeframes=("3m",)))
    state = decider.initial()
    flagged = []
    for one in entries(minute(n * 2) for n in range(1, HOLES_MAX + 20)):
        flagged += of(step(decider, state, one), DataFlagged)
    assert len(state.ladder.holes) == HOLES_MAX
    assert {fact.issue for fact in flagged} == {"gap-abandoned"}
    assert len(flagged) == 18
    assert len(state.ladder.frames[0].bars) == OPEN_MAX
    assert len(state.recent) < RECENT_MAX + TRIM
    (late,) = step(decider, state, entry(99_999, minute(3)))
    assert isinstance(late, DataFlagged)
    taker = SymbolDecider(plan(source="trades"))
    state = taker.initial()
    for one in entries(trade(n / 1000, number=str(n)) for n in range(IDS_MAX + 500)):
        step(taker, state, one)
    assert len(state.stream.ids) < IDS_MAX + TRIM


def test_a_bar_that_lost_a_part_to_the_bound_is_never_published() -> None:
    """Half-known bars that had to be forgotten stay unpublished, even if all of their holes get filled."""
    decider = SymbolDecider(plan(timeframes=("2m",)))
    odd = [minute(2 * n) for n in range(1, OPEN_MAX + 10)]
    facts = play(decider, [*odd, *(minute(2 * n + 1) for n in range(1, OPEN_MAX + 9))])
    higher = of(facts, CandleBackfilled, "2m")
    assert {c.count for c in higher} == {2}
    assert len(higher) == OPEN_MAX


def test_a_volume_is_the_venues_own_to_the_last_digit() -> None:
    some = [minute(n, volume=0.1) for n in range(1, 16)]
    (c,) = of(play(SymbolDecider(plan(timeframes=("15m",))), some), Candle, "15m")
    assert c.volume == float(Decimal("1.5"))
    assert sum([0.1] * 15) != 1.5


def test_several_facts_in_one_message_are_one_decision() -> None:
    decider = SymbolDecider(plan(timeframes=("5m",)))
    some = [minute(n) for n in (1, 2, 4, 5, 3)]
    assert play(decider, [some]) == play(decider, some)
    assert np.unique([c.ts for c in candles(columns_of(some), "1m")]).size == 5
