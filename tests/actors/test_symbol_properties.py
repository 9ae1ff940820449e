"""What holds for a symbol's decider whatever the feed does: duplicates, disorder, holes, corrections, garbage."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.symbol import SymbolDecider
from events.control import Quarantined, Unreadable
from events.decision import Recorded
from events.fact import Fact
from events.market import (
    Candle,
    CandleBackfilled,
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
from events.timeframe import micros
from tests.actors.symbols import (
    MINUTE,
    T0,
    Row,
    S,
    V,
    bars,
    blocks,
    columns_of,
    entries,
    minute,
    of,
    plan,
    play,
    same,
    step,
)

HIGHER = ("3m", "5m", "15m")
MINUTES = 60

prices = st.integers(9_000, 11_000).map(lambda ticks: ticks / 100)
volumes = st.integers(0, 10**9).map(lambda lots: lots / 10**8)


@st.composite
def honest(draw: st.DrawFn, number: int) -> Candle:
    o, c, a, b = (draw(prices) for _ in range(4))
    low, high = min(o, c, a, b), max(o, c, a, b)
    return minute(number, o, draw(volumes), low=low, high=high, close=c, count=draw(st.none() | st.integers(0, 9)))


@st.composite
def garbage(draw: st.DrawFn) -> Fact:
    c = draw(honest(draw(st.integers(1, MINUTES))))
    wrong: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"open": math.nan},
                {"high": math.inf},
                {"close": 0.0},
                {"low": -1.0},
                {"volume": -1.0},
                {"volume": math.nan},
                {"high": c.low / 2},
                {"open": c.high * 2},
                {"ts": c.ts + 1},
                {"ts": MINUTE},
                {"ts": 7_258_118_400_000_000},
                {"venue": "other"},
                {"symbol": "ETH-USDT"},
                {"timeframe": "5m"},
                {"count": -1},
            ]
        )
    )
    if draw(st.booleans()):
        return Unreadable("t.feed.x", "not JSON", draw(st.binary(min_size=1, max_size=20)))
    return msgspec.structs.replace(c, **wrong)


@st.composite
def feeds(draw: st.DrawFn) -> list[tuple[Fact, ...]]:
    """Minutes in rough order with everything that can go wrong, one or several in a message."""
    numbers = draw(st.lists(st.integers(1, MINUTES), min_size=1, max_size=60))
    if draw(st.booleans()):
        numbers.sort()
    facts: list[Fact] = []
    for number in numbers:
        facts.append(draw(honest(number)))
        again = draw(st.integers(0, 9))
        if again == 0:
            facts.append(facts[-1])
        elif again == 1:
            facts.append(draw(garbage()))
        elif again == 2:
            facts.append(Quote(V, S, T0, 1.0, 1.0, 2.0, 1.0))
    messages, at = [], 0
    while at < len(facts):
        size = draw(st.sampled_from([1, 1, 1, 2, 5]))
        messages.append(tuple(facts[at : at + size]))
        at += size
    return messages


def resampled(base: dict[int, Row], timeframe: str) -> pd.DataFrame:
    """An independent resample with pandas; volumes as exact integers of 1e-8."""
    table = pd.DataFrame.from_dict(base, orient="index", columns=["o", "h", "l", "c", "v", "n"]).sort_index()
    table["v"] = [int(Decimal(repr(volume)).scaleb(8)) for volume in table["v"]]
    table["rows"] = 1
    table["n"] = table["n"].astype("Float64")
    table.index = pd.to_datetime(table.index, unit="us")
    rule = f"{micros(timeframe) // MINUTE}min"
    how = {"o": "first", "h": "max", "l": "min", "c": "last", "v": "sum", "rows": "sum"}
    groups = table.resample(rule, label="right", closed="right", origin="epoch")
    found = groups.agg(how)
    found["n"] = groups["n"].sum(min_count=0).where(groups["n"].count() == found["rows"])
    return found[found["rows"] > 0]


def check_higher(facts: list[Fact], flat: bool, first: int, last: int) -> None:
    base = bars(facts, "1m")
    for name in HIGHER:
        length, wanted = micros(name), {}
        for stamp, row in resampled(base, name).iterrows():
            end = int(pd.Timestamp(str(stamp)).value) // 1_000
            full = row["rows"] == length // MINUTE if flat else end - length >= first - MINUTE and end <= last
            if full and end - length >= first - MINUTE:
                count = None if pd.isna(row["n"]) else int(row["n"])
                volume = float(Decimal(int(row["v"])).scaleb(-8))
                wanted[end] = (row["o"], row["h"], row["l"], row["c"], volume, count)
        same(bars(facts, name), wanted)


@settings(max_examples=60, deadline=None)  # no deadline: the machine that runs this may be busy
@given(feeds(), st.booleans())
def test_any_feed_of_candles(messages: list[tuple[Fact, ...]], flat: bool) -> None:
    decider = SymbolDecider(plan(timeframes=HIGHER, empty="flat" if flat else "omit"))
    facts = play(decider, messages)
    sent = [fact for message in messages for fact in message]
    base = bars(facts, "1m")
    stamps = [c.ts for c in of(facts, Candle, "1m")]
    assert stamps == sorted(set(stamps))
    if stamps:
        check_holes(facts, set(base), flat, stamps)
        check_higher(facts, flat, stamps[0], stamps[-1])
    check_nothing_vanished(sent, facts)


def check_holes(facts: list[Fact], have: set[int], flat: bool, stamps: list[int]) -> None:
    found = {(gap.first, gap.last): gap for gap in of(facts, GapFound)}
    filled = {(gap.first, gap.last) for gap in of(facts, GapFilled)}
    assert filled <= found.keys()
    expected = set(range(stamps[0], stamps[-1] + 1, MINUTE)) if flat else set()
    missing: set[int] = set()
    for span, gap in found.items():
        closes = set(range(gap.first, gap.last + 1, MINUTE))
        assert len(closes) == gap.missing
        assert not closes & missing
        assert (not closes - have) == (span in filled)
        missing |= closes
    assert missing - have == expected - have


def check_nothing_vanished(sent: list[Fact], facts: list[Fact]) -> None:
    """Every input is published, flagged, or in quarantine with its content."""
    candles = [fact for fact in sent if isinstance(fact, Candle)]
    kept = Counter(type(fact) for fact in facts if getattr(fact, "timeframe", "1m") == "1m")
    flagged = sum(fact.issue in ("duplicate", "late") for fact in of(facts, DataFlagged))
    quarantined = of(facts, Quarantined)
    unreadable = [fact.raw for fact in sent if isinstance(fact, Unreadable)]
    published = kept[Candle] + kept[CandleBackfilled] + kept[CandleRevised]
    assert published + flagged + len(quarantined) == len(candles) + len(unreadable)
    assert [one.raw for one in quarantined if one.reason == "unreadable"] == unreadable
    originals = [repr(fact) for fact in candles]
    for one in quarantined:
        if one.reason != "unreadable":
            content = json.loads(one.raw)
            assert content.pop("type") == "candle/1"
            assert repr(Candle(**content)) in originals


def check_replay(decider: SymbolDecider, inputs: list[Recorded]) -> None:
    """Deciding is pure and repeatable, and recorded decisions lead to the same state and the same continuation."""
    fresh, recorded = decider.initial(), decider.initial()
    half = len(inputs) // 2
    for place, one in enumerate(inputs):
        decider.observe(fresh, one)
        before = copy.deepcopy(fresh)
        facts = decider.decide(fresh, one)
        assert decider.decide(fresh, one) == facts or "nan" in repr(facts)
        assert fresh == before
        for fact in facts:
            decider.evolve(fresh, fact)
        if place < half:
            decider.observe(recorded, one)
            for fact in facts:
                decider.evolve(recorded, fact)
            assert recorded == fresh
        else:
            assert repr(step(decider, recorded, one)) == repr(facts)
    assert recorded == fresh
    assert list(recorded.recent) == list(fresh.recent)


@settings(max_examples=60, deadline=None)
@given(feeds(), st.booleans())
def test_recorded_decisions_lead_to_the_same_state(messages: list[tuple[Fact, ...]], flat: bool) -> None:
    check_replay(SymbolDecider(plan(timeframes=HIGHER, empty="flat" if flat else "omit")), entries(messages))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans(), st.integers(1, 30), st.integers(0, 60))
def test_blocks_say_what_single_candles_say(data: st.DataObject, flat: bool, size: int, split: int) -> None:
    """However history is cut into blocks, and wherever live begins, the bars, gaps and the rest of the state agree."""
    numbers = sorted(data.draw(st.sets(st.integers(1, MINUTES), min_size=1)))
    some = [msgspec.structs.replace(data.draw(honest(number)), count=None) for number in numbers]
    decider = SymbolDecider(plan(timeframes=HIGHER, empty="flat" if flat else "omit"))
    history = blocks(columns_of(some[:split]), "1m", size) if some[:split] else []
    one, other = play(decider, some), play(decider, [*history, *some[split:]])
    for name in ("1m", *HIGHER):
        same(bars(other, name), bars(one, name))
    assert of(other, GapFound) == of(one, GapFound)
    assert end_of(decider, some) == end_of(decider, [*history, *some[split:]])
    if history:
        check_replay(decider, entries([*history, *some[split:]]))


def end_of(decider: SymbolDecider, messages: list[Any]) -> Any:
    state = decider.initial()
    for one in entries(messages):
        step(decider, state, one)
    return state.last, state.close, state.ladder


@settings(max_examples=30, deadline=None)
@given(st.data(), st.booleans())
def test_late_rows_of_blocks_fill_holes(data: st.DataObject, single: bool) -> None:
    """A hole filled by a block or by single bars: nothing is missing in the end, in any timeframe."""
    whole = [msgspec.structs.replace(data.draw(honest(number)), count=None) for number in range(1, 31)]
    gone = data.draw(st.sets(st.integers(1, 28), min_size=1))
    first = [c for at, c in enumerate(whole) if at not in gone]
    rest = [c for at, c in enumerate(whole) if at in gone]
    decider = SymbolDecider(plan(timeframes=HIGHER))
    late: list[Fact] = list(data.draw(st.permutations(rest))) if single else list(blocks(columns_of(rest), "1m", 7))
    facts = play(decider, [*first, *late])
    for name in ("1m", *HIGHER):
        same(bars(facts, name), bars(play(decider, whole), name))
    key = [(gap.first, gap.last, gap.missing) for gap in of(facts, GapFound)]
    assert sorted((gap.first, gap.last, gap.missing) for gap in of(facts, GapFilled)) == key
    check_replay(decider, entries([*first, *late]))


@st.composite
def trade_feeds(draw: st.DrawFn) -> list[tuple[Fact, ...]]:
    """Trades of an hour with ids, some again, some late, and a stream that breaks and comes back."""
    facts: list[Fact] = []
    clock = T0 + draw(st.integers(0, MINUTE))
    for number in range(draw(st.integers(1, 40))):
        clock += draw(st.sampled_from([0, 1, MINUTE // 7, MINUTE // 2, MINUTE, 3 * MINUTE]))
        act = draw(st.integers(0, 15))
        if act == 0:
            facts.append(FeedInterrupted(V, S, clock, "down"))
        elif act == 1:
            facts.append(FeedOpened(V, S, clock, clock - draw(st.sampled_from([0, 1, MINUTE, 5 * MINUTE]))))
        elif act == 2:
            facts.append(FeedHeartbeat(V, S, clock))
        elif act == 3 and any(isinstance(fact, Trade) for fact in facts):
            facts.append(draw(st.sampled_from([fact for fact in facts if isinstance(fact, Trade)])))
        else:
            late = draw(st.sampled_from([0, 0, 0, 1, MINUTE]))
            facts.append(Trade(V, S, clock - late, draw(prices), draw(volumes), "buy", str(number)))
    messages, at = [], 0
    while at < len(facts):
        size = draw(st.sampled_from([1, 1, 3]))
        messages.append(tuple(facts[at : at + size]))
        at += size
    return messages


@settings(max_examples=100, deadline=None)
@given(trade_feeds(), st.booleans())
def test_any_feed_of_trades(messages: list[tuple[Fact, ...]], flat: bool) -> None:
    decider = SymbolDecider(plan(source="trades", timeframes=HIGHER, empty="flat" if flat else "omit"))
    facts = play(decider, messages)
    found = bars(facts, "1m")
    stamps = list(found)
    assert stamps == sorted(stamps)
    missing = {ts for gap in of(facts, GapFound) for ts in range(gap.first, gap.last + 1, MINUTE)}
    assert not missing & set(stamps)
    settled = sorted(missing | set(stamps))
    if flat and settled:
        assert settled == list(range(settled[0], settled[-1] + 1, MINUTE)), "every minute is a bar or a gap"
    late = {fact.detail for fact in of(facts, DataFlagged) if fact.issue == "late"}
    taken: dict[str, Trade] = {}
    for message in messages:
        for fact in message:
            if isinstance(fact, Trade) and f"the bar is closed: {fact}" not in late:
                taken.setdefault(fact.id, fact)
    inside: dict[int, list[Trade]] = {}
    for trade in taken.values():
        inside.setdefault(trade.ts - trade.ts % MINUTE + MINUTE, []).append(trade)
    for ts, row in found.items():
        if row[5] == 0:
            assert flat
            assert ts not in inside
            assert row[4] == 0.0
        else:
            of_it = sorted(inside[ts], key=lambda trade: trade.ts)
            values = [trade.price for trade in of_it]
            volume = float(sum((Decimal(repr(trade.qty)) for trade in of_it), Decimal(0)))
            assert row == (values[0], max(values), min(values), values[-1], volume, len(of_it))
    for message in messages:
        for fact in message:
            if isinstance(fact, FeedInterrupted):
                check_no_bar_over_a_hole(messages, fact, found)
    state = decider.initial()
    for one in entries(messages):
        step(decider, state, one)
    check_higher_of_trades(facts, flat, missing, state.ladder.since, state.last if flat else state.stream.reached)
    check_replay(decider, entries(messages))


def check_higher_of_trades(facts: list[Fact], flat: bool, missing: set[int], since: int, through: int) -> None:
    """A higher bar is there if its time is over, no minute of it is a gap, and the stream was there from its start."""
    base = bars(facts, "1m")
    for name in HIGHER:
        length, wanted = micros(name), {}
        for stamp, row in (resampled(base, name) if base else pd.DataFrame()).iterrows():
            end = int(pd.Timestamp(str(stamp)).value) // 1_000
            torn = any(end - length < ts <= end for ts in missing)
            if since <= end - length and end <= through and not torn:
                volume = float(Decimal(int(row["v"])).scaleb(-8))
                wanted[end] = (row["o"], row["h"], row["l"], row["c"], volume, int(row["n"]))
                assert not flat or row["rows"] == length // MINUTE
        same(bars(facts, name), wanted)
        order = [fact.ts for fact in of(facts, Candle) if fact.timeframe in ("1m", name)]
        assert order == sorted(order), "a higher bar stands before the base bars that come after it"


def check_no_bar_over_a_hole(messages: list[tuple[Fact, ...]], broken: FeedInterrupted, found: dict[int, Row]) -> None:
    """A break inside a minute, mended only in a later one: the minute of the break was never whole."""
    after = [fact for message in messages for fact in message]
    after = after[after.index(broken) + 1 :]
    opened = next((fact for fact in after if isinstance(fact, FeedOpened | Trade)), None)
    if isinstance(opened, FeedOpened):
        end = broken.ts - broken.ts % MINUTE + MINUTE
        others = [fact for fact in after if isinstance(fact, FeedOpened)]
        if all(fact.complete_from > broken.ts for fact in others):
            assert end not in found or (broken.ts % MINUTE == 0 and opened.complete_from <= broken.ts)


def test_exact_volumes_whatever_their_decimals() -> None:
    """Columns and single bars add up alike, also where volumes have more digits than an integer sum could hold."""
    numbers = [0.1, 0.2, 0.30000000000000004, 1e-12, 123456789.123456, 5e15, 7.0, 1 / 3, 1e17]
    some = [minute(number, volume=volume) for number, volume in enumerate([*numbers, *numbers[:6]], 1)]
    decider = SymbolDecider(plan(timeframes=HIGHER))
    live = play(decider, some)
    same(bars(play(decider, blocks(columns_of(some), "1m", 100)), "15m"), strip(bars(live, "15m")))
    total = sum((Decimal(repr(c.volume)) for c in some), Decimal(0))
    assert next(iter(bars(live, "15m").values()))[4] == float(total)


def strip(found: dict[int, Row]) -> dict[int, Row]:
    return {ts: (*row[:5], None) for ts, row in found.items()}
