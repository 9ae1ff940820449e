"""The kill switch and the end of a session on the real stack, while one thing after the other is broken."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from events import subjects
from events.control import (
    ActorClaimed,
    ReleaseTrading,
    RestrictTrading,
    SessionResumed,
    StopSession,
    TradingRestricted,
)
from events.decision import Recorded
from events.fact import Fact
from events.market import Candle
from events.tape import TapeError
from events.trading import Fill, OrderCancelled, OrderPlaced
from infra.config import Config, SessionSettings
from infra.services import discovery
from infra.tapes.jetstream import JetStreamTape
from tests.infra.cli_tape import Ended
from tests.session.command import Running, Tape
from tests.session.market import SPEED, SYMBOLS, VENUE, feeds

WAIT = "200s"  # answers come in milliseconds, or when Ray has started a process again: seconds, on a busy machine many
BRIEF = "2s"  # for one that cannot come


def configured(folder: Path) -> Config:
    """Two bots, each on an account of its own; aaa is long, bbb has an order that rests. All embedded."""
    flag = str(folder / "hang")
    bots = tuple(
        BotPlan(name=name, account=name, venue=VENUE, symbol=symbol, strategy="tests.session.stuck:Stuck",
                params={"flag": flag if name == "aaa" else "", "resting": name == "bbb"},
                sizing=Sizing(method="quantity", value=Decimal(1)))
        for name, symbol in zip(("aaa", "bbb"), SYMBOLS, strict=True)
    )  # fmt: skip
    return Config(
        tape="kill",
        data_dir=str(folder / "data"),
        # Nobody ends the bot that hangs: what is shown here is what works all the same.
        session=SessionSettings(processes=64, dashboard=False, orders_at_stop="cancel", stall_s=3600.0),
        symbols=tuple(SymbolPlan(venue=VENUE, symbol=symbol) for symbol in SYMBOLS),
        bots=bots,
        accounts=tuple(AccountPlan(name=one.name) for one in bots),
    )


class Case(msgspec.Struct):
    folder: Path
    cli: Tape
    words: list[str]

    @property
    def flag(self) -> Path:
        return self.folder / "hang"

    def restrict(self, level: str, wait: str = WAIT) -> Ended:
        return self.cli("stop", "--trading", level, "--wait", wait, "--json")

    async def facts(self, *patterns: str, after: int = 0) -> list[tuple[Recorded, Fact]]:
        while (running := discovery.read(self.cli.data_dir.resolve())) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # its owner is starting a server again, and says so when it is there
        at = running.endpoints
        tape = await JetStreamTape.connect(at.nats, "kill", create=False, access=at.access("viewer"))
        try:
            return [(e, f) async for e in tape.read(patterns, after=after) for f in e.decision.facts]
        finally:
            await tape.close()

    async def some(self, kind: type[Fact], pattern: str, after: int = 0) -> list[Fact]:
        return [fact for _, fact in await self.facts(pattern, after=after) if isinstance(fact, kind)]

    async def pid(self, actor: str) -> int:
        """The process that claimed an actor last."""
        claims = await self.some(ActorClaimed, f"{actor}.{subjects.CLAIMED}")
        return int(claims[-1].writer.split("/")[1])  # type: ignore[attr-defined]


def processes() -> Iterator[int]:
    yield from (int(one) for one in os.listdir("/proc") if one.isdigit())


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path, Tape(tmp_path, configured(tmp_path)), feeds(tmp_path))


async def test_the_kill_switch_works_whatever_is_broken(case: Case) -> None:
    with case.cli.beside("run", *case.words, "--speed", SPEED, "--plain") as running:
        await traded(case, running)
        await without_a_database(case)
        await while_a_bot_hangs(case, running)
        await while_accounts_are_dead_or_stopped(case)
        await ended_by_a_signal(case, running)
    recorded_without_a_session(case)
    case.flag.touch()
    with case.cli.beside("run", *case.words, "--lockstep", "--plain") as running:
        await obeyed_at_the_next_start(case, running)
        await in_lock_step_while_a_bot_hangs(case)
        at_once_with_a_second_signal(running)
    case.flag.unlink()
    verified = case.cli("verify", "--json")
    assert verified.code == 0, verified.out


async def traded(case: Case, running: Running) -> None:
    running.until(lambda: case.cli.served, "services")

    async def both() -> bool:
        with suppress(TapeError):  # it makes its tape after its servers are there
            held = await case.some(Fill, "account.aaa.>")
            return bool(held) and bool(await case.some(OrderPlaced, "account.bbb.>"))
        return False

    await running.eventually(both, "orders")


async def without_a_database(case: Case) -> None:
    """It is there and answers nobody; one that has died is started again by its owner at once."""
    postmaster = str(case.cli.data_dir / "postgres")
    pid = next(pid for pid in processes() if postmaster in title(pid) and " -D " in title(pid))
    os.kill(pid, signal.SIGSTOP)
    try:
        done = case.restrict("no-new-risk")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.code == 0, done.err
    assert done.json()["answered"] == ["aaa", "bbb"]


async def while_a_bot_hangs(case: Case, running: Running) -> None:
    """No account waits for a bot, and what it holds goes out at the next price."""
    released = case.cli("stop", "--release", "--wait", WAIT)
    assert released.code == 0, released.err
    assert "account aaa: released" in released.out

    async def held() -> bool:
        fills = await case.some(Fill, "account.aaa.>")
        return bool(fills and fills[-1].position)  # type: ignore[attr-defined]

    await running.eventually(held, "position")
    case.flag.touch()
    done = case.restrict("flatten")
    assert done.code == 0, done.err
    value = done.json()
    assert value["answered"] == ["aaa", "bbb"]

    async def flat() -> bool:
        return not await held()

    await running.eventually(flat, "way out")
    (answer,) = [e for e, f in await case.facts("account.bbb.>") if e.seq == value["answers"]["bbb"]][:1]
    assert [type(f) for f in answer.decision.facts] == [TradingRestricted, OrderCancelled]


async def while_accounts_are_dead_or_stopped(case: Case) -> None:
    """One is stopped and does not answer, which is said; the other is killed, and answers when it is there again."""
    stopped = await case.pid("account.bbb")
    os.kill(stopped, signal.SIGSTOP)
    os.kill(await case.pid("account.aaa"), signal.SIGKILL)
    os.kill(await case.pid("market.sim.AAA-USDT"), signal.SIGKILL)
    done = case.restrict("close-only", BRIEF)
    assert done.code == 5
    assert "bbb" in done.json()["silent"]
    shown = case.cli("stop", "--trading", "close-only", "--account", "aaa", "--wait", WAIT)
    assert shown.code == 0, shown.out
    assert "account aaa: stays restricted to flatten, which is more; --release lifts it" in shown.out
    mute = case.cli("stop", "--trading", "close-only", "--wait", BRIEF)
    assert mute.code == 5
    assert "account bbb: NO ANSWER yet" in mute.out
    os.kill(stopped, signal.SIGCONT)
    assert case.restrict("close-only").json()["answered"] == ["aaa", "bbb"]
    case.flag.unlink()


async def ended_by_a_signal(case: Case, running: Running) -> None:
    """The same road as `tape stop`: a recorded command, and decisions of the accounts that follow from it."""
    assert case.cli("stop", "--release", "--wait", WAIT).code == 0

    async def resting() -> bool:
        facts = await case.facts("account.bbb.>")
        places = [f for _, f in facts if isinstance(f, OrderPlaced | OrderCancelled)]
        return isinstance(places[-1], OrderPlaced)

    await running.eventually(resting, "order that rests")
    running.child.send_signal(signal.SIGTERM)
    done = running.ended()
    assert done.code == 0, running.said()


def recorded_without_a_session(case: Case) -> None:
    """Nobody is there to obey; neither is a database started for it."""
    started = time.time()
    done = case.cli("stop", "--trading", "close-only", "--reason", "storm")
    assert done.code == 0, done.err
    for name in ("aaa", "bbb"):
        assert f"account {name}: no session runs here, so it takes effect when the next one starts" in done.out
    logs = [path for path in (case.cli.data_dir / "postgres").rglob("*") if path.is_file()]
    assert all(path.stat().st_mtime <= started for path in logs)


async def obeyed_at_the_next_start(case: Case, running: Running) -> None:
    running.until(lambda: case.cli.served, "services")

    async def answered() -> bool:
        found = [
            f for _, f in await case.facts("account.>") if isinstance(f, TradingRestricted) and f.reason == "storm"
        ]
        return {one.account for one in found} == {"aaa", "bbb"}

    await running.eventually(answered, "answers")
    told = [f for _, f in await case.facts("command.>") if not isinstance(f, RestrictTrading | ReleaseTrading)]
    assert [type(one) for one in told] == [StopSession, SessionResumed]
    stop = told[0]
    assert isinstance(stop, StopSession)
    assert (stop.orders, stop.reason) == ("cancel", "by a signal")
    cancelled = await case.some(OrderCancelled, "account.bbb.>")
    assert cancelled[-1].reason == "session-stopped"  # type: ignore[attr-defined]


async def in_lock_step_while_a_bot_hangs(case: Case) -> None:
    """The market stands still, for the bot is waited for, since the start; accounts are not."""
    before = await case.some(Candle, "feed.>")
    done = case.restrict("flatten")
    assert done.code == 0, done.err
    assert done.json()["answered"] == ["aaa", "bbb"]
    # At most the one that the bot hangs on is published meanwhile: the start may not have come to it yet.
    assert len(await case.some(Candle, "feed.>")) <= len(before) + 1


def at_once_with_a_second_signal(running: Running) -> None:
    running.child.send_signal(signal.SIGINT)
    running.until(lambda: "stopping cleanly" in running.said(), "first signal")
    running.child.send_signal(signal.SIGINT)
    done = running.ended()
    assert done.code == 130
    assert "left undone: actors have not dealt with all that is on the tape" in done.err
