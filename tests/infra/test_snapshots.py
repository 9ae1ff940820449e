"""Whose snapshots are used, and how many processes may read far back at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from actors import shell
from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from actors.snapshot import Place, Snapshot
from events.decision import Recorded
from events.digest import digest
from events.memory import MemoryTape
from events.tape import EVERYTHING
from infra.session import snapshotkey
from infra.session.snapshotkey import key_of
from infra.session.snapshots import Folder, Places, upkeep
from tests.actors.test_snapshots import FEED, market
from tests.infra.cli_tape import ROOT

HELPER = "LENGTH = 3\n"
STRATEGY = """
import own_helper
from actors.strategies import Strategy, Target


class Mine(Strategy):
    version = 1

    def on_candle(self, candle, position):
        return Target(float(candle.close > own_helper.LENGTH))
"""


def plan(**bot: object) -> Plan:
    chosen = {"name": "b", "venue": "sim", "symbol": "A", **bot}
    return Plan(
        symbols=(SymbolPlan(venue="sim", symbol="A"),),
        bots=(BotPlan(**chosen),),
        accounts=(AccountPlan(),),  # type: ignore[arg-type]
    )


def keys(chosen: Plan) -> dict[str, str]:
    return {decider.actor: key_of(decider) for decider in deciders(chosen)}


def test_what_a_state_follows_from_is_in_its_key() -> None:
    before = keys(plan())
    assert len(set(before.values())) == 3
    for after in (keys(plan(params={"fast": 3})), keys(plan(strategy="breakout"))):
        assert after["bot.b"] != before["bot.b"]
        assert after["market.sim.A"] == before["market.sim.A"]
    assert keys(plan()) == before


def test_a_change_of_code_a_strategy_uses_changes_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for helper, strategy in ((HELPER, STRATEGY), ("LENGTH = 4\n", STRATEGY), (HELPER, STRATEGY + "# changed\n")):
        (tmp_path / "own_helper.py").write_text(helper)
        (tmp_path / "own_strategy.py").write_text(strategy)
        snapshotkey._code_of.cache_clear()  # a process reads its sources once
        found.append(keys(plan(strategy="own_strategy:Mine"))["bot.b"])
    assert len(set(found)) == 3


async def test_a_folder_that_others_can_write_to_is_not_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "snapshots", {"bot.b": "k"})
    await folder.save([Snapshot(Place("bot.b", "k", 7, "id", 5, 8, "own", 0, "1", 0), b"body")], [])
    assert [one.place.seq for one in folder.load("bot.b")] == [7]
    (tmp_path / "snapshots").chmod(0o777)
    assert list(folder.load("bot.b")) == []


async def test_snapshots_of_another_key_are_dropped(tmp_path: Path) -> None:
    for key in ("old", "new"):
        place = Place("bot.b", key, 7 + (key == "new"), "id", 5, 8, "own", 0, "1", 0)
        await Folder(tmp_path, {"bot.b": key}).save([Snapshot(place, b"body")], [])
    assert [one.place.key for one in Folder(tmp_path, {"bot.b": "new"}).load("bot.b")] == ["new"]
    assert len(os.listdir(tmp_path / "bot.b")) == 1


HOLD = """
import asyncio, sys
from pathlib import Path
from infra.session.snapshots import Places

async def hold():
    assert (places := Places(Path(sys.argv[1]), 1)).enter()
    print("in", flush=True)
    await asyncio.sleep(600)

asyncio.run(hold())
"""


async def test_a_place_comes_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), stdout=subprocess.PIPE, env=environment
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"in\n"
    mine = Places(tmp_path, 1)
    assert not mine.enter()
    holder.kill()
    await holder.wait()
    assert mine.enter()
    mine.leave()


class Slow(MemoryTape):
    """Notes how many processes read far back at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: set[str] = set()
        self.most = 0

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        who = str(patterns)
        self.reading.add(who)
        self.most = max(self.most, len(self.reading))
        async for entry in super().read(patterns, after=after):
            await asyncio.sleep(0)
            yield entry
        self.reading.discard(who)


async def life(tape: Slow, folder: Path, places: int) -> None:
    """All processes start at once, one for each actor, and are killed when all have caught up."""
    hosts = [Host([one], tape, None, upkeep(folder, places, 0.0, [one])) for one in deciders(plan())]
    running = [asyncio.ensure_future(host.run()) for host in hosts]
    end, turns = -1, 0
    while turns < 100 or not all(host.following for host in hosts):
        await asyncio.sleep(0.001)
        assert not any(task.done() for task in running)
        turns, end = (turns + 1, end) if end == len(tape.entries) else (0, len(tape.entries))
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("places", [1, 2, 3])
async def test_after_all_have_died_no_more_read_far_back_at_once_than_there_are_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    monkeypatch.setattr(shell, "LONG", 20)
    tape = Slow()
    for message in market()[:60]:
        tape.put(FEED, message, expected=tape._last[FEED].seq if FEED in tape._last else 0)
    await life(tape, tmp_path, 1)
    decided, tape.most = digest(tape.entries), 0
    await life(tape, tmp_path, places)
    assert tape.most == places
    assert digest(tape.entries) == decided
