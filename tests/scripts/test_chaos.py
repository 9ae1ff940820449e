"""How a campaign is drawn and told, without one."""

from __future__ import annotations

import random

import pytest

from scripts.chaos.campaign import Hit, drawn
from scripts.chaos.kinds import KINDS
from scripts.chaos.report import table


def test_a_seed_draws_the_same_faults_and_every_kind() -> None:
    def draw(seed: int) -> list[list[str]]:
        return [[kind.name for kind in volley] for volley in drawn(KINDS, 200, random.Random(seed), 0.5)]

    assert draw(1) == draw(1) != draw(2)
    names = [name for volley in draw(1) for name in volley]
    assert len(names) == 200
    assert set(names) == {kind.name for kind in KINDS}


def test_alone_every_fault_is_a_volley() -> None:
    assert all(len(volley) == 1 for volley in drawn(KINDS, 60, random.Random(3), 0.0))


def test_too_few_for_every_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        drawn(KINDS, len(KINDS) - 1, random.Random(1), 0.5)


def test_the_table_counts_by_kind() -> None:
    hits = [Hit(1, "ack lost", "x", 0.0, 5.0), Hit(2, "ack lost", "y", 0.0, 7.0), Hit(3, "cut", "z", 1.0, 0.5)]
    lines = table(hits).splitlines()
    assert lines[2:] == [
        "| ack lost | 2 | 0.0 | 6.0 | 7.0 |",
        "| cut | 1 | 1.0 | 0.5 | 0.5 |",
        "| all | 3 | 0.0 | 5.0 | 7.0 |",
    ]
