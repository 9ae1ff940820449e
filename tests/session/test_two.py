"""Two of everything: whoever comes second refuses or waits, takes over when the first is gone, and doubles nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from actors.lockstep import Lockstep
from actors.roster import deciders
from events import subjects
from events.control import ActorHalted, FeedClaimed, SessionClaimed
from events.decision import Decision
from events.digest import Digest
from events.feed import observed
from events.market import Candle
from events.tape import LostRace
from events.timeframe import MINUTE
from events.trading import OrderPlaced
from infra.backtest import data
from infra.cli.exits import Exit
from infra.config import Config
from infra.services.nats import NatsServer
from infra.services.settings import ServiceAway
from infra.session.audit import audit
from infra.session.lease import Lease, Patience, SessionHeld, SessionLost, acquire, claiming, standing_on
from infra.session.market import unstamped
from infra.session.opening import record_plan
from infra.session.player import Feeds, newest
from infra.session.starting import claimed
from infra.tapes.jetstream import JetStreamTape
from projections.shell import project_to_end, table_hashes
from tests.infra.cli_tape import ROOT
from tests.session.command import Running, Tape
from tests.session.looking import entries, opened
from tests.session.market import START, config, feeds

FEED = subjects.feed("sim", "A")
SOON = Patience(silent_s=1.0, gone_s=0.5)
NEVER = Patience(silent_s=600.0, gone_s=600.0)
HOLD_S = 60  # a process has to start on a busy machine; what is waited for else takes a second

HOLDER = """
import asyncio, sys
from infra.session.lease import acquire
from infra.tapes.jetstream import JetStreamTape

async def main():
    tape = await JetStreamTape.connect(sys.argv[1], "two")
    lease = await acquire(tape, tape.client, standby=False, say=print)
    print("held", flush=True)
    lost = await lease.lost()
    try:
        await lease.release("never")
    except Exception as error:
        print(type(error).__name__)
    print(lost, flush=True)

