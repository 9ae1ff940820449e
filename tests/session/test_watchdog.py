"""Processes that stop, hang or hear nothing are found from outside and started again, or left out in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from ray.exceptions import ActorUnavailableError

from events import subjects
from events.control import ActorHalted, ActorStalled
from events.decision import Decision
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.cli.exits import Exit
from infra.services.nats import NatsServer
from infra.session import watch
from infra.session.watch import Limits, Process, Watch
from infra.tapes.jetstream import JetStreamTape
from tests.session.command import Tape
from tests.session.looking import entries, opened, trades
from tests.session.market import SPEED, START, config, feeds

FEED = subjects.feed("sim", "A")
QUICK = Limits(stall_s=0.4, stalls_max=1)
LONG_S = 1.6  # four times as long as a process may stand still
PATIENCE_S = 60  # for what comes within a second on a quiet machine


def candle(minute: int) -> Decision:
    ts = START + minute * MINUTE
    return observed(FEED, ts, Candle("sim", "A", "1m", ts, 10.0, 20.0, 5.0, 10.0, 100.0))


class Worker:
    """A process as the watch sees it: it answers what `says` gives."""

    def __init__(self, says: Callable[[], dict[str, Any]]) -> None:
        self.says, self.silent, self.killed = says, False, 0
        self.progress = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._answer))

    async def _answer(self) -> dict[str, Any]:
        if self.silent:
            await asyncio.Event().wait()
        return self.says()


class Watched:
    """A watch over one process with one pattern, and what it said of it."""

    def __init__(self, tape: JetStreamTape, says: Callable[[], dict[str, Any]], limits: Limits = QUICK) -> None:
        self.worker = Worker(says)
        self.reports: list[tuple[str, bool]] = []
        self.watch = Watch(tape, limits, self._report)
        self.watch.add("bot.x", self.worker, ("bot.x",), (f"{FEED}.>",))

    async def _report(self, one: Process, still: float, over: bool) -> None:
        self.reports.append((one.reacting, over))

    async def during(self, seconds: float) -> list[tuple[str, bool]]:
        running = asyncio.ensure_future(self.watch.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.reports

    async def until(self, count: int) -> list[tuple[str, bool]]:
        running = asyncio.ensure_future(self.watch.run())
        async with asyncio.timeout(PATIENCE_S):
            while len(self.reports) < count:  # noqa: ASYNC110 - the watch is what is looked at
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.reports


@pytest.fixture(autouse=True)
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whom Ray was told to kill: here it places nobody."""
    found: list[Any] = []
    monkeypatch.setattr(watch.ray, "kill", lambda worker, no_restart: found.append(worker))
    monkeypatch.setattr(watch, "START_S", QUICK.stall_s)
    monkeypatch.setattr(watch, "ASK_S", 0.2)
    return found


def said(at: int, moved: int = 0, reacting: str = "") -> dict[str, Any]:
    return {"at": at, "pid": 1, "moved": moved, "reacting": reacting}


async def test_who_has_work_and_does_not_move_is_killed_and_the_second_time_is_once_too_often(
    nats_url: str, killed: list[Any]
) -> None:
    tape = await JetStreamTape.connect(nats_url, "watched")
    await tape.append(FEED, candle(1), expected=0)
    hangs = Watched(tape, lambda: said(0, reacting="bot.x"))
    assert await hangs.until(2) == [("bot.x", False), ("bot.x", True)]
    assert killed == [hangs.worker] * 2
    deaf = Watched(tape, lambda: said(0))
    deaf.worker.silent = True
    assert await deaf.until(1) == [("", False)]
    await tape.close()


