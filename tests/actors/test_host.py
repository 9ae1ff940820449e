"""The host over a tape: restarts, lost races, claims and poison."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from actors.decider import Decider, Poison
from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.recall import recall
from actors.roster import deciders
from actors.shell import Host, Worker
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.control import ActorClaimed, BotPaused, PauseBot
from events.decision import Decision, Recorded, derived
from events.digest import digest
from events.feed import command, observed
from events.market import Candle
from events.memory import MemoryTape
from events.tape import LostRace
from events.timeframe import MINUTE

FEED, MARKET, BOT = subjects.feed("sim", "A"), subjects.market("sim", "A"), subjects.bot("b")
START = 1_700_000_040_000_000


class Turns(Strategy):
    """Long, flat, long, flat; breaks on the candle that closes at 13."""

    def __init__(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        if candle.close == 13:
            raise LookupError("thirteen")
        self.seen += 1
        return Target(float(self.seen % 2))


def plan() -> Plan:
    bot = BotPlan(name="b", venue="sim", symbol="A", strategy=f"{__name__}:Turns")
    return Plan(symbols=(SymbolPlan(venue="sim", symbol="A"),), bots=(bot,), accounts=(AccountPlan(),))


def message(minute: int, close: float = 10.0) -> Decision:
    ts = START + minute * MINUTE
    return observed(FEED, ts, Candle("sim", "A", "1m", ts, 10.0, 20.0, 5.0, close, 100.0))


def put(tape: MemoryTape, actor: str, decision: Decision, epoch: int = 0) -> Recorded:
    last = tape._last.get(actor)
    return tape.put(actor, decision, expected=last.seq if last else 0, epoch=epoch)


def only(*actors: str) -> list[Decider[Any]]:
    return [decider for decider in deciders(plan()) if decider.actor in actors]


async def settled(tape: MemoryTape, *hosts: Host) -> None:
    """Runs the hosts until nothing more happens; in memory, a few turns of the loop without news are the end."""
    running = [asyncio.ensure_future(host.run()) for host in hosts]
    end, quiet = -1, 0
    while quiet < 20 and not any(task.done() for task in running):
        await asyncio.sleep(0)
        quiet, end = (quiet + 1, end) if end == len(tape.entries) else (0, len(tape.entries))
    failed = [task for task in running if task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for task in failed:
        task.result()


def canonical(minutes: Sequence[int]) -> str:
    tape: list[Recorded] = []
    loop = Lockstep(deciders(plan()), tape.append)
    for minute in minutes:
        loop.feed(FEED, message(minute))
    return digest(tape)


def made_by(tape: MemoryTape, actor: str) -> list[Recorded]:
    return [entry for entry in tape.entries if entry.actor == actor and entry.decision.by]


async def test_a_restart_takes_what_is_recorded_and_decides_the_rest() -> None:
    tape = MemoryTape()
    decided = []
    for minute in range(1, 7):
        put(tape, FEED, message(minute))
        host = Host(deciders(plan()), tape)
        await settled(tape, host)
        decided.append(host.decided)
    assert digest(tape.entries) == canonical(range(1, 7))
    assert len(made_by(tape, BOT)) == 6
    assert sum(decided) == sum(1 for entry in tape.entries if entry.decision.by)
    assert min(decided) > 0
    idle = Host(deciders(plan()), tape)
    await settled(tape, idle)
    assert idle.decided == 0


async def test_a_process_for_each_actor_comes_to_the_same_as_one_for_all() -> None:
    tape = MemoryTape()
    for minute in range(1, 7):
        put(tape, FEED, message(minute))
        await settled(tape, *(Host([decider], tape) for decider in deciders(plan())))
    assert digest(tape.entries) == canonical(range(1, 7))


async def test_every_start_claims_a_higher_epoch_and_what_is_decided_carries_it() -> None:
    tape = MemoryTape()
    for minute in (1, 2, 3):
        put(tape, FEED, message(minute))
        await settled(tape, Host(only(MARKET, BOT), tape))
    claims = [fact for entry in tape.entries for fact in entry.decision.facts if isinstance(fact, ActorClaimed)]
    assert [claim.epoch for claim in claims if claim.actor == BOT] == [1, 2, 3]
    assert len({claim.writer for claim in claims if claim.actor == BOT}) == 3
    assert [entry.epoch for entry in made_by(tape, BOT)] == [1, 2, 3]


async def test_a_zombie_loses_and_leaves_nothing_behind() -> None:
    tape = MemoryTape()
    await settled(tape, Host(only(MARKET), tape))
    zombie = asyncio.ensure_future(Host(only(BOT), tape).run())
    await asyncio.sleep(0)
    while not any(entry.actor == BOT for entry in tape.entries):  # noqa: ASYNC110 - a claim, some turns of the loop on
        await asyncio.sleep(0)
    await settled(tape, Host(only(BOT), tape))  # takes over, and is gone again
    put(tape, FEED, message(1))
    put(tape, MARKET, derived(MARKET, tape.entries[-1], tape.entries[-1].decision.facts), epoch=1)
    with pytest.raises(LostRace, match=r"another writer is at work as bot\.b"):
        await zombie
    assert made_by(tape, BOT) == []


class Overtaken(MemoryTape):
    """A tape on which another process decides for the bot just before this one's append."""

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        if actor == BOT and decision.by and len(made_by(self, BOT)) == 0:
            put(self, BOT, Decision("other", 0, "", 0, (BotPaused("b", 0, "the other one"),)), epoch=epoch + 1)
        return await super().append(actor, decision, expected=expected, epoch=epoch)


