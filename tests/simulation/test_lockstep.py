"""Hundreds of seeded runs in lock-step: crashes, doubled and late delivery, lost messages, zombies, lost races."""

from __future__ import annotations

import asyncio

import pytest

from actors.account.book import LEVELS
from actors.roster import deciders
from events import subjects
from events.control import PauseBot, ReleaseTrading, RestrictTrading, ResumeBot, TradingRestricted
from events.feed import command
from tests.simulation.clock import run
from tests.simulation.scenario import audited, finished, market, plan, seeds
from tests.simulation.world import Bus, World


def test_whatever_happens_the_tape_is_that_of_the_undisturbed_run() -> None:
    assert {"died before", "died after", "everything was", "called market.sim.A", "snapshots used"} <= set(
        seeds(lockstep=True)
    )


def test_the_simulation_would_see_a_doubled_decision() -> None:
    world = World(plan(), market(1), 1, faults=0)
    run(world.play(lockstep=True))
    decided = next(entry for entry in world.tape.entries if entry.actor == "account.main" and entry.decision.by)
    newest = world.tape._last["account.main"]
    world.tape.put(decided.actor, decided.decision, expected=newest.seq, epoch=newest.epoch + 1)
    with pytest.raises(AssertionError, match="nothing follows"):
        audited(world)


def test_an_operator_is_obeyed_amid_faults_and_every_decision_follows_from_the_tape() -> None:
    """Answers to commands wait for no permit, and an account's answers before them neither: never a lost turn."""
    for seed in range(20):
        told = [RestrictTrading("*", ts, "me", level, "") for ts, level in enumerate(LEVELS[1:])]
        told = [
            told[0],
            PauseBot("*", 1, "me", ""),
            ReleaseTrading("*", 5, "me", ""),
            *told[1:],
            ResumeBot("*", 6, "me", ""),
        ]
        world = World(plan(), market(seed), seed, commands=told)
        run(finished(world, lockstep=True))
        audited(world)
        answers = [f for e in world.tape.entries for f in e.decision.facts if isinstance(f, TradingRestricted)]
        given = sum(isinstance(f, RestrictTrading) for e in world.tape.entries for f in e.decision.facts)
        assert len(answers) == given
        assert given > 0


def test_accounts_obey_while_a_bot_does_not_answer_and_the_market_stands_still() -> None:
    run(_one_bot_is_silent())


async def _one_bot_is_silent() -> None:
    """The others have decided on what the silent one has not, and the account waits for a turn behind it."""
    world = World(plan(), market(3), 3, faults=0)
    bus, names = Bus(world.faults), [decider.actor for decider in deciders(world.plan)]
    hosts = [asyncio.ensure_future(world._process((name,), bus, 0)) for name in names if name != "bot.two"]
    conducting = asyncio.ensure_future(world._conduct(bus, deciders(world.plan), 0, True))
    await asyncio.sleep(60)  # virtual: long after nothing moves any more
    still = len(world.tape.entries)
    message = command(RestrictTrading("*", 1, "me", "flatten", ""), 1)
    asked = await world.tape.append(subjects.COMMAND, message, expected=0)
    await asyncio.sleep(3)  # virtual: more than the second after which accounts are let go on
    found = world.tape.entries[still:]
    assert any(isinstance(fact, TradingRestricted) for one in found for fact in one.decision.facts)
    assert not [one for one in found if one.actor.startswith("feed.")]
    assert found[-1].decision.cause == asked
    hosts.append(asyncio.ensure_future(world._process(("bot.two",), bus, 0)))
    await asyncio.wait_for(conducting, 3600)
    for host in hosts:
        host.cancel()
    await asyncio.gather(*hosts, return_exceptions=True)
    audited(world)
