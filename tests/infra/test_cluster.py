"""Supervision of real Ray processes: what is tried again, what is not, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.decider import Poison
from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Gate, pause_s
from actors.strategies import UnknownStrategy
from events import subjects
from events.decision import Decision
from events.market import Candle
from events.memory import MemoryTape
from events.tape import LostRace, Tape, TapeDamaged
from infra.session import cluster
from projections.outcome import Overtaken, RebuildNeeded

IGNORED = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
pytestmark = pytest.mark.filterwarnings(*IGNORED)  # of Ray

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes start elsewhere and know no tests

PATIENCE_S = 120  # a loaded machine has to start processes; what is waited for takes a second on an idle one

RAISED: dict[str, Exception] = {
    "exception": RuntimeError("the bus is away"),
    "poison": Poison("bot.x", 7, "no fact"),
    "other poison": Poison("bot.x", 8, "no fact"),
    "lost race": LostRace("bot.x", 3, 5),
    "overtaken": Overtaken("projector", 3, 5),
    "damaged": TapeDamaged("segment 3 is not what was written"),
    "rebuild": RebuildNeeded("the tables are of version 1, this program's of 2"),
    "unknown strategy": UnknownStrategy("no strategy is called 'x'"),
}


class Troubled:
    """Each call of `run`, in whatever process, does the next thing of its script and notes it in a file."""

    def __init__(self, notes: str, script: tuple[str, ...]) -> None:
        self._notes, self._script = Path(notes), script

    async def run(self) -> None:
        done = self._notes.read_text().splitlines() if self._notes.exists() else []
        what = self._script[min(len(done), len(self._script) - 1)]
        self._notes.write_text("\n".join([*done, f"{what}: {os.getpid()}"]))
        if what == "dies":
            os._exit(1)
        if what in RAISED:
            raise RAISED[what]
        if what == "works":
            await asyncio.Event().wait()  # "ends" returns at once


class Unborn:
    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'somewhere'")

    async def run(self) -> None: ...


STRATEGY = """
from actors.strategies import Strategy, Target


class Always(Strategy):
    def on_candle(self, candle, position):
        return Target(1.0)
"""


@pytest.fixture(scope="module")
def chatter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A running Ray, started in a folder with a strategy of the user's; what it warned of while it started."""
    said: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(listener)
    home, before = tmp_path_factory.mktemp("user"), Path.cwd()
    (home / "user_strategy_in_cwd.py").write_text(STRATEGY)
    os.chdir(home)
    try:
        cluster.start(dashboard=False)
    finally:
        os.chdir(before)
        logging.getLogger().removeHandler(listener)
    yield said
    cluster.stop()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def troubled(notes: Path, *script: str) -> Any:
    return ray.remote(Troubled).options(num_cpus=0, max_restarts=-1, max_task_retries=0).remote(str(notes), script)


async def halted(notes: Path, *script: str) -> cluster.Halted:
    process = troubled(notes, *script)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(cluster.Halted) as found:
                await cluster.supervise(process.run.remote, "troubled")
    finally:
        ray.kill(process)
    return found.value


