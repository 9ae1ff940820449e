"""Hundreds of seeded runs in lock-step: crashes, doubled and late delivery, lost messages, zombies, lost races."""

from __future__ import annotations

import pytest

from tests.simulation.clock import run
from tests.simulation.scenario import audited, market, plan, seeds
from tests.simulation.world import World


def test_whatever_happens_the_tape_is_that_of_the_undisturbed_run() -> None:
    assert {"died before", "died after", "everything was", "called market.sim.A"} <= set(seeds(lockstep=True))


def test_the_simulation_would_see_a_doubled_decision() -> None:
    world = World(plan(), market(1), 1, faults=0)
    run(world.play(lockstep=True))
    decided = next(entry for entry in world.tape.entries if entry.actor == "account.main" and entry.decision.by)
    newest = world.tape._last["account.main"]
    world.tape.put(decided.actor, decided.decision, expected=newest.seq, epoch=newest.epoch + 1)
    with pytest.raises(AssertionError, match="nothing follows"):
        audited(world)