async def test_a_lost_race_ends_the_loser_before_anything_else_is_appended() -> None:
    tape = Overtaken()
    put(tape, FEED, message(1))
    put(tape, FEED, message(2))
    await settled(tape, Host(only(MARKET), tape))
    host = Host(only(BOT), tape)
    with pytest.raises(LostRace):
        await settled(tape, host)
    assert host.decided == 0
    assert tape.entries[-1].decision.id == "other"
    assert host.at < tape.entries[-1].seq


async def test_a_claim_in_between_is_read_up_on() -> None:
    """An earlier writer that appends between the recall and the claim: its decision counts."""
    tape = MemoryTape()
    put(tape, FEED, message(1))
    await settled(tape, Host(only(MARKET), tape))
    candle = made_by(tape, MARKET)[0]
    host = Host(only(BOT), tape)
    await recall(host.seats, {}, tape, partial(asyncio.sleep, 0))
    sitting = Host(only(BOT), tape)
    await settled(tape, sitting)
    assert sitting.decided == 1
    await host._claim(host.seats[0])
    async with asyncio.TaskGroup() as appends:
        await host._deal(candle, appends)
    assert host.decided == 0  # it took what the other one had decided
    assert host.seats[0].epoch == 2


async def test_poison_ends_the_run_and_says_who_and_where() -> None:
    tape = MemoryTape()
    put(tape, FEED, message(1))
    put(tape, FEED, message(2, close=13.0))
    await settled(tape, Host(only(MARKET), tape))
    where = made_by(tape, MARKET)[1].seq
    for _ in range(2):  # again after a restart
        host = Host(only(BOT), tape)
        with pytest.raises(Poison, match=r"LookupError: thirteen") as found:
            await settled(tape, host)
        assert (found.value.actor, found.value.seq) == (BOT, where)
        assert host.at < where
    assert len(made_by(tape, BOT)) == 1


async def test_a_recorded_decision_that_was_never_due_is_poison() -> None:
    tape = MemoryTape()
    pause = put(tape, subjects.COMMAND, command(PauseBot("other", START, "me", ""), START))
    put(tape, BOT, derived(BOT, pause, (BotPaused("b", START, ""),)))  # it does not hear of other bots
    put(tape, FEED, message(1))
    await settled(tape, Host(only(MARKET), tape))
    with pytest.raises(Poison, match=r"holds a decision of it caused by 1, which it never hears"):
        await settled(tape, Host(only(BOT), tape))


async def test_an_entry_delivered_twice_is_dealt_with_once() -> None:
    tape = MemoryTape()
    put(tape, FEED, message(1))
    host = Host(only(MARKET), tape)
    await host._claim(host.seats[0])
    async with asyncio.TaskGroup() as appends:
        for _ in range(2):
            await host._deal(tape.entries[0], appends)
    assert host.decided == 1
    assert len(made_by(tape, MARKET)) == 1


async def test_a_process_that_is_told_to_run_again_ends_what_it_was_at() -> None:
    """Ray says of a call that it is lost, and it may be at work all the same: two loops would fence each other."""
    tape = MemoryTape()

    async def connect() -> tuple[MemoryTape, None]:
        return tape, None

    worker = Worker(lambda: deciders(plan()), connect)
    calls = []
    for minute in (1, 2, 3):
        calls.append(asyncio.ensure_future(worker.run()))
        put(tape, FEED, message(minute))
        for _ in range(300):  # turns of the loop: in memory, that is enough to claim and to answer a candle
            await asyncio.sleep(0)
        assert [call.done() for call in calls] == [True] * (minute - 1) + [False]
    calls[-1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    gc.unfreeze()  # what a process does for good is not for all tests
    assert all(call.cancelled() for call in calls)
    claims = [entry for entry in tape.entries if entry.decision.kind == "actor-claimed" and entry.actor == BOT]
    assert [entry.epoch for entry in claims] == [1, 2, 3]
    causes = [(entry.actor, entry.decision.by) for entry in tape.entries if entry.decision.by]
    assert len(causes) == len(set(causes)) > 6
