"""Out of quarantine: bad input comes on a feed, a fix comes, and a retry puts it through, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.plan import BotPlan, Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from events import codec as codecs
from events import subjects
from events.codec import Codec
from events.control import Quarantined, QuarantineRetried
from events.decision import Recorded
from events.feed import observed
from events.market import Candle, CandleBackfilled, GapFilled, GapFound
from events.timeframe import MINUTE
from infra.cli.context import Context
from infra.cli.exits import Failure
from infra.cli.quarantine import Item, Refused, readable
from infra.cli.quarantining import Asked, dropped, retried, show, shown
from infra.session.audit import audit
from infra.session.opening import record_plan
from infra.session.player import newest
from infra.tapes.jetstream import JetStreamTape
from projections.shell import project_to_end
from tests.infra.cli_tape import START, Cli
from tests.session.looking import rows

FEED, MARKET = subjects.feed("sim", "AAA-USDT"), subjects.market("sim", "AAA-USDT")
PLAN = Plan(
    symbols=(SymbolPlan(venue="sim", symbol="AAA-USDT"),), bots=(BotPlan(name="one", venue="sim", symbol="AAA-USDT"),)
)
_encode = Codec().encode


def candle(minute: int, **changes: Any) -> Candle:
    whole = Candle("sim", "AAA-USDT", "1m", START + minute * MINUTE, 100.0, 101.0, 99.0, 100.5, 7.0, 3)
    return msgspec.structs.replace(whole, **changes)


def old(minute: int) -> bytes:
    """A candle of a version before the first, as a gateway that nobody has told would send it."""
    fact = candle(minute)
    return _encode(observed(FEED, fact.ts, fact)).replace(b"candle/1", b"candle/0").replace(b'"close"', b'"last"')


def mended(fields: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in fields.items() if name != "last"}, "close": fields["last"]}


class Bench:
    """A tape with a symbol, its account and bot at work, until all that stands on it is dealt with."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name

    async def open(self) -> JetStreamTape:
        return await JetStreamTape.connect(self.url, self.name)

    async def say(self, tape: JetStreamTape, body: bytes) -> int:
        answer = await tape.client.request(f"{self.name}.{FEED}.candle", body, timeout=10)  # an ack takes 0.2 ms
        return int(msgspec.json.decode(answer.data)["seq"])

    async def feed(self, tape: JetStreamTape, *minutes: int) -> None:
        for minute in minutes:
            last = await tape.last(FEED)
            message = observed(FEED, candle(minute).ts, candle(minute))
            await tape.append(FEED, message, expected=last.seq if last else 0)

    async def work(self) -> list[Recorded]:
        """Starts the actors afresh, and ends them when nothing is left to do."""
        tape = await self.open()
        host = Host(deciders(PLAN), tape)
        running = asyncio.ensure_future(host.run())
        try:
            quiet = 0
            while quiet < 3 and not running.done():
                end = await tape.end()
                await asyncio.sleep(0.1)  # an answer takes a millisecond; three times nothing is no accident
                quiet = quiet + 1 if await tape.end() == end and host.at >= await heard(tape) else 0
            if running.done():
                running.result()
            return [entry async for entry in tape.read()]
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await tape.close()


async def heard(tape: JetStreamTape) -> int:
    return max([await tape.last_match(one) for one in (f"{FEED}.>", f"{subjects.COMMAND}.>")])


def answers(entries: list[Recorded], cause: int) -> list[type]:
    return [type(fact) for entry in entries for fact in entry.decision.facts if entry.decision.cause == cause]


