"""Archives: all that is on a tape, proven message by message; read back as the same tape."""

from __future__ import annotations

from pathlib import Path

from events.digest import digest
from infra.archive.check import check
from infra.archive.export import export
from infra.archive.restore import restore
from infra.archive.retain import retain

from .archiving import everything, fill, kept, opened, place_in, quiet


async def test_there_and_back(nats_url: str, tmp_path: Path) -> None:
    async with opened(nats_url) as tape:
        await fill(tape, 300)
        place = place_in(tmp_path, tape)
        done = await export(tape, place, quiet, rows=128)
        assert (done.parts, done.messages, done.last) == (3, 300, 300)
        assert (await export(tape, place, quiet)).parts == 0
        checked = await check(place, tape, quiet, head=done.head)
        assert (checked.last, checked.compared, checked.witnessed) == (300, 300, 300)
        before, stored = await everything(tape), await kept(tape)
        await tape.bus.ask(f"STREAM.DELETE.{tape.name}")
    back = await restore(nats_url, place, 1, quiet)
    assert (back.found, back.added, back.head) == (0, 300, done.head)
    async with opened(nats_url, place.tape) as again:
        assert await kept(again) == stored[:300]
        assert await everything(again) == before[:300]
        assert digest(await everything(again)) == digest(before[:300])
        await fill(again, 30, start=300)


async def test_what_was_dropped_is_read_from_the_archive(nats_url: str, tmp_path: Path) -> None:
    async with opened(nats_url) as tape:
        await fill(tape, 300)
        place = place_in(tmp_path, tape)
        await export(tape, place, quiet, rows=128)
        before = await everything(tape)
        done = await retain(tape, place, 250, quiet, kept=10)
        assert (done.first, done.dropped, done.archived) == (250, 249, 300)
        assert await everything(tape) == before
        await fill(tape, 30, start=300)
