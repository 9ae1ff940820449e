"""Which actors share a process."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from infra.session.placement import groups, name

counts = st.tuples(st.integers(1, 40), st.integers(0, 5), st.integers(0, 60))


def actors(symbols: int, accounts: int, bots: int) -> list[str]:
    return [
        *(f"market.sim.S{n:02}" for n in range(symbols)),
        *(f"account.a{n}" for n in range(accounts)),
        *(f"bot.b{n:02}" for n in range(bots)),
    ]


def test_few_have_a_process_each() -> None:
    every = actors(3, 1, 4)
    assert groups(every, 8) == [(actor,) for actor in every]


def test_many_are_packed_by_entity_in_proportion() -> None:
    found = groups(actors(25, 1, 30), 8)
    assert [(name(group), len(group)) for group in found] == [
        ("market.sim.S00+6", 7), ("market.sim.S07+6", 7), ("market.sim.S14+6", 7), ("market.sim.S21+3", 4),
        ("account.a0", 1),
        ("bot.b00+7", 8), ("bot.b08+7", 8), ("bot.b16+7", 8), ("bot.b24+5", 6),
    ]  # fmt: skip


@given(counts, st.integers(1, 40))
def test_everybody_is_placed_once_in_rank_order_and_entities_never_mix(
    numbers: tuple[int, int, int], processes: int
) -> None:
    every = actors(*numbers)
    found = groups(every, processes)
    assert list(chain.from_iterable(found)) == every
    assert all(len({actor.partition(".")[0] for actor in group}) == 1 for group in found)
    assert all(found)
    assert len({name(group) for group in found}) == len(found)
    entities = sum(count > 0 for count in numbers)
    assert len(found) <= processes + entities  # every entity has one at least, and shares are rounded