def lines(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def done(notes: Path) -> list[str]:
    return [line.partition(":")[0] for line in lines(notes)]


def test_ray_starts_without_a_word_and_with_its_token(chatter: list[str]) -> None:
    assert not [line for line in chatter if "oken" in line or "SIGTERM" in line or "8265" in line], chatter
    assert logging.getLogger("ray").level == logging.NOTSET or logging.getLogger("ray").level < logging.ERROR
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "ray get-auth-token" in cluster.dashboard_access()


def test_the_words_on_the_token_are_true(chatter: list[str]) -> None:
    found = subprocess.run([Path(sys.executable).with_name("ray"), "get-auth-token"], capture_output=True, check=True)
    assert len(found.stdout.strip()) >= 32


async def test_what_may_pass_is_tried_again_in_a_new_process_where_the_old_one_died(
    chatter: list[str], notes: Path
) -> None:
    script = ("exception", "dies", "poison", "exception", "poison", "ends", "other poison", "works")
    process = troubled(notes, *script)
    supervised = asyncio.ensure_future(cluster.supervise(process.run.remote, "troubled"))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while done(notes)[-1:] != ["works"]:  # another process writes it
                assert not supervised.done(), supervised.result()
                await asyncio.sleep(0.05)
    finally:
        supervised.cancel()
        await asyncio.gather(supervised, return_exceptions=True)
        ray.kill(process)
    assert done(notes) == list(script)
    pids = [line.partition(": ")[2] for line in lines(notes)]
    assert pids[0] == pids[1]  # an exception leaves the process as it is
    assert pids[1] != pids[2]
    assert len(set(pids[2:])) == 1


async def test_the_same_poison_again_and_again_halts(chatter: list[str], notes: Path) -> None:
    found = await halted(notes, "poison", "other poison", "poison", "exception", "poison", "poison")
    assert str(found) == "troubled: bot.x cannot go on past tape sequence 7: no fact"
    assert isinstance(found.__cause__, Poison)
    assert found.__cause__.seq == 7
    assert done(notes).count("poison") == 4
    assert cluster.SAME_POISON_MAX == 3  # the first one was followed by another, and counts no more


@pytest.mark.parametrize("what", ["lost race", "overtaken", "damaged", "rebuild", "unknown strategy"])
async def test_what_would_be_the_same_again_halts_at_once(chatter: list[str], notes: Path, what: str) -> None:
    found = await halted(notes, what)
    assert done(notes) == [what]
    assert str(found) == f"troubled: {RAISED[what]}"  # the very sentence, whole, across processes
    assert type(found.__cause__) is type(RAISED[what])
    assert vars(found.__cause__) == vars(RAISED[what])


async def test_a_process_that_cannot_be_made_halts_at_once(chatter: list[str]) -> None:
    process = ray.remote(Unborn).options(num_cpus=0, max_restarts=-1).remote()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(cluster.Halted, match=r"^unborn cannot be started: .*No module named 'somewhere'$"):
            await cluster.supervise(process.run.remote, "unborn")


def candle(minute: int) -> Candle:
    return Candle("sim", "A", "1m", minute * 60_000_000, 1.0, 1.0, 1.0, 1.0, 1.0)


async def two_candles() -> tuple[Tape, Gate | None]:
    tape = MemoryTape()
    market, version = subjects.market("sim", "A"), 0
    for minute in (1, 2):
        message = Decision(f"candle-{minute}", 0, "", minute * 60_000_000, (candle(minute),))
        version = tape.put(market, message, expected=version).seq
    return tape, None


async def test_a_process_knows_the_strategies_of_the_folder_the_session_was_started_in(chatter: list[str]) -> None:
    plan = Plan(
        symbols=(SymbolPlan(venue="sim", symbol="A"),),
        bots=(BotPlan(name="mine", venue="sim", symbol="A", strategy="user_strategy_in_cwd:Always"),),
    )
    process = cluster.spawn(plan, ["bot.mine"], "bot.mine", two_candles)
    try:
        supervised = asyncio.ensure_future(cluster.supervise(process.run.remote, "bot.mine"))
        async with asyncio.timeout(PATIENCE_S):
            while (progress := await process.progress.remote())["at"] < 2:  # a process is asked
                assert not supervised.done(), supervised.result()
                await asyncio.sleep(0.05)
        supervised.cancel()
        await asyncio.gather(supervised, return_exceptions=True)
    finally:
        ray.kill(process)
    assert progress["decided"] == 1  # started and signalled, in one decision
    assert progress["pid"] != os.getpid()


def test_a_process_is_told_its_actors_by_name_and_keeps_their_rank() -> None:
    plan = Plan(symbols=(SymbolPlan(venue="sim", symbol="B"), SymbolPlan(venue="sim", symbol="A")))
    made = partial(cluster.some_deciders, cluster.packed(plan))
    assert [one.actor for one in made(("account.main", "market.sim.A"))] == ["market.sim.A", "account.main"]


def test_a_part_of_a_plan_makes_the_very_deciders_of_the_whole() -> None:
    plan = Plan(
        symbols=tuple(SymbolPlan(venue="sim", symbol=f"S{number:03}") for number in range(200)),
        bots=tuple(
            BotPlan(name=f"b{number:03}", venue="sim", symbol=f"S{number // 2:03}", strategy="ema-cross",
                    account=f"a{number % 2}")
            for number in range(200)
        ),
        accounts=(AccountPlan(name="a0"), AccountPlan(name="a1"), AccountPlan(name="idle")),
    )  # fmt: skip
    every = deciders(plan)
    for one in every:
        packed = cluster.packed(cluster.part(plan, [one.actor]))
        assert len(packed) < 5_000
        (own,) = cluster.some_deciders(packed, (one.actor,))
        assert (own.actor, own.inbox, own.version) == (one.actor, one.inbox, one.version)
        assert vars(own).get("plan") == vars(one).get("plan")


def test_pauses_grow_to_a_bound_and_never_overflow() -> None:
    pauses = [pause_s(failures) for failures in (1, 2, 3, 6, 7, 5_000)]
    assert pauses == [0.2, 0.4, 0.8, 5.0, 5.0, 5.0]
