"""What can go wrong only between a client and a server: lost acks, cut links, restarts, foreign messages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest

from events.codec import Codec
from events.control import Quarantined, Unreadable
from events.decision import Decision, Recorded, digest_of
from events.scanned import Scanned
from events.tape import LostRace, TapeError
from infra.services.nats import NatsCluster, NatsServer
from infra.tapes import bus as bus_module
from infra.tapes import reader as reader_module
from infra.tapes.bus import Bus, check_version
from infra.tapes.jetstream import JetStreamTape, MessageTooLarge, OutcomeUnknown
from infra.tapes.pulling import BATCH, PullReader
from infra.tapes.reader import Reader, ack_parts, nanos_of
from tests.proxy import Proxy, is_ack, is_delivery

from .conftest import GATHER_S, drop
from .conftest import options as of_kind
from .making import Following, all_of, block, decision, fill

BTC = "market.binance.BTC-USDT"
EMA = "bot.ema"
_numbers = itertools.count(1)

Connect = Callable[..., Awaitable[JetStreamTape]]


@pytest.fixture(params=["r1", "r3", "r1-asked"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, server: Any) -> str:
    return str(server.url)


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with Proxy(url) as proxy:
        yield proxy


@pytest.fixture
async def connect(kind: str, url: str, proxy: Proxy) -> AsyncIterator[Connect]:
    """`connect(url)` opens this test's tape, at the server itself or through a proxy."""
    name = f"jetstream-{next(_numbers)}"
    opened: list[JetStreamTape] = []

    async def one(where: str = url, **options: Any) -> JetStreamTape:
        opened.append(await JetStreamTape.connect(where, name, **of_kind(kind), **options))
        return opened[-1]

    yield one
    for tape in opened:
        await tape.close()
    await drop(url, name)


@pytest.mark.parametrize("cut", [False, True], ids=["timeout", "disconnect"])
async def test_an_append_whose_ack_is_lost_is_found_and_not_doubled(connect: Connect, proxy: Proxy, cut: bool) -> None:
    # The ack will not come; an ack that does takes a few ms. Nobody waits for one on a connection that is lost.
    tape = await connect(proxy.url, ack_s=3600 if cut else 0.3)
    expected = 0
    for number in range(1, 6):
        proxy.lose(1, is_ack, cut=cut)
        expected = await tape.append(BTC, decision("a", number, cause=expected), expected=expected)
        assert expected == number
    assert len(proxy.lost) >= 1  # a cluster's client may go on past the proxy after a cut
    assert [e.decision.id for e in await all_of(tape.read())] == [decision("a", n).id for n in range(1, 6)]


async def test_every_ack_lost_for_a_while(connect: Connect, proxy: Proxy) -> None:
    tape = await connect(proxy.url, ack_s=0.2)
    proxy.lose(3, is_ack)
    assert await tape.append(BTC, decision("a", 1), expected=0) == 1
    assert await tape.append(EMA, decision("b", 1), expected=0) == 2
    assert await tape.append(BTC, decision("a", 2), expected=1) == 3
    assert len(proxy.lost) == 3
    assert await tape.end() == 3


async def test_a_lost_ack_and_another_writer_in_between_is_a_lost_race(connect: Connect, proxy: Proxy) -> None:
    """The loser may have been appended before the other one: it must stop, and the tape says what it did."""
    tape, rival = await connect(proxy.url, ack_s=0.5), await connect()
    proxy.lose(1, is_ack)
    unclear = asyncio.ensure_future(tape.append(BTC, decision("a", 1), expected=0))
    await anext(rival.follow())
    await rival.append(BTC, decision("rival", 1), expected=1)
    with pytest.raises(LostRace):
        await unclear
    assert [e.decision for e in await all_of(rival.read())] == [decision("a", 1), decision("rival", 1)]


async def test_a_message_lost_on_the_way_is_read_again(connect: Connect, proxy: Proxy) -> None:
    tape = await connect(proxy.url)
    await fill(tape, [BTC, EMA], 50)
    proxy.lose(1, lambda line, payload: is_delivery(line, payload) and b".20." in line)
    assert [entry.seq for entry in await all_of(tape.read())] == list(range(1, 51))
    assert len(proxy.lost) == 1
    following = Following(tape.follow())
    await following.seen(50)
    proxy.lose(1, is_delivery)
    await fill(tape, [BTC, EMA], 10, start=50)
    assert [entry.seq for entry in await following.seen(60)] == list(range(1, 61))
    await following.stop()


