"""What was unreadable once stays so, wherever it is read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.codec import Codec
from events.control import CUT, Quarantined, Unreadable
from events.decision import Decision, Recorded, derived, digest_of
from events.feed import observed
from events.market import Candle
from events.tape import Tape
from infra.archive import export as exporting
from infra.archive import retain as retaining
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.refused import Refused
from tests.contract.making import all_of, fact, fill

from .archiving import opened, place_in, quiet

FEED, MARKET = "feed.binance.BTC-USDT", "market.binance.BTC-USDT"
SAID = "no fact has the tag `candle/1`"


async def refuse(tape: Tape) -> Recorded:
    """A candle that an earlier version's codec did not know, and what it said about it."""
    sent = observed(FEED, 1, fact(1))
    seq = await tape.append(FEED, sent, expected=0)
    raw = Codec().encode(sent)
    said = Quarantined(FEED, 1, "unreadable", f"{SAID}{CUT}100 of {len(raw)} bytes, and so on", raw[:100])
    await tape.append(MARKET, derived(MARKET, Recorded(seq, FEED, sent, 1), (said,)), expected=0)
    return Recorded(seq, FEED, sent, 1)


async def words(tape: Tape, after: int = 0) -> list[str]:
    """What is said of candles of the feed."""
    found = [entry.decision.facts[0] for entry in await all_of(tape.read([f"{FEED}.>"], after=after))]
    assert all(isinstance(one, (Unreadable, Candle)) for one in found)
    return [one.reason if isinstance(one, Unreadable) else "" for one in found]


async def test_on_the_stream_and_in_the_archive(nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "_SETTLE_S", 0)  # nothing else is on its way
    async with opened(nats_url) as tape:
        sent = await refuse(tape)
        await tape.append(FEED, observed(FEED, 2, fact(2)), expected=sent.seq)
        await fill(tape, ["bot.ema"], 5)
        assert await words(tape) == [SAID, ""]
        assert await words(tape, sent.seq) == [""]
        async with opened(nats_url, tape.name) as newer:
            assert await words(newer, sent.seq) == [""]  # asked in this order, it learns twice
            assert await words(newer) == [SAID, ""]
        place = place_in(tmp_path, tape)
        await exporting.export(tape, place, quiet)
        await retaining._Dropping(tape.bus, tape.name, place.location).run(6)
        async with opened(nats_url, tape.name) as after:
            assert (await after.look()).first > sent.seq + 1
            assert await words(after) == [SAID, ""]
            found = await all_of(after.read())
            assert [type(entry.decision.facts[0]) for entry in found[:3]] == [Unreadable, Quarantined, Candle]


def test_nothing_is_kept_of_what_still_cannot_be_read() -> None:
    refused = Refused()
    for number in range(100):
        said = Quarantined(FEED, 1, "unreadable", "not JSON", b"{%d" % number)
        refused.note(Recorded(number, MARKET, Decision(digest_of(b"x"), number, "y", 1, (said,)), 1))
    assert refused._words == {}
    assert isinstance(refused.decision(7, "t.x", b"{7").facts[0], Unreadable)


async def test_a_tape_is_read_from_near_its_end_without_what_was_refused_before(nats_url: str) -> None:
    async with opened(nats_url) as tape:
        await refuse(tape)
        await fill(tape, ["bot.ema"], 20)
        newer: JetStreamTape
        async with opened(nats_url, tape.name) as newer:
            assert len(await all_of(newer.read(after=10))) == 12
            assert newer._refused._words == {}
