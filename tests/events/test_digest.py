"""The digest: the same for one history however its actors interleave, another for any other history."""

from __future__ import annotations

import random

import msgspec
import pytest

from events.decision import Decision, Recorded, digest_of
from events.digest import Digest, digest, digest_of_tape
from events.market import Candle
from events.memory import MemoryTape


def history(actors: int = 4, each: int = 10) -> list[Recorded]:
    found = []
    for number in range(actors * each):
        ts = 1_700_000_000_000_000 + number
        facts = (Candle("v", "s", "1m", ts, 1.0, 2.0, 0.5, 1.5, float(number)),)
        name = digest_of(b"%d" % number)
        entry = Decision(name, number, digest_of(name.encode()), ts, facts)
        found.append(Recorded(number + 1, f"bot.b{number % actors}", entry, ts, 1))
    return found


def test_interleaving_makes_no_difference() -> None:
    entries = history()
    expected = digest(entries)
    for seed in range(20):
        queues = [[e for e in entries if e.actor == f"bot.b{n}"] for n in range(4)]
        chance = random.Random(seed)
        mixed = []
        while queues := [queue for queue in queues if queue]:
            mixed.append(chance.choice(queues).pop(0))
        assert digest(mixed) == expected
    assert expected == digest(history())


def test_sequences_ids_and_append_times_make_no_difference() -> None:
    other = [
        Recorded(e.seq + 7, e.actor, msgspec.structs.replace(e.decision, cause=e.decision.cause + 5), e.known_at + 3, 9)
        for e in history()
    ]
    assert digest(other) == digest(history())


def test_an_actors_own_order_makes_a_difference() -> None:
    entries = history()
    entries[0], entries[4] = entries[4], entries[0]
    assert entries[0].actor == entries[4].actor
    assert digest(entries) != digest(history())


@pytest.mark.parametrize(
    "change",
    [
        {"ts": 1},
        {"by": "another"},
        {"facts": (Candle("v", "s", "1m", 1_700_000_000_000_007, 1.0, 2.0, 0.5, 1.5, 7.0000000000000009),)},
        {"facts": (Candle("v", "s", "1m", 1_700_000_000_000_007, 1.0, 2.0, 0.5, 1.5, 7.0, 0),)},
        {"facts": (Candle("v", "S", "1m", 1_700_000_000_000_007, 1.0, 2.0, 0.5, 1.5, 7.0),)},
        {"facts": history()[7].decision.facts * 2},
    ],
)
def test_any_change_of_what_was_decided_makes_a_difference(change: dict[str, object]) -> None:
    entries = history()
    changed = msgspec.structs.replace(entries[7].decision, **change)
    assert changed != entries[7].decision
    entries[7] = msgspec.structs.replace(entries[7], decision=changed)
    assert digest(entries) != digest(history())
    own = {name for name, chain in _by_actor(entries).items() if chain != _by_actor(history())[name]}
    assert own == {entries[7].actor}


def test_which_actor_decided_makes_a_difference() -> None:
    entries = history()
    entries[-1] = msgspec.structs.replace(entries[-1], actor="bot.b2")
    assert digest(entries) != digest(history())
    assert digest(history()[:-1]) != digest(history())


def test_inputs_without_a_cause_are_passed_over() -> None:
    entries = history()
    feed = Recorded(99, "feed.v.s", Decision("x", 0, "", 1, entries[0].decision.facts))
    assert digest([feed, *entries, feed]) == digest(entries)
    assert digest([feed]) == digest([])


async def test_the_digest_of_a_tape_is_that_of_its_entries() -> None:
    tape = MemoryTape()
    last: dict[str, int] = {}
    for entry in history():
        last[entry.actor] = await tape.append(entry.actor, entry.decision, expected=last.get(entry.actor, 0))
    assert await digest_of_tape(tape.read()) == digest(history())


def _by_actor(entries: list[Recorded]) -> dict[str, str]:
    found = Digest()
    for entry in entries:
        found.add(entry.actor, entry.decision)
    return found.by_actor()
