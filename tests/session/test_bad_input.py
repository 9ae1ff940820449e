"""Garbage written straight onto the bus while bots trade: nothing of it stops them, and nothing of it vanishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from events import subjects
from events.codec import Codec
from events.control import ActorHalted
from events.decision import Decision, Recorded
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.session.player import newest
from infra.tapes.jetstream import JetStreamTape
from tests.session.command import Tape
from tests.session.looking import entries, opened, rows, trades, whole
from tests.session.market import SPEED, START, VENUE, config, feeds

AAA = subjects.feed(VENUE, "AAA-USDT")
CANDLE = f"{AAA}.candle"
GOOD = Candle(VENUE, "AAA-USDT", "1m", START, 100.0, 101.0, 99.0, 100.5, 7.0, 3)
_encode = Codec().encode


def message(**changes: Any) -> bytes:
    """A candle as a gateway gone mad would send it: whole, with the id of its content."""
    fact = msgspec.structs.replace(GOOD, **changes)
    return _encode(observed(AAA, fact.ts, fact))


def spoilt(old: bytes, new: bytes) -> bytes:
    found = message(ts=START + 5 * MINUTE).replace(old, new, 1)
    assert new in found
    return found


UNREADABLE: dict[str, bytes] = {
    "not JSON": b"hello",
    "nothing": b"",
    "not UTF-8": b'{"id":"\xff\xfe\xfd"}',
    "truncated": message()[:-9],
    "unknown tag": spoilt(b"candle/1", b"candel/1"),
    "unknown version": spoilt(b"candle/1", b"candle/99"),
    "unknown field": spoilt(b'"close"', b'"colour":"red","close"'),
    "missing field": spoilt(b'"close":100.5,', b""),
    "NaN": spoilt(b"100.5", b"NaN"),
    "infinite": spoilt(b"100.5", b"1e999"),
    "null": spoilt(b"100.5", b"null"),
    "wrong type": spoilt(b'"1m"', b"60"),
    "no facts": b'{"id":"x","cause":0,"by":"","ts":0,"facts":[]}',
    "deep": b"[" * 5_000,
    "zeros": bytes(900_000),
}
QUARANTINED: dict[str, tuple[bytes, str]] = {
    "1970": (message(ts=MINUTE), "stamp"),
    "2200": (message(ts=7_258_118_400_000_000), "stamp"),
    "year 5138": (message(ts=10**17 - 10**17 % MINUTE), "stamp"),
    "high below low": (message(high=98.0), "high-low"),
    "negative": (message(low=-1.0), "price"),
    "too large": (message(high=1e300), "too-large"),
    "misaligned": (message(ts=START + 1), "misaligned"),
    "another symbol": (message(symbol="BBB-USDT"), "symbol"),
    "another timeframe": (message(timeframe="3m"), "timeframe"),
}
ELSEWHERE: dict[str, tuple[str, bytes]] = {
    "unknown subject": ("nonsense.what.ever", b"who am I"),
    "short subject": ("x", b"short"),
    "unknown kind": (f"{AAA}.nonsense", b"a kind that is none"),
    "no command": ("command.operator.pause-bot", b"stop it!"),
    "unknown command": ("command.operator.pause-bot", b'{"id":"1","cause":0,"by":"","ts":1,"facts":[{"type":"x/1"}]}'),
    "quarantine": ("quarantine.csv.quarantined", b"\x00\x01"),
    "session": ("session.plan.session-started", b"{}"),
}  # fmt: skip


class Bus:
    """A stranger on the bus, who knows the subjects."""

    def __init__(self, tape: JetStreamTape) -> None:
        self._tape = tape.name
        self._client = tape.client

    async def say(self, subject: str, body: bytes) -> int:
        """The sequence it got."""
        answer = await self._client.request(f"{self._tape}.{subject}", body, timeout=10)  # an ack takes 0.2 ms
        return int(json.loads(answer.data)["seq"])


async def test_trading_goes_on_and_nothing_vanishes(tmp_path: Path, nats_url: str, postgres_dsn: str) -> None:
    cli = Tape(tmp_path, config(tmp_path, "bad", nats_url, postgres_dsn, processes=3))
    words = ["run", *feeds(tmp_path), "--speed", SPEED, "--plain"]
    with cli.beside(*words) as running:
        async with opened(running, nats_url, "bad") as tape:
            await running.eventually(lambda: trades(tape, 0), "fills")
            bus = Bus(tape)
            for body in [*UNREADABLE.values(), *(body for body, _ in QUARANTINED.values())]:
                await bus.say(CANDLE, body)
            for subject, body in ELSEWHERE.values():
                await bus.say(subject, body)
            again = (await entries(tape, [CANDLE]))[0].decision
            await bus.say(CANDLE, _encode(again))
            end = await bus.say(CANDLE, _encode(again))
            await running.eventually(lambda: trades(tape, end), "fills after all that")
        done = running.end()
    assert done.code == 0, running.said()
    verified = cli("verify")
    assert verified.code == 0, verified.out
    assert cli("rebuild", "--check").code == 0  # it brings the tables up to the end first
    await nothing_vanished(postgres_dsn, again)
    assert len(await whole(postgres_dsn, "bad")) == 2


async def nothing_vanished(dsn: str, again: Decision) -> None:
    unreadable = await rows(dsn, "bad", "SELECT raw FROM quarantine WHERE kind = 'unreadable'")
    kept = [bytes(raw) for (raw,) in unreadable]
    for name, body in UNREADABLE.items():
        assert kept.count(body) == 1, name
    for name, (_, body) in ELSEWHERE.items():
        assert kept.count(body) == 1, name
    query = f"SELECT reason, raw FROM quarantine WHERE kind = 'quarantined' AND source = '{AAA}'"
    reasons = [(reason, bytes(raw)) for reason, raw in await rows(dsn, "bad", query)]
    for name, body in UNREADABLE.items():  # the symbol's actor has said so too, with what of the bytes fits a fact
        assert sum(reason == "unreadable" and bool(raw or not body) and body.startswith(raw)
                   for reason, raw in reasons) >= 1, name  # fmt: skip
    for name, (body, reason) in QUARANTINED.items():
        fact = json.loads(body)["facts"][0]
        assert sum(found == reason and json.loads(raw) == fact for found, raw in reasons if found == reason) == 1, name
    flags = await rows(dsn, "bad", "SELECT issue, ts FROM data_quality WHERE issue = 'duplicate'")
    assert [int(ts.timestamp() * 1e6) for _, ts in flags] == [again.ts] * 2
    assert not await rows(dsn, "bad", "SELECT * FROM parked")


async def test_a_feed_goes_on_behind_a_mad_stamp(nats_url: str) -> None:
    """Where a feed goes on is read from its newest message, and that one a stranger has written."""
    feeds = [AAA, subjects.feed(VENUE, "BBB-USDT")]
    tape = await JetStreamTape.connect(nats_url, "mad")
    try:
        assert await newest(tape, feeds) == (0, 0, "")
        bus = Bus(tape)
        await bus.say(CANDLE, message())
        assert await newest(tape, feeds) == (1, GOOD.ts, AAA)
        for body in (message(ts=7_258_118_400_000_000), b"hello"):
            seq = await bus.say(CANDLE, body)
            assert await newest(tape, feeds) == (seq, GOOD.ts, AAA)
    finally:
        await tape.close()


async def test_what_is_written_as_an_actor_halts_who_depends_on_it(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    """Nobody may guess what a bot meant: the bot and its account stop, loudly; the others trade on."""
    cli = Tape(tmp_path, config(tmp_path, "poisoned", nats_url, postgres_dsn, processes=64))
    with cli.beside("run", *feeds(tmp_path), "--speed", SPEED, "--json") as running:
        async with opened(running, nats_url, "poisoned") as tape:
            await running.eventually(lambda: trades(tape, 0), "fills")
            at = await Bus(tape).say("bot.aaa.signal", b"buy everything")

            async def halted() -> list[Recorded]:
                # On a busy machine the supervisor says of others as well that they stand still.
                found = await entries(tape, [f"{subjects.SUPERVISOR}.actor-halted"], at)
                return found if len(found) >= 2 else []

            # A poison fact is tried three times, with pauses of 0.2 and 0.4 s; the bot stops with its next signal.
            found = await running.eventually(halted, "halts")
            await running.eventually(lambda: trades(tape, found[-1].seq, ("bbb",)), "fills of the other")
            assert not await entries(tape, ["account.aaa.>", "bot.aaa.>"], found[-1].seq)
        done = running.end()
    facts = [fact for entry in found for fact in entry.decision.facts]
    assert {fact.actor for fact in facts if isinstance(fact, ActorHalted)} == {"account.aaa", "bot.aaa"}
    assert done.code == 5, running.said()
    summary = done.lines()[-1]
    assert summary["type"] == "summary"
    assert summary["halts"] == 2
    assert len(summary["halted"]) == 2
    verified = cli("verify", "--json")
    assert verified.code == 1
    assert verified.json()["difference"]["seq"] == at
