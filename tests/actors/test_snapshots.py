"""Snapshots: a cache. Whatever is kept, lost, torn or mixed up, the decisions are those of the tape."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import keeper, shell
from actors.keeper import PASSIVE
from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Limits, Plan, SymbolPlan
from actors.roster import deciders
from actors.seat import Seat
from actors.shell import Host
from actors.snapshot import Place, Snapshot, Unfit, frozen, packed, thawed, unpacked
from actors.strategies import Position, Strategy, Target
from actors.upkeep import SnapshotGone
from events import subjects
from events.decision import Decision, Recorded
from events.digest import Digest, digest
from events.feed import observed
from events.market import Candle
from events.memory import MemoryTape
from events.timeframe import MINUTE
from infra.session.snapshots import KEPT, upkeep

START = 1_700_000_040_000_000 // MINUTE * MINUTE
FEED, MARKET = subjects.feed("sim", "A"), subjects.market("sim", "A")
DICE = "tests.infra.columnar"
STRATEGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "cross": ("ema-cross", {"fast": 2, "slow": 5, "short": True, "stop_atr": 1.0, "target_atr": 2.0}),
    "breakout": ("breakout", {}),
    "momentum": ("momentum", {}),
    "dice": (f"{DICE}:Dice", {"seed": 3, "fussy": True}),
    "limits": (f"{DICE}:Dice", {"seed": 4, "order": "limit"}),
    "stops": (f"{DICE}:Dice", {"seed": 5, "order": "stop", "often": 3}),
    "watchful": (f"{DICE}:Watchful", {"seed": 6}),
    "sma": ("tests.published.strategies:SmaFlip", {}),
}


class Stubborn(Strategy):
    """Holds what cannot be taken apart."""

    def __init__(self) -> None:
        self.rule = lambda close: close > 100.0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        return Target(float(self.rule(candle.close)))


@cache
def plan(*names: str) -> Plan:
    bots = tuple(
        BotPlan(name=name, venue="sim", symbol="A", account=f"of-{name}", timeframe=("1m", "5m")[name == "watchful"],
                strategy=STRATEGIES[name][0], params=STRATEGIES[name][1])
        for name in names
    )  # fmt: skip
    accounts = tuple(AccountPlan(name=f"of-{name}", limits=Limits(cooldown=60)) for name in names)
    return Plan(symbols=(SymbolPlan(venue="sim", symbol="A", timeframes=("5m",)),), bots=bots, accounts=accounts)


@cache
def market(minutes: int = 90) -> list[Decision]:
    """A random walk with holes."""
    chance, price, found = Random(11), 100.0, []
    for minute in range(1, minutes + 1):
        if chance.random() < 0.05:
            continue
        o, c = price, round(price * (1 + chance.uniform(-0.004, 0.004)), 2)
        ts, price = START + minute * MINUTE, c
        candle = Candle("sim", "A", "1m", ts, o, round(max(o, c) + 0.1, 2), round(min(o, c) - 0.1, 2), c, 50.0)
        found.append(observed(FEED, ts, candle))
    return found


def in_process(chosen: Plan, messages: list[Decision]) -> tuple[str, dict[str, Any]]:
    """Digest and last states without a snapshot."""
    found = Digest()
    loop = Lockstep(deciders(chosen), lambda entry: found.add(entry.actor, entry.decision))
    for message in messages:
        loop.feed(FEED, message)
    return found.hexdigest(), {seat.actor: seat.state for seat in loop.seats}


@cache
def expected(*names: str) -> tuple[str, dict[str, Any]]:
    return in_process(plan(*names), market())


@given(st.sets(st.integers(0, 89), max_size=8))
@settings(max_examples=8, deadline=None)
def test_a_state_taken_apart_and_put_together_again_anywhere_decides_the_same(cuts: set[int]) -> None:
    """Every shipped strategy and the random ones, with their symbol and their accounts."""
    found = Digest()
    loop = Lockstep(deciders(plan(*STRATEGIES)), lambda entry: found.add(entry.actor, entry.decision))
    for number, message in enumerate(market()):
        loop.feed(FEED, message)
        if number in cuts:
            for seat in loop.seats:
                seat.state = thawed(frozen(seat.state))
    assert (found.hexdigest(), {seat.actor: seat.state for seat in loop.seats}) == expected(*STRATEGIES)


@given(st.binary(max_size=300), st.data())
@settings(max_examples=50, deadline=None)
def test_no_byte_of_a_snapshot_can_change_unseen(body: bytes, data: st.DataObject) -> None:
    snapshot = Snapshot(Place("bot.b", "k", 7, "id", 5, 8, "own", 0, "1", 0), body)
    stored = packed(snapshot)
    assert unpacked(stored) == snapshot
    place, bit = data.draw(st.integers(0, len(stored) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(stored)
    changed[place] ^= 1 << bit
    for torn in (bytes(changed), stored[:place]):
        with pytest.raises(Unfit):
            unpacked(torn)


class Arrays:
    def __init__(self) -> None:
        self.rows = np.arange(6.0)
        self.same = self.rows


def test_arrays_come_back_shared_as_they_were_and_views_are_refused() -> None:
    """Of two arrays over one memory, a change of one would not be seen in the other afterwards."""
    found = thawed(frozen(Arrays()))
    assert found.same is found.rows
    found.rows[0] = 5.0
    assert thawed(frozen(found)).rows[0] == 5.0
    viewing = Arrays()
    viewing.same = viewing.rows[2:]
    with pytest.raises(Unfit, match="view of another one"):
        frozen(viewing)


@pytest.mark.parametrize("thing", [lambda: None, (one for one in ()), memoryview(b"x")])
def test_what_cannot_be_taken_apart_is_refused(thing: Any) -> None:
    with pytest.raises(Unfit):
        frozen([thing])


class Play:
    """Processes over a tape in memory, with their snapshots in a real folder."""

    def __init__(self, folder: Path, *names: str, passivate_s: float = 0.0, tape: MemoryTape | None = None) -> None:
        self.folder, self.plan, self.passivate_s = folder, plan(*names), passivate_s
        self.tape = tape or MemoryTape()
        self.hosts: list[Host] = []

    def snapshots(self) -> list[Path]:
        return sorted(self.folder.glob("*/*.snap"))

    def feed(self, message: Decision) -> None:
        last = self.tape._last.get(FEED)
        self.tape.put(FEED, message, expected=last.seq if last else 0)

    async def start(self, messages: list[Decision], *, save: bool = False) -> None:
        """One life of all processes: symbols, accounts and bots have one each."""
        every = deciders(self.plan)
        groups = [[one for one in every if one.actor.startswith(entity)] for entity in ("market", "account", "bot")]
        self.hosts = [
            Host(group, self.tape, None, upkeep(self.folder, 1, self.passivate_s, group)) for group in groups if group
        ]
        running = [asyncio.ensure_future(host.run()) for host in self.hosts]
        try:
            await self.feed_all(messages, running)
            if save:
                await asyncio.gather(*(host.save() for host in self.hosts))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def feed_all(self, messages: list[Decision], running: list[asyncio.Future[None]]) -> None:
        """In the canonical order: the next one comes when nothing is left to deal with."""
        await self.quiet(running)
        for message in messages:
            self.feed(message)
            await self.quiet(running)

    async def quiet(self, running: list[asyncio.Future[None]]) -> None:
        """In memory, some turns of the loop without news are the end."""
        end, turns = -1, 0
        while turns < 12 or not all(host.following for host in self.hosts):
            for task in running:
                if task.done():
                    task.result()
            await asyncio.sleep(0)
            turns, end = (turns + 1, end) if end == len(self.tape.entries) else (0, len(self.tape.entries))

    def heard(self) -> int:
        return sum(host._count for host in self.hosts)


def damage(play: Play, how: str, chance: Random) -> None:
    kept = play.snapshots()
    if not kept:
        return
    one, other = chance.choice(kept), chance.choice(kept)
    if how == "all gone":
        shutil.rmtree(play.folder)
    elif how == "torn":
        one.write_bytes(one.read_bytes()[: chance.randrange(60)])
    elif how == "flipped":
        data = bytearray(one.read_bytes())
        data[chance.randrange(len(data))] ^= 4
        one.write_bytes(bytes(data))
    elif how == "another's":
        one.write_bytes(other.read_bytes())
    elif how == "newest gone":
        one.unlink()


HARM = ("", "all gone", "torn", "flipped", "another's", "newest gone")
LIVES = st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.sampled_from(HARM)), min_size=1, max_size=6)


@given(LIVES, st.integers(0, 1_000))
@settings(max_examples=8, deadline=None)
def test_whatever_becomes_of_snapshots_the_tape_is_the_same(lives: list[tuple[int, bool, str]], seed: int) -> None:
    """Ended or killed anywhere, restarted from whole, older, torn, changed or mixed up snapshots, or from none."""
    names, chance = ("cross", "dice"), Random(seed)

    async def played(folder: Path) -> Play:
        play, at = Play(folder), 0
        play.plan = plan(*names)
        for count, save, harm in lives:
            await play.start(market()[at : at + count], save=save)
            at += count
            damage(play, harm, chance)
        await play.start(market()[at:])
        return play

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(played(Path(folder) / "snapshots"))
    states = {seat.actor: seat.state for host in found.hosts for seat in host.seats}
    assert (digest(found.tape.entries), states) == expected(*names)


async def test_after_a_clean_end_nothing_is_read_again(tmp_path: Path) -> None:
    play = Play(tmp_path, "cross", "dice")
    await play.start(market()[:80], save=True)
    reading = play.heard()
    await play.start([])
    assert reading > 200
    assert play.heard() == 6  # what others claimed in this life: three claims are heard by the bots, three by accounts
    assert len(play.snapshots()) == 5


async def test_a_snapshot_of_a_tape_that_lost_its_end_is_never_used(tmp_path: Path) -> None:
    """Power was cut: what was acknowledged last is gone, and something else stands in its place."""
    play = Play(tmp_path, "cross")
    await play.start(market()[:40], save=True)
    shorter = MemoryTape()
    for entry in play.tape.entries[:60]:
        shorter.put(entry.actor, entry.decision, expected=_last(shorter, entry.actor), epoch=entry.epoch)
    after = Play(tmp_path, "cross", tape=shorter)
    await after.start(market()[50:70])
    fresh = Play(tmp_path / "none", "cross", tape=MemoryTape())
    for entry in play.tape.entries[:60]:
        fresh.tape.put(entry.actor, entry.decision, expected=_last(fresh.tape, entry.actor), epoch=entry.epoch)
    await fresh.start(market()[50:70])
    assert digest(shorter.entries) == digest(fresh.tape.entries)
    assert play.snapshots() == []


async def test_a_snapshot_of_another_tape_of_the_same_name_is_never_used(tmp_path: Path) -> None:
    play = Play(tmp_path, "dice")
    await play.start(market()[:40], save=True)
    other = Play(tmp_path, "dice")
    await other.start(market()[20:])
    fresh = Play(tmp_path / "none", "dice")
    await fresh.start(market()[20:])
    assert digest(other.tape.entries) == digest(fresh.tape.entries)


def _last(tape: MemoryTape, actor: str) -> int:
    last = tape._last.get(actor)
    return last.seq if last else 0


async def test_as_many_are_kept_as_are_of_use(tmp_path: Path) -> None:
    play = Play(tmp_path, "cross")
    for number in range(5):
        await play.start(market()[number * 10 : number * 10 + 10], save=True)
    assert len(list((tmp_path / MARKET).iterdir())) == KEPT


async def test_who_hears_nothing_while_others_say_much_is_not_left_far_behind(
    tmp_path: Path, looks_often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would look for the next entry in all that others said."""
    monkeypatch.setattr(keeper, "EVERY_S", 0.02)
    monkeypatch.setattr(shell, "LONG", 100)
    play = Play(tmp_path, "cross")
    [symbol] = [one for one in deciders(play.plan) if one.actor == MARKET]
    host = Host([symbol], play.tape, None, upkeep(tmp_path, 1, 0.0, [symbol]))
    running: list[asyncio.Future[None]] = [asyncio.ensure_future(host.run())]
    other = subjects.feed("sim", "B")
    try:
        await play.quiet(running)
        play.feed(market()[0])
        for number in range(200):
            play.tape.put(other, observed(other, START + number, market()[0].facts[0]), expected=number and number + 2)
        while not (kept := play.snapshots()) or int(kept[-1].stem) < 200:
            assert not running[0].done(), running[0].result()
            await asyncio.sleep(0.005)
    finally:
        running[0].cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await play.start(market()[1:20])
    fresh = Play(tmp_path / "none", "cross")
    await fresh.start(market()[:20])
    assert digest([entry for entry in play.tape.entries if entry.actor != other]) == digest(fresh.tape.entries)


