"""A file tape read in pages against the same tape read entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.decision import Decision, Recorded
from events.market import Book, Trade
from events.scanned import Scanned
from events.tape import TapeDamaged
from infra.tapes import pages
from infra.tapes.file import FileTape


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileTape]:
    """300 messages in segments of 8 KiB, read in bites of 4 KiB: one is larger than a bite, one no decision."""
    monkeypatch.setattr(pages, "_BITE", 4096)
    monkeypatch.setattr(pages, "_LARGE_BITE", 4096)
    tape = FileTape(tmp_path, fsync="close", segment_bytes=8192, clock=lambda: 5)
    for number in range(300):
        levels = tuple((100.0 + n, 1.0) for n in range(500 if number == 77 else 2))
        facts = (
            Book("sim", "A", number, levels, ()),
            *(Trade("sim", "A", number, 1.0, 2.0) for _ in range(number % 4)),
        )
        actor = f"feed.sim.A{number % 3}"
        last = tape._log.last.get(actor)
        tape.put(actor, Decision(f"{number:032x}", 0, "", number, facts), expected=last.seq if last else 0)
    tape._log.append("feed.sim.A0", b"feed.sim.A0.trade", b'{"id":"', 0, 5)
    yield tape
    tape._log.close()


async def read(tape: FileTape, after: int = 0, columns: bool = False) -> list[Recorded]:
    found: list[Recorded] = []
    async for page in tape.pages(after=after, columns=columns):
        found += page.entries() if isinstance(page, Scanned) else page
    return found


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("after", [0, 1, 76, 77, 150, 299, 300, 301])
async def test_pages_are_what_is_read(tape: FileTape, after: int, columns: bool) -> None:
    assert len(list(tape.folder.glob("*.segment"))) > 5
    found = await read(tape, after, columns)
    assert found == list(tape.scan(after=after))
    assert len(found) == 301 - after


@pytest.mark.parametrize("columns", [False, True])
async def test_what_comes_while_pages_are_read_is_left_for_later(tape: FileTape, columns: bool) -> None:
    found: list[Recorded] = []
    async for page in tape.pages(columns=columns):
        found += page.entries() if isinstance(page, Scanned) else page
        tape._log.append("feed.sim.A0", b"feed.sim.A0.trade", b"{}", 0, 5)
    assert [entry.seq for entry in found] == list(range(1, 302))


@pytest.mark.parametrize("place", [20, 40, 200, 3000])
async def test_damage_is_found_in_the_same_words(tape: FileTape, place: int) -> None:
    tape._log.flush()
    damaged = sorted(tape.folder.glob("*.segment"))[2]
    data = bytearray(damaged.read_bytes())
    data[place] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(TapeDamaged) as expected:
        list(tape.scan())
    for columns in (False, True):
        with pytest.raises(TapeDamaged) as caught:
            await read(tape, columns=columns)
        assert str(caught.value) == str(expected.value)
