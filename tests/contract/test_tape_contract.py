"""What every tape keeps, whatever it is made of."""

from __future__ import annotations

import asyncio
import random

import pytest

from events.decision import Decision, digest_of
from events.digest import digest
from events.memory import MemoryTape
from events.tape import LostRace, Tape
from infra.tapes import jetstream

from .conftest import Kind
from .making import KINDS, Following, all_of, block, decision, fill
from .races import assert_unbroken, race

BTC = "market.binance.BTC-USDT"
ETH = "market.binance.ETH-USDT"
EMA = "bot.ema"


@pytest.fixture(autouse=True)
def nobody_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits 20 s for a leader of three that may be cut off: here none is."""
    monkeypatch.setattr(jetstream, "STALE_S", 1.0)


async def test_an_empty_tape(tape: Tape) -> None:
    assert await tape.end() == 0
    assert await tape.last(BTC) is None
    assert await all_of(tape.read()) == []
    assert await all_of(tape.read(["bot.>"], after=7)) == []


async def test_append_returns_consecutive_sequences_and_keeps_what_was_given(tape: Tape) -> None:
    first, second = decision("a", 1), decision("b", 2, "trade", cause=1)
    assert await tape.append(BTC, first, expected=0, epoch=7) == 1
    assert await tape.append(EMA, second, expected=0) == 2
    assert await tape.append(BTC, decision("a", 3), expected=1, epoch=8) == 3
    found = await all_of(tape.read())
    assert [(e.seq, e.actor, e.epoch) for e in found] == [(1, BTC, 7), (2, EMA, 0), (3, BTC, 8)]
    assert [e.decision for e in found] == [first, second, decision("a", 3)]
    assert await tape.end() == 3
    assert await tape.last(BTC) == found[2]
    assert await tape.last(EMA) == found[1]
    assert await tape.last("bot.em") is None


async def test_a_message_is_found_by_its_place_and_the_newest_by_a_pattern(tape: Tape) -> None:
    await fill(tape, [BTC, EMA, BTC], 3)
    stored = await all_of(tape.read())
    assert [await tape.entry(entry.seq) for entry in stored] == stored
    assert await tape.entry(0) is None
    assert await tape.entry(len(stored) + 1) is None
    newest = {pattern: await tape.last_match(pattern) for pattern in (f"{BTC}.>", "bot.*.*", ">", "account.>")}
    of_btc, of_bots = ([e.seq for e in stored if e.actor == actor] for actor in (BTC, EMA))
    assert newest == {f"{BTC}.>": of_btc[-1], "bot.*.*": of_bots[-1], ">": stored[-1].seq, "account.>": 0}


async def test_known_at_does_not_go_back(tape: Tape) -> None:
    await fill(tape, [BTC], 20)
    stamps = [entry.known_at for entry in await all_of(tape.read())]
    assert stamps == sorted(stamps)
    assert stamps[0] > 1_600_000_000_000_000  # microseconds, not another unit


@pytest.mark.parametrize("expected", [0, 2, 99])
async def test_another_expectation_loses_the_race_and_appends_nothing(tape: Tape, expected: int) -> None:
    await tape.append(BTC, decision("a", 1), expected=0)
    await tape.append(EMA, decision("b", 1), expected=0)
    with pytest.raises(LostRace, match=f"{BTC}.*expected its last message at {expected}, found 1") as caught:
        await tape.append(BTC, decision("a", 2), expected=expected)
    assert (caught.value.actor, caught.value.expected, caught.value.found) == (BTC, expected, 1)
    assert await tape.end() == 2


async def test_expecting_a_message_where_there_is_none_loses_the_race(tape: Tape) -> None:
    with pytest.raises(LostRace) as caught:
        await tape.append(BTC, decision("a", 1), expected=3)
    assert caught.value.found == 0
    assert await tape.end() == 0


async def test_the_same_decision_again_is_appended_once(tape: Tape) -> None:
    await tape.append(ETH, decision("e", 1), expected=0)
    seq = await tape.append(BTC, decision("a", 1), expected=0)
    await tape.append(EMA, decision("b", 1), expected=0)
    assert await tape.append(BTC, decision("a", 1), expected=0) == seq == 2
    assert await tape.end() == 3


async def test_the_same_decision_of_another_epoch_loses_the_race(opened: Kind) -> None:
    """Two writers of one actor decide alike, for deciders are pure: still only one of them may go on."""
    await opened.tape.append(BTC, decision("a", 1), expected=0, epoch=1)
    for tape in (opened.tape, await opened.another()):
        with pytest.raises(LostRace):
            await tape.append(BTC, decision("a", 1), expected=0, epoch=2)
    assert await opened.tape.end() == 1


async def test_the_same_decision_from_another_handle_is_appended_once(opened: Kind) -> None:
    seq = await opened.tape.append(BTC, decision("a", 1), expected=0)
    another = await opened.another()
    assert await another.append(BTC, decision("a", 1), expected=0) == seq
    assert await another.end() == 1


async def test_the_actors_last_decision_again_after_itself_is_appended_once(opened: Kind) -> None:
    seq = await opened.tape.append(BTC, decision("a", 1), expected=0)
    for tape in (opened.tape, await opened.another()):
        last = await tape.last(BTC)
        assert last is not None
        assert await tape.append(BTC, last.decision, expected=seq) == seq
    assert await opened.tape.end() == 1


async def test_an_older_decision_again_loses_the_race(tape: Tape) -> None:
    await tape.append(BTC, decision("a", 1), expected=0)
    await tape.append(BTC, decision("a", 2), expected=1)
    with pytest.raises(LostRace):
        await tape.append(BTC, decision("a", 1), expected=0)
    assert await tape.end() == 2


async def test_the_same_words_after_others_are_appended_again(tape: Tape) -> None:
    """A feed may say something again, soon, with something else between."""
    for expected, name in enumerate("aba"):
        assert await tape.append(BTC, decision(name, 1), expected=expected) == expected + 1
    assert [entry.decision for entry in await all_of(tape.read())] == [decision(name, 1) for name in "aba"]


async def test_the_same_words_for_another_cause_are_another_decision(opened: Kind) -> None:
    """A cause that stands twice on the tape is answered twice: the answers have one id."""
    await opened.tape.append(BTC, decision("a", 1, cause=3), expected=0)
    assert await opened.tape.append(BTC, decision("a", 1, cause=4), expected=1) == 2
    another = await opened.another()
    assert await another.append(BTC, decision("a", 1, cause=4), expected=1) == 2
    assert await another.append(BTC, decision("a", 1, cause=5), expected=2) == 3


async def test_a_new_handle_goes_on_where_the_other_ended(opened: Kind) -> None:
    await fill(opened.tape, [BTC, EMA], 5)
    another = await opened.another()
    last = await another.last(BTC)
    assert last is not None
    assert await another.append(BTC, decision("next", 1), expected=last.seq) == 6
    assert await opened.tape.end() == 6


async def test_a_whole_block_of_history_is_one_message(tape: Tape) -> None:
    large = block(4_000)
    entry = Decision(digest_of(b"block"), 0, "", int.from_bytes(large.ts[-8:], "little"), (large,))
    await tape.append(BTC, decision("before", 1), expected=0)
    assert await tape.append(BTC, entry, expected=1) == 2
    await tape.append(BTC, decision("after", 1), expected=2)
    assert [e.decision for e in await all_of(tape.read(["market.*.*.candle-block"]))] == [entry]
    assert len(await all_of(tape.read())) == 3


async def test_a_block_as_the_last_message_is_read_back(tape: Tape) -> None:
    large = Decision(digest_of(b"block"), 0, "", 1, (block(4_000),))
    await tape.append(BTC, large, expected=0)
    last = await tape.last(BTC)
    assert last is not None
    assert last.decision == large


PATTERNS: list[list[str]] = [
    [">"],
    ["market.>"],
    ["bot.*.trade"],
    ["*.*.candle"],
    ["market.*.BTC-USDT.*", "bot.ema.>"],
    ["market.*.*.candle", "market.binance.>"],
    ["market.*.BTC-USDT.*", "market.binance.*.candle"],  # these overlap, and neither covers the other
    ["nothing.>"],
    ["bot.ema"],
    [f"bot.b{n}.candle" for n in range(150)] + ["bot.ema.trade"],  # more filters than a consumer takes
    [f"market.v{n}.>" for n in range(150)] + ["*.ema.trade"],
]


async def test_reading_by_patterns_finds_what_the_twin_finds(tape: Tape) -> None:
    twin = MemoryTape("main")
    actors = [BTC, "market.kraken.BTC-USDT", ETH, EMA, "bot.b7", "account.main"]
    for actor, entry in await fill(tape, actors, 40):
        last = await twin.last(actor)
        await twin.append(actor, entry, expected=last.seq if last else 0)
    for patterns in PATTERNS:
        for after in (0, 1, 17, 39, 40):
            found = [(e.seq, e.actor, e.decision) for e in await all_of(tape.read(patterns, after=after))]
            assert found == [(e.seq, e.actor, e.decision) async for e in twin.read(patterns, after=after)], patterns
    assert digest(await all_of(tape.read())) == digest(twin.entries)


async def test_following_sees_old_and_new_once_each_in_order(tape: Tape) -> None:
    await fill(tape, [BTC, ETH, EMA], 30)
    following = Following(tape.follow())
    some = Following(tape.follow(["market.>"], after=10))
    late = Following(tape.follow([f"{EMA}.>"], after=30))
    await following.seen(30)
    await fill(tape, [BTC, ETH, EMA], 60, start=30)
    whole = await all_of(tape.read())
    assert await following.seen(90) == whole
    markets = [e for e in whole if e.seq > 10 and e.actor.startswith("market.")]
    assert await some.seen(len(markets)) == markets
    bots = [e for e in whole if e.seq > 30 and e.actor == EMA]
    assert await late.seen(len(bots)) == bots
    for one in (following, some, late):
        await one.stop()


async def test_following_from_beyond_the_end_waits_for_it(tape: Tape) -> None:
    await fill(tape, [BTC], 2)
    following = Following(tape.follow(after=4))
    await fill(tape, [BTC], 4, start=2)
    assert [entry.seq for entry in await following.seen(2)] == [5, 6]
    await following.stop()


async def test_a_follower_that_acts_on_what_it_sees_misses_nothing(tape: Tape) -> None:
    await fill(tape, [BTC], 1)
    seen = []
    async for entry in tape.follow():
        seen.append(entry.seq)
        if entry.seq == 60:
            break
        if entry.seq % 20 == 1:
            await fill(tape, [BTC, EMA], 20, start=entry.seq)
    assert seen == list(range(1, 61))


async def test_a_reader_that_stops_early_leaves_nothing_behind(tape: Tape) -> None:
    await fill(tape, [BTC], 10)
    entries = tape.read()
    assert (await anext(entries)).seq == 1
    await entries.aclose()  # type: ignore[attr-defined]
    assert len(await all_of(tape.read())) == 10


async def test_appending_while_reading(tape: Tape) -> None:
    await fill(tape, [BTC], 10)
    seen = []
    async for entry in tape.read():
        last = await tape.last(EMA)
        await tape.append(EMA, decision("m", entry.seq, KINDS[entry.seq % 3]), expected=last.seq if last else 0)
        seen.append(entry.seq)
    assert seen[:10] == list(range(1, 11))
    assert await tape.end() == 10 + len(seen)


async def test_writers_of_different_actors_do_not_disturb_each_other(opened: Kind) -> None:
    async def write(tape: Tape, actor: str) -> None:
        expected = 0
        for number in range(40):
            expected = await tape.append(actor, decision(actor, number, cause=expected), expected=expected)

    actors = [f"bot.b{number}" for number in range(6)]
    await asyncio.gather(*[write(await opened.another(), actor) for actor in actors])
    found = await all_of(opened.tape.read())
    assert len(found) == 240
    for actor in actors:
        assert_unbroken([entry for entry in found if entry.actor == actor])


async def test_eight_writers_race_for_one_actor(opened: Kind) -> None:
    """However they race, each decision stands on the one before it, and none stands twice."""
    writers = [await opened.another() for _ in range(8)]
    won = await race(writers, BTC, appends=300, chance=random.Random(8))
    found = await all_of(opened.tape.read([f"{BTC}.>"]))
    assert [(entry.seq, entry.decision.id) for entry in found] == sorted(won)
    assert len(found) == 300
    assert_unbroken(found)