async def test_an_actor_without_snapshots_says_so_once_and_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    play = Play(tmp_path)
    bot = BotPlan(name="b", venue="sim", symbol="A", strategy=f"{__name__}:Stubborn")
    play.plan = Plan(symbols=(SymbolPlan(venue="sim", symbol="A"),), bots=(bot,), accounts=(AccountPlan(),))
    await play.start(market()[:10], save=True)
    for host in play.hosts:
        await host.save()
    assert len([one for one in caplog.records if "has no snapshots" in one.getMessage()]) == 1
    assert {path.parent.name for path in play.snapshots()} == {MARKET, "account.main"}
    await play.start(market()[10:20])
    assert digest(play.tape.entries) == in_process(play.plan, market()[:20])[0]


async def test_nobody_who_owes_a_decision_gets_a_snapshot() -> None:
    """One taken before its append would say that it was appended."""
    seat = Seat(deciders(plan("dice"))[0])
    entry = Recorded(1, FEED, market()[0], 5)

    class Kept:
        def key(self, actor: str) -> str:
            return "key"

    own = keeper.Keeper([seat], Kept(), lambda: 0.0)  # type: ignore[arg-type]
    assert not own.take(entry, 1, {seat.actor}, every=True)
    assert own.take(entry, 1, set(), every=True).snapshots


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "LOOK_S", 0.005)
    monkeypatch.setattr(shell, "GO_ON_S", 0.005)


