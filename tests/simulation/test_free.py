"""Hundreds of seeded runs of actors that run freely, under the same faults."""

from __future__ import annotations

from tests.simulation.scenario import seeds


def test_whatever_happens_every_decision_is_there_once_and_follows_from_the_tape() -> None:
    assert {"died before", "died after", "everything was", "called market.sim.A", "snapshots used"} <= set(
        seeds(lockstep=False)
    )