async def test_who_has_nothing_to_do_moves_or_is_being_started_is_left_alone(nats_url: str) -> None:
    tape = await JetStreamTape.connect(nats_url, "watched")
    await tape.append(subjects.bot("b"), candle(2), expected=0)  # nothing that it hears
    assert await Watched(tape, lambda: said(0)).during(LONG_S) == []
    await tape.append(FEED, candle(1), expected=0)
    count = iter(range(10**6))
    assert await Watched(tape, lambda: said(0, moved=next(count))).during(LONG_S) == []  # it reads what it has said

    def starting() -> dict[str, Any]:
        raise ActorUnavailableError("it is being started", None)

    assert await Watched(tape, starting).during(LONG_S) == []
    at = iter(range(10**6))
    assert await Watched(tape, lambda: said(-next(at))).during(LONG_S) == []  # far behind, but it goes on
    await tape.close()


async def test_in_lockstep_only_whom_all_wait_for_is_stalled(nats_url: str) -> None:
    tape = await JetStreamTape.connect(nats_url, "watched")
    await tape.append(FEED, candle(1), expected=0)
    waits = Watched(tape, lambda: said(0))
    waits.watch.awaited = lambda: "bot.y"
    assert await waits.during(LONG_S) == []
    waits.watch.awaited = lambda: "bot.x"
    assert await waits.until(1) == [("", False)]
    await tape.close()


async def test_while_the_bus_is_away_nobody_is_judged(tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "nats") as bus:
        tape = await JetStreamTape.connect(bus.url, "watched")
        await tape.append(FEED, candle(1), expected=0)
        away = Watched(tape, lambda: said(0))
        await bus.kill()
        assert await away.during(LONG_S) == []
        await bus.start()
        assert await away.until(1) == [("", False)]
        await tape.close()


async def test_systemd_is_told_as_long_as_the_session_looks(
    tmp_path: Path, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        tape = await JetStreamTape.connect(nats_url, "watched")
        await Watched(tape, lambda: said(0)).during(0.2)
        assert systemd.recv(100) == b"WATCHDOG=1"
        await tape.close()


HANGS = """
from actors.strategies import Strategy


class Hangs(Strategy):
    def __init__(self):
        self.seen = 0

    def on_candle(self, candle, position):
        self.seen += 1
        while self.seen == 30:
            pass
"""


async def test_a_strategy_that_hangs_is_left_out_and_a_process_that_was_stopped_goes_on(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    (tmp_path / "hanging.py").write_text(HANGS)
    chosen = config(tmp_path, "hangs", nats_url, postgres_dsn, processes=3)
    bots = (chosen.bots[0], msgspec.structs.replace(chosen.bots[1], strategy="hanging:Hangs", params={}))
    session = msgspec.structs.replace(
        chosen.session, stall_s=3.0, stalls_max=1
    )  # on a machine too busy for that, others may stall as well
    cli = Tape(tmp_path, msgspec.structs.replace(chosen, bots=bots, session=session))
    with cli.beside("run", *feeds(tmp_path), "--speed", SPEED, "--plain") as running:
        async with opened(running, nats_url, "hangs") as tape:

            async def told(kind: type) -> list[Any]:
                found = await entries(tape, [f"{subjects.SUPERVISOR}.>"])
                return [fact for entry in found for fact in entry.decision.facts if isinstance(fact, kind)]

            async def halted() -> list[Any]:
                return [fact for fact in await told(ActorHalted) if fact.actor == "bot.bbb"]

            (found,) = await running.eventually(halted, "a halt")
            assert found.reason == "stalled"
            assert ("bot.bbb", 1) in [(fact.reacting, fact.times) for fact in await told(ActorStalled)]
            at = await tape.end()
            await running.eventually(lambda: trades(tape, at, ("aaa",)), "trades of the other one in the same process")

            processes = cli("status", "--json").json()["processes"]
            (pid,) = [one["pid"] for one in processes if one["process"].startswith("account")]
            os.kill(pid, signal.SIGSTOP)
            await running.eventually(lambda: stopped(told), "a stopped process that is found")
            at = await tape.end()
            await running.eventually(lambda: trades(tape, at, ("aaa",)), "trades of one that was stopped")
        done = running.end()
    assert done.code == Exit.HALTED, running.said()
    assert "bot.bbb" in done.out


async def stopped(told: Callable[[type], Any]) -> bool:
    return any(fact.actor.startswith("account") for fact in await told(ActorStalled))