async def test_a_follower_that_nothing_reaches_any_more_asks_again(
    connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_HEARTBEAT_S", 0.1)
    tape = await connect(proxy.url)
    following = Following(tape.follow())
    await fill(tape, [BTC], 3)
    await following.seen(3)
    reader = tape._reading
    assert reader is not None
    inbox = reader.client._inbox_prefix + b"."
    responses = bytes(reader.client._resp_sub_prefix or b"")
    # Everything for the consumer is lost, as with a server that forgot the subscription; requests are answered.
    proxy.lose(40, lambda line, _: inbox in line and responses not in line)
    await fill(tape, [BTC], 5, start=3)
    assert [entry.seq for entry in await following.seen(8)] == list(range(1, 9))
    await following.stop()


async def test_a_slow_reader_holds_the_server_back_and_loses_nothing(connect: Connect) -> None:
    tape = await connect()
    count, expected = 90, 0
    large = block(8_000)  # 600 kB each, 54 MB together
    for number in range(count):
        entry = Decision(digest_of(b"%d" % number), 0, "", number, (large,))
        expected = await tape.append(BTC, entry, expected=expected)
    reader = Reader(await tape._reading_bus(), tape.name, tape._made, [">"], after=0, until=count)
    entries = reader.entries()
    seen = [await anext(entries)]
    held: list[int] = []
    async with asyncio.timeout(30):
        while not held or held[-1] != sum(len(msg.data) for msg in reader._inbox):
            held.append(sum(len(msg.data) for msg in reader._inbox))
            await asyncio.sleep(0.3)  # until nothing more comes in: the server waits
    assert 0 < held[-1] < 40_000_000  # the server's window is 32 MB at most
    seen += [entry async for entry in entries]
    assert [entry.seq for entry in seen] == list(range(1, count + 1))


@pytest.mark.parametrize("kind", ["r1-asked"], indirect=True)
async def test_a_follower_that_asks_gets_no_more_than_it_takes(connect: Connect) -> None:
    """Many small messages are several answers, and so are a few large ones."""
    tape = await connect()
    many, large, expected = 2 * BATCH + 7, block(8_000), 0
    made = await fill(tape, [BTC, EMA], many)
    for number in range(20):  # 600 kB each, 12 MB together
        last = Decision(digest_of(b"%d" % number), 0, "", many + number, (large,))
        expected = await tape.append("market.binance.ETH-USDT", last, expected=expected)
    reader = PullReader(await tape._reading_bus(), tape.name, tape._made, [">"], after=0, gather_s=GATHER_S)
    entries, seen, held = reader.entries(), [], 0
    async for entry in entries:
        seen.append(entry)
        held = max(held, sum(len(msg.data) for msg in reader._inbox))
        if entry.decision == last:
            break
        if entry.seq in (1, many):
            await asyncio.sleep(0.3)  # an answer takes some milliseconds: nothing more comes unasked
            assert len(reader._inbox) <= BATCH
    await entries.aclose()
    assert [entry.seq for entry in seen] == list(range(1, many + 21))
    assert [(one.actor, one.decision) for one in seen[:many]] == made
    assert held < 5_000_000


async def test_foreign_bytes_come_through_as_unreadable(connect: Connect) -> None:
    tape = await connect()
    await tape.append(BTC, decision("a", 1), expected=0)
    foreign = [b"", b"\xff\xfe", b"{", b"[1,2]", b'{"id":"x","cause":0,"by":"","ts":1,"facts":[]}', b"x" * 100_000]
    for data in foreign:
        await tape.client.request(f"{tape.name}.{EMA}.signal", data, timeout=10, headers={"X": "y", "Tape-Epoch": "no"})
    await tape.client.request(f"{tape.name}.odd", b"?", timeout=10)
    await tape.append(BTC, decision("a", 2), expected=1)
    found = await all_of(tape.read())
    assert [entry.seq for entry in found] == list(range(1, 10))
    for entry, data in zip(found[1:7], foreign, strict=True):
        (fact,) = entry.decision.facts
        assert isinstance(fact, Unreadable)
        assert (fact.raw, fact.subject, entry.actor) == (data, f"{tape.name}.{EMA}.signal", EMA)
        assert (entry.epoch, fact.reason != "") == (0, True)
    assert [entry.seq for entry in await all_of(tape.read(["bot.>"]))] == list(range(2, 8))
    last = await tape.last(EMA)
    assert last == found[6]
    with pytest.raises(LostRace):
        await tape.append(EMA, decision("b", 1), expected=0)


async def test_no_address_blinds_a_reader(connect: Connect) -> None:
    """The server takes nearly any bytes; what is no text reads as the server's own answers show it."""
    tape = await connect()
    odd = (b"\xff", b"\xc0\x80", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"a\0b", b"\x0b", b"\x0c", b"\x1b[31m", b"*", b">",
           b"q" * 3_000, b".".join([b"q"] * 200), "\u00e9".encode())  # fmt: skip
    name = tape.name.encode()
    lines = [
        b"PUB %b.feed.%b.%b 1\r\n?\r\n" % (name, actor, kind)
        for one in odd
        for actor, kind in ((one, b"x"), (b"y", one))
    ]
    await tape.client.publish_lines(lines)
    end = await tape.append(BTC, decision("a", 1), expected=0)
    assert end == len(lines) + 1
    found = await all_of(tape.read())
    assert [entry.seq for entry in found] == list(range(1, end + 1))
    for entry in found[:-1]:
        (fact,) = entry.decision.facts
        assert isinstance(fact, Unreadable)
        assert not any(ord(letter) < 32 for letter in fact.subject)
        assert await tape.entry(entry.seq) == entry
    assert len(await all_of(tape.read(["feed.y.>"]))) >= len(odd)


async def test_a_decision_too_large_for_the_server_is_refused_by_name(connect: Connect) -> None:
    tape = await connect()
    entry = Decision(digest_of(b"large"), 0, "", 1, (block(4_000),) * 4)
    with pytest.raises(MessageTooLarge, match=r"candle-block: \d+ bytes exceed the server's limit of 1048576"):
        await tape.append(BTC, entry, expected=0)
    assert await tape.append(BTC, decision("a", 1), expected=0) == 1


async def test_what_may_not_be_deleted_is_not(connect: Connect) -> None:
    tape = await connect()
    await fill(tape, [BTC], 3)
    stream = tape.client.jetstream()
    for attempt in (stream.delete_msg(tape.name, 2), stream.purge_stream(tape.name)):
        with pytest.raises(nats.js.errors.APIError):
            await attempt
    assert len(await all_of(tape.read())) == 3


async def test_known_at_read_back_is_known_at_delivered(connect: Connect) -> None:
    tape = await connect()
    await fill(tape, [BTC], 5)
    assert await tape.last(BTC) == (await all_of(tape.read()))[-1]


async def test_a_closed_tape_says_so(connect: Connect) -> None:
    tape = await connect()
    following = Following(tape.follow())
    await fill(tape, [BTC], 2)
    await following.seen(2)
    await tape.close()
    with pytest.raises(TapeError, match="closed"):
        await following.seen(3)
    with pytest.raises(OutcomeUnknown, match="closed"):
        await tape.append(BTC, decision("a", 9), expected=2)


WRONG: dict[str, Any] = {
    "deny_delete": {"deny_delete": False},
    "deny_purge": {"deny_purge": False},
    "max_age": {"max_age": 3_600_000_000_000},
    "max_msgs": {"max_msgs": 5},
    "storage": {"storage": "memory"},
    "subjects": {"subjects": ["elsewhere.>"]},
    "allow_rollup_hdrs": {"allow_rollup_hdrs": True, "deny_purge": False},
}


@pytest.mark.parametrize("setting", WRONG)
async def test_a_stream_that_cannot_be_a_tape_is_refused_by_its_setting(nats_server: NatsServer, setting: str) -> None:
    name = f"wrong-{next(_numbers)}"
    bus = Bus("test")
    await bus.connect(nats_server.url)
    config = {"name": name, "subjects": [f"{name}.>"], "deny_delete": True, "deny_purge": True, "storage": "file"}
    await bus.ask(f"STREAM.CREATE.{name}", {**config, **WRONG[setting]})
    await bus.close()
    with pytest.raises(TapeError, match=f"`{name}` exists but cannot be a tape.*{setting}"):
        await JetStreamTape.connect(nats_server.url, name)
    await drop(nats_server.url, name)


async def test_what_connecting_refuses(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TapeError, match="no tape `absent`"):
        await JetStreamTape.connect(nats_server.url, "absent", create=False)
    with pytest.raises(ValueError, match="cannot be used as a name"):
        await JetStreamTape.connect(nats_server.url, "a.b")
    with pytest.raises(TapeError, match="3 replica"):
        await JetStreamTape.connect(nats_server.url, "three", replicas=3)
    monkeypatch.setattr(bus_module, "CONNECT_PATIENCE_S", 0.3)  # nobody will answer
    with pytest.raises(TapeError, match=r"no NATS server answers at nats://127\.0\.0\.1:1"):
        await JetStreamTape.connect("nats://127.0.0.1:1", "main")


async def test_another_number_of_replicas_is_named(nats_server: NatsServer, connect: Connect) -> None:
    tape = await connect()
    other = 3 if tape.replicas == 1 else 1
    with pytest.raises(TapeError, match=rf"has {tape.replicas} replica\(s\), not {other}"):
        await JetStreamTape.connect(tape._url, tape.name, replicas=other)
    plain = await JetStreamTape.connect(tape._url, tape.name, create=False)
    assert plain.replicas == tape.replicas
    await plain.close()


def test_an_old_server_is_refused() -> None:
    for text in ("<nats server v2.12.0>", "2.15.1", "v3.0.0-beta"):
        check_version(text, "x")
    for text in ("<nats server v2.11.9>", "1.4.1", "?"):
        with pytest.raises(TapeError, match=r"2\.12 or newer is needed"):
            check_version(text, "nats://old")


def test_ack_subjects_of_both_versions() -> None:
    assert ack_parts("$JS.ACK.main.c.1.42.7.1700000000123456789.5") == (42, 7, 1700000000123456789)
    assert ack_parts("$JS.ACK._.h4sh.main.c.1.42.7.1700000000123456789.5") == (42, 7, 1700000000123456789)
    assert ack_parts("$JS.ACK.hub.h4sh.main.c.1.42.7.1700000000123456789.5.r4nd") == (42, 7, 1700000000123456789)


def test_times_as_jetstream_writes_them() -> None:
    assert nanos_of("2023-11-14T22:13:20.123456789Z") == 1_700_000_000_123_456_789
    assert nanos_of("2023-11-14T22:13:20.1Z") == 1_700_000_000_100_000_000
    assert nanos_of("2023-11-14T22:13:20Z") == 1_700_000_000_000_000_000


@pytest.mark.parametrize("gather_s", [0.0, GATHER_S], ids=["told", "asking"])
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_of_the_server_is_survived_without_loss(tmp_path: Path, how: str, gather_s: float) -> None:
    """A follower and a writer go through two restarts: every append is in once, and the follower sees each once."""
    async with NatsServer(tmp_path) as server:
        tape = await JetStreamTape.connect(server.url, "main", gather_s=gather_s)
        following, filtered = Following(tape.follow()), Following(tape.follow(["bot.>"]))
        writing = asyncio.ensure_future(fill(tape, [BTC, EMA], 3_000))
        for count in (300, 900):
            await following.seen(count)
            await (server.kill() if how == "kill" else server.stop())
            await asyncio.sleep(0.2)
            await server.start()
        made = await writing
        assert [(e.actor, e.decision) for e in await following.seen(3_000)] == made
        assert [(e.actor, e.decision) for e in await filtered.seen(1_500)] == [one for one in made if one[0] == EMA]
        assert [entry.seq for entry in following.entries] == list(range(1, 3_001))
        await following.stop()
        await filtered.stop()
        await tape.close()


@pytest.mark.parametrize("gather_s", [0.0, GATHER_S], ids=["told", "asking"])
async def test_the_loss_of_the_leader_of_three_is_survived(nats_cluster: NatsCluster, gather_s: float) -> None:
    name = f"loss-{next(_numbers)}"
    url = ",".join(nats_cluster.urls)
    tape = await JetStreamTape.connect(url, name, replicas=3, gather_s=gather_s)
    following = Following(tape.follow())
    writing = asyncio.ensure_future(fill(tape, [BTC, EMA], 800))
    await following.seen(100)
    leader = (await tape._bus.ask(f"STREAM.INFO.{name}"))["cluster"]["leader"]
    server = next(server for server in nats_cluster.servers if server.name == leader)
    await server.kill()
    await following.seen(400)  # the two that are left go on
    await server.start()
    made = await writing
    assert [(e.actor, e.decision) for e in await following.seen(800)] == made
    assert [entry.seq for entry in following.entries] == list(range(1, 801))
    await following.stop()
    await tape.close()
    await drop(url, name)


@pytest.mark.parametrize("kind", ["r1"], indirect=True)
async def test_pages_are_what_is_read_also_of_what_was_once_unreadable(connect: Connect, url: str) -> None:
    tape = await connect()
    feed, found = "feed.binance.BTC-USDT", 0
    await fill(tape, [BTC, feed, EMA], 60)
    client = await nats.connect(url)
    await client.publish(f"{tape.name}.{feed}.candle", b"no decision")
    await client.flush()
    await client.close()
    fifth = await tape.entry(5)
    assert fifth is not None
    said = Quarantined("market", 5, "unreadable", "in those days", Codec().encode(fifth.decision))
    last = await tape.last(BTC)
    assert last is not None
    await tape.append(BTC, Decision("c" * 32, 5, "", 5, (said,)), expected=last.seq)
    reader = await connect()
    expected = await all_of(reader.read())
    assert [entry.seq for entry in expected if isinstance(entry.decision.facts[0], Unreadable)] == [5, 61]
    for columns in (False, True):
        for after in (0, 7, 61, 62):
            entries: list[Recorded] = []
            async for page in reader.pages(after=after, columns=columns):
                entries += page.entries() if isinstance(page, Scanned) else page
                found += len(page) - len(page.alone) if isinstance(page, Scanned) else 0
            assert entries == expected[after:]
    assert found > 20