async def test_out_of_quarantine(
    nats_url: str,
    postgres_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli = Cli(tmp_path, nats_url, postgres_dsn)
    bench = Bench(nats_url, cli.tape)
    tape = await bench.open()
    try:
        await record_plan(tape, PLAN, START)
        await bench.feed(tape, 1, 2)
        bad, garbage = await bench.say(tape, old(3)), await bench.say(tape, b"\x00hello")
        await bench.feed(tape, 4)
    finally:
        await tape.close()
    entries = await bench.work()
    assert answers(entries, bad) == answers(entries, garbage) == [Quarantined]
    desk = Desk(cli, capsys)
    first, second = await listed_and_shown(desk)
    await nothing_is_retried_blindly(desk, first, second)

    monkeypatch.setitem(codecs.UPCASTERS, ("candle", 0), mended)  # type: ignore[misc]
    assert len(await bench.work()) == len(entries) + 4  # three claims and a drop: what was once unreadable stays so
    await retried_once(desk, first)
    entries = await bench.work()
    (again,) = [one for one in entries if isinstance(one.decision.facts[-1], QuarantineRetried)]
    assert again.actor == FEED
    assert again.decision.facts[0] == candle(3)
    assert answers(entries, again.seq) == [CandleBackfilled, GapFilled]
    assert GapFound in [type(fact) for entry in entries for fact in entry.decision.facts]
    await all_agree(cli, bench, postgres_dsn, again.seq)


class Desk:
    """Commands in this process, which are quicker, and know what the test has mended."""

    def __init__(self, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
        self.cli, self._capsys = cli, capsys

    async def do(self, *commands: Callable[[Context], Awaitable[int]], json: bool = True) -> tuple[list[int], str]:
        """Codes of commands given side by side, and what they said."""
        self._capsys.readouterr()
        contexts = [Context(self.cli.config, None, None, json, False) for _ in commands]
        codes = await asyncio.gather(*(one(context) for one, context in zip(commands, contexts, strict=True)))
        return list(codes), self._capsys.readouterr().out


async def listed_and_shown(desk: Desk) -> tuple[str, str]:
    """Names of the candle and of the garbage."""
    words = ("--source", "feed.sim", "--reason", "unreadable", "--newer", "1h")
    lines = desk.cli("quarantine", "list", "--json", *words).lines()
    assert [(one["source"], one["status"]) for one in lines] == [(FEED, "open")] * 2
    assert await desk.do(lambda context: shown(context, Asked(older="1h"))) == ([0], "")
    first, second = (one["item"] for one in lines)
    _, said = await desk.do(lambda context: show(context, first))
    assert msgspec.json.decode(said)["raw"] == old(3).decode()
    assert "no fact has the tag `candle/0`" in said
    _, said = await desk.do(lambda context: show(context, second), json=False)
    assert "00000000  00 68 65 6c 6c 6f" in said
    return first, second


async def nothing_is_retried_blindly(desk: Desk, first: str, second: str) -> None:
    refused = desk.cli("quarantine", "retry", "--source", FEED)
    assert refused.code == 1
    assert f"{first}: NOT retried: it still cannot be read: no fact has the tag `candle/0`" in refused.out
    assert "0 retried, 2 refused" in refused.out
    with pytest.raises(Failure, match="name the items"):
        await desk.do(lambda context: retried(context, Asked(), ""))
    with pytest.raises(Failure, match="no '99' in quarantine"):
        await desk.do(lambda context: show(context, "99"))
    drop = partial(dropped, asked=Asked((second,)), reason="noise")
    assert (await desk.do(drop))[0] == [0]
    codes, said = await desk.do(drop)
    assert codes == [1]
    assert "dropped already" in said


async def retried_once(desk: Desk, name: str) -> None:
    """Side by side, as two people would, and once more afterwards."""
    retry = partial(retried, asked=Asked((name,)), reason="the gateway was old")
    codes, said = await desk.do(retry, retry)
    assert sorted(codes) == [0, 1]
    again, more = await desk.do(retry)
    assert again == [1]
    lines = [msgspec.json.decode(line) for line in (said + more).splitlines()]
    assert sorted(one["done"] for one in lines) == [False, False, True]
    assert all("retried already" in one["why"] for one in lines if not one["done"])


async def all_agree(cli: Cli, bench: Bench, dsn: str, again: int) -> None:
    """Audit, tables and their rebuild, by who has the fix and who has not; the feed goes on where it was."""
    tape = await bench.open()
    try:
        assert (await audit(tape)).difference is None
        await project_to_end(dsn, tape)
        assert await newest(tape, [FEED]) == (again, candle(4).ts, FEED)
    finally:
        await tape.close()
    query = "SELECT status, step_seq FROM quarantine_items WHERE kind = 'quarantined' ORDER BY seq"
    found = await rows(dsn, cli.tape, query)
    assert [status for status, _ in found] == ["retried", "dropped"]
    assert found[0][1] == again
    checked = cli("rebuild", "--check")
    assert checked.code == 0, checked.out
    assert cli("verify").code == 0


async def test_what_is_not_usable_today_is_refused() -> None:
    """By the rules of the symbol it was meant for; what never was on a feed is given or imported again."""
    item = Item(9, 0, MARKET, FEED, START, 1, 4, "high-low", "", b"")
    cases = {
        "high-low": (item, fact_bytes(candle(1, high=98.0))),
        "still cannot be read": (item, b"{}"),
        "symbol": (item, fact_bytes(candle(1, symbol="BBB"))),
        "import the mended file": (msgspec.structs.replace(item, source="x.csv:3", actor="quarantine.csv"), b"1,2"),
        "give the command again": (msgspec.structs.replace(item, source="x", actor=subjects.COMMAND), b"stop"),
    }
    for why, (one, raw) in cases.items():
        with pytest.raises(Refused, match=why):
            readable(PLAN, one, raw)
    good = readable(PLAN, item, fact_bytes(candle(1)))
    assert good.facts == (candle(1),)


def fact_bytes(fact: Candle) -> bytes:
    return msgspec.json.encode(fact)