class Resting(Play):
    """Bots rest between two lives' worth of messages, in one process."""

    async def resting(self, messages: list[Decision], wake: list[Decision]) -> Host:
        every = deciders(self.plan)
        host = Host(every, self.tape, None, upkeep(self.folder, 1, self.passivate_s, every))
        running = asyncio.ensure_future(host.run())
        self.hosts = [host]
        try:
            await self.feed_all(messages, [running])
            while not all(seat.state is PASSIVE for seat in host.seats):
                assert not running.done(), running.result()
                await asyncio.sleep(0.005)
            await self.before_waking(host)
            await self.feed_all(wake, [running])
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return host

    async def before_waking(self, host: Host) -> None: ...


class Robbed(Resting):
    async def before_waking(self, host: Host) -> None:
        for path in self.snapshots():
            path.unlink()


async def test_who_rests_is_awake_for_the_next_entry_and_decides_the_same(tmp_path: Path, looks_often: None) -> None:
    play = Resting(tmp_path, "cross", "dice", passivate_s=0.02)
    await play.resting(market()[:50], market()[50:])
    assert digest(play.tape.entries) == expected("cross", "dice")[0]


async def test_who_rests_and_was_robbed_of_its_snapshot_starts_again_from_the_tape(
    tmp_path: Path, looks_often: None
) -> None:
    play = Robbed(tmp_path, "cross", passivate_s=0.02)
    with pytest.raises(SnapshotGone):
        await play.resting(market()[:50], market()[50:])
    await play.start(market()[51:])
    assert digest(play.tape.entries) == expected("cross")[0]