asyncio.run(main())
"""


def silent(_: str) -> None: ...


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the tape."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.send_signal(signal.SIGCONT)
            other.kill()


@asynccontextmanager
async def tape_at(url: str) -> AsyncIterator[JetStreamTape]:
    tape = await JetStreamTape.connect(url, "two")
    try:
        yield tape
    finally:
        await tape.close()


async def held(tape: JetStreamTape, patience: Patience = NEVER, *, standby: bool = True) -> Lease:
    async with asyncio.timeout(HOLD_S):
        return await acquire(tape, tape.client, standby=standby, say=silent, patience=patience)


async def test_who_answers_is_named_and_who_was_killed_is_followed_at_once(nats_url: str) -> None:
    async with tape_at(nats_url) as tape:
        with holder(nats_url) as other:
            with pytest.raises(SessionHeld, match=rf"'two': process {other.pid} on .* since .*--standby"):
                await held(tape, standby=False)
            waiting = asyncio.ensure_future(held(tape))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            other.kill()
            lease = await waiting
        assert (lease.epoch, lease.claim.over, lease.claim.reason) == (2, 1, "its process is gone")
        await lease.release("done")
        again = await held(tape, standby=False)
        assert (again.epoch, again.claim.over) == (3, 0)


async def test_who_was_stopped_finds_out_and_has_nothing_more_to_say(nats_url: str) -> None:
    async with tape_at(nats_url) as tape:
        with holder(nats_url) as other:
            other.send_signal(signal.SIGSTOP)
            lease = await held(tape, SOON)
            assert (lease.claim.over, lease.claim.reason) == (1, "it does not answer for 1 s")
            end = await tape.end()
            other.send_signal(signal.SIGCONT)
            out, _ = other.communicate(timeout=HOLD_S)
        assert out.splitlines()[0] == "LostRace"
        assert "this one (epoch 1) ends" in out
        assert await tape.end() == end


async def test_of_two_that_wait_one_succeeds(nats_url: str) -> None:
    async with tape_at(nats_url) as one, tape_at(nats_url) as two:
        first = await held(one)
        waiting = [asyncio.ensure_future(held(tape)) for tape in (one, two)]
        await asyncio.sleep(0.3)
        await first.release("done")
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.6)  # twice as often as the other one looks
        assert (len(done), len(rest)) == (1, 1)
        for task in rest:
            task.cancel()
        assert (await standing_on(one)).epoch == 2


async def test_a_bus_that_is_away_is_no_silence(tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "nats") as bus, tape_at(bus.url) as one, tape_at(bus.url) as two:
        lease = await held(one)
        waiting = asyncio.ensure_future(held(two, SOON))
        await asyncio.sleep(0.3)
        await bus.kill()
        await asyncio.sleep(2 * SOON.silent_s)
        await bus.start()
        await asyncio.sleep(2 * SOON.silent_s)
        assert not waiting.done()
        await lease.check()
        waiting.cancel()


async def test_a_standby_waits_for_a_bus_that_is_away_and_the_first_does_not(tmp_path: Path, postgres_dsn: str) -> None:
    async with NatsServer(tmp_path / "nats") as bus:
        here = instance(tmp_path / "here", bus.url, postgres_dsn).config
        await bus.kill()
        with pytest.raises(ServiceAway, match="No NATS server answers"):
            await claims(here, standby=False, say=silent)
        told: list[str] = []
        waiting = asyncio.ensure_future(claims(here, standby=True, say=told.append))
        while not told and not waiting.done():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await bus.start()
        async with asyncio.timeout(HOLD_S):
            assert await waiting == 1
        assert told[0].startswith("standing by: No NATS server answers")


async def claims(config: Config, *, standby: bool, say: Callable[[str], None]) -> int:
    """The epoch that it comes to."""
    async with claimed(config, config.plan(), standby=standby, say=say) as found:
        return found.lease.epoch


async def test_a_process_of_another_machine_is_gone_when_its_connection_is(nats_url: str) -> None:
    async with tape_at(nats_url) as tape:
        there = msgspec.structs.replace(claiming(await standing_on(tape), ""), machine="another", pid=1)
        await tape.append(subjects.SUPERVISOR, observed(subjects.SUPERVISOR, 1, there), expected=0, epoch=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await held(tape)
        assert (await held(tape, SOON)).claim.reason == "it has no connection to the bus for 0.5 s"


async def test_an_overtaken_session_records_no_halt(nats_url: str) -> None:
    async with tape_at(nats_url) as tape:
        first = await held(tape)
        await tape.append(
            subjects.SUPERVISOR, observed(subjects.SUPERVISOR, 1, ActorHalted("x", 1, "", "")), expected=1
        )
        await first.record(ActorHalted("bot.a", 1, "poison", "one"), 1)  # past what a stranger wrote
        second = claiming(await standing_on(tape), "")
        await tape.append(subjects.SUPERVISOR, observed(subjects.SUPERVISOR, 1, second), expected=3, epoch=2)
        with pytest.raises(LostRace):
            await first.record(ActorHalted("bot.b", 1, "poison", "two"), 1)
        with pytest.raises(SessionLost, match="epoch 2"):
            await first.check()
        assert await tape.end() == 4


def candle(minute: int) -> Decision:
    ts = START + minute * MINUTE
    return observed(FEED, ts, Candle("sim", "A", "1m", ts, 10.0, 20.0, 5.0, 10.0, 100.0))


async def test_an_earlier_player_is_fenced_by_the_claim_of_its_feed(nats_url: str) -> None:
    async with tape_at(nats_url) as one, tape_at(nats_url) as two:
        first, second = Feeds(one, 1), Feeds(two, 2)
        await first.claim([FEED])
        at = await first.publish(FEED, candle(1))
        await second.claim([FEED])
        assert await newest(two, [FEED]) == (at, START + MINUTE, FEED)
        for _ in range(2):  # also when it is tried again
            with pytest.raises(LostRace):
                await first.publish(FEED, candle(2))
        assert await one.end() == 3
        await second.publish(FEED, candle(2))
        with pytest.raises(LostRace):  # not even the same words are taken for its own
            await first.publish(FEED, candle(2))
        await one.append(FEED, candle(3), expected=4)  # a stranger's, which is for the symbol's actor to judge
        assert await second.publish(FEED, candle(4)) == 6


async def test_a_feed_goes_on_after_claims_without_a_message_between_them(nats_url: str) -> None:
    async with tape_at(nats_url) as tape:
        assert await newest(tape, [FEED]) == (0, 0, "")
        for epoch in (1, 2):
            await Feeds(tape, epoch).claim([FEED])
        assert await newest(tape, [FEED]) == (0, 0, "")
        last = Feeds(tape, 3)
        await last.claim([FEED])
        at = await last.publish(FEED, candle(1))
        for epoch in (4, 5):
            await Feeds(tape, epoch).claim([FEED])
        assert await newest(tape, [FEED]) == (at, START + MINUTE, FEED)


async def test_the_command_refuses_a_tape_that_another_machine_trades_on(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    here = instance(tmp_path / "here", nats_url, postgres_dsn)
    words = ["run", *feeds(tmp_path, 10), "--plain"]
    async with tape_at(nats_url) as tape:
        await record_plan(tape, here.config.plan(), START)
        lease = await held(tape)
        refused = await asyncio.to_thread(here, *words)
        assert refused.code == Exit.IN_THE_WAY
        assert f"process {lease.claim.pid} on " in refused.err
        assert "--standby" in refused.err


BARS = 1_000


async def test_two_instances_on_one_tape_come_to_what_one_would_have(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    """Two data folders on one bus are two machines. The first is stopped for longer than its lease, then goes on:

    its actors were never stopped, and its feed has a message in its hand.
    """
    words = ["run", *feeds(tmp_path, BARS), "--lockstep", "--plain"]
    first, second = (instance(tmp_path / name, nats_url, postgres_dsn) for name in ("one", "two"))
    with first.beside(*words) as one:
        async with opened(one, nats_url, "two") as tape:
            await one.eventually(lambda: entries(tape, ["account.*.fill"]), "trades")
            one.child.send_signal(signal.SIGSTOP)
            with second.beside(*words, "--standby") as two:
                await two.eventually(lambda: said(two, "took over from process"), "a takeover")
                one.child.send_signal(signal.SIGCONT)
                ended = await asyncio.to_thread(one.ended)
                assert ended.code == Exit.IN_THE_WAY, one.said()
                assert f"process {two.child.pid} on " in ended.err
                assert (await asyncio.to_thread(two.ended)).code == Exit.FINE, two.said()
            await nothing_doubled(tape, first, words)
            await project_to_end(postgres_dsn, tape)  # both projectors wrote; no row is missing or doubled
            await project_to_end(postgres_dsn, tape, schema="other")
            live = await table_hashes(postgres_dsn, schema="tickertape_two")
            assert live == await table_hashes(postgres_dsn, schema="other")


def instance(folder: Path, nats_url: str, dsn: str) -> Tape:
    folder.mkdir()
    made = config(folder, "two", nats_url, dsn, processes=3)
    quick = msgspec.structs.replace(made.session, silent_s=2.0)
    return Tape(folder, msgspec.structs.replace(made, session=quick))


async def said(running: Running, what: str) -> bool:
    return what in running.said()


async def nothing_doubled(tape: JetStreamTape, instance: Tape, words: list[str]) -> None:
    found = await audit(tape)
    assert found.difference is None
    assert found.undecided == 0
    assert found.digest == undisturbed(instance, words[2:6:2])
    facts = [fact for entry in await entries(tape, [">"]) for fact in entry.decision.facts]
    orders = [fact.order for fact in facts if isinstance(fact, OrderPlaced)]
    assert len(orders) == len(set(orders)) > 10
    assert [fact.epoch for fact in facts if isinstance(fact, SessionClaimed)] == [1, 2]
    assert sum(isinstance(fact, FeedClaimed) for fact in facts) == 4


def undisturbed(instance: Tape, specs: list[str]) -> str:
    """The digest of the same market in one process."""
    found = Digest()
    loop = Lockstep(deciders(instance.config.plan()), lambda entry: found.add(entry.actor, entry.decision))
    for feed, message in unstamped(data.stream([data.load(spec) for spec in specs])):
        loop.feed(feed, message)
    return found.hexdigest()
