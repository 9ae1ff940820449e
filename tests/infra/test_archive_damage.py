"""An archive that is not what was sealed: found, and the first message named, whatever was done to it."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.archive.chain import START, linked
from infra.archive.check import check
from infra.archive.export import export
from infra.archive.model import ArchiveDamaged
from infra.archive.parquet import short
from infra.archive.place import Place
from infra.services.nats import NatsServer
from infra.tapes.stored import Stored

from .archiving import fill, opened, place_in, quiet, rewrite, rows_of

NAME, MESSAGES, ROWS = "damaged", 240, 60
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sealed(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a tape that is still there: 240 messages in 4 parts."""
    folder = tmp_path_factory.mktemp("sealed")

    async def seal() -> None:
        async with opened(nats_server.url, NAME) as tape:
            await fill(tape, MESSAGES)
            await export(tape, place_in(folder, tape), quiet, rows=ROWS)

    asyncio.run(seal())
    return folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    shutil.copytree(sealed, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def place(folder: Path) -> Place:
    return Place(str(folder), NAME)


async def damage(place: Place) -> ArchiveDamaged:
    """What a check of the archive alone finds."""
    with pytest.raises(ArchiveDamaged) as caught:
        await check(place, None, quiet)
    return caught.value


async def test_any_byte_that_is_another(place: Place, folder: Path) -> None:
    chance = random.Random(7)
    files = sorted((folder / NAME).iterdir())
    assert len(files) == 8
    for _ in range(60):
        path = chance.choice(files)
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ chance.randrange(1, 256)]) + whole[at + 1 :])
        found = await damage(place)
        first = int(path.stem.removeprefix("part-"))
        # A byte of a manifest may say that another part is missing, or that this one goes on from another.
        low, high = (1, MESSAGES) if path.suffix == ".json" else (first, first + ROWS - 1)
        assert low <= found.seq <= high, (path.name, at, str(found))
        path.write_bytes(whole)
    assert (await check(place, None, quiet)).last == MESSAGES


async def test_any_file_that_is_cut_short_or_goes_on(place: Place, folder: Path) -> None:
    chance = random.Random(8)
    for path in sorted((folder / NAME).iterdir()):
        whole = path.read_bytes()
        for cut in (0, 1, chance.randrange(len(whole)), len(whole) - 1):
            path.write_bytes(whole[:cut])
            await damage(place)
        path.write_bytes(whole + b"\n")
        await damage(place)
        path.write_bytes(whole)


def dropped(rows: Rows, at: int) -> None:
    del rows[at]


def doubled(rows: Rows, at: int) -> None:
    rows.insert(at, rows[at - 1])


def swapped(rows: Rows, at: int) -> None:
    rows[at], rows[at + 1] = rows[at + 1], rows[at]


def swapped_with_their_numbers(rows: Rows, at: int) -> None:
    one, other = rows[at], rows[at + 1]
    rows[at], rows[at + 1] = {**other, "seq": one["seq"]}, {**one, "seq": other["seq"]}


def changed(column: str, value: Any) -> Callable[[Rows, int], None]:
    def change(rows: Rows, at: int) -> None:
        rows[at][column] = value

    change.__name__ = f"another {column}"
    return change


FORGERIES = [
    dropped, doubled, swapped, swapped_with_their_numbers, changed("seq", 77), changed("actor", "bot.other"),
    changed("kind", "fill"), changed("epoch", 9), changed("cause", 5), changed("id", "00"), changed("link", 0),
    changed("body", b'{"id":"f","cause":1,"by":"","ts":1,"facts":[]}'),
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_the_first_message_that_is_another_is_named(place: Place, folder: Path, forge: Any) -> None:
    """The file is whole and its manifest has its hash: only the chain tells."""
    parts = place.parts()
    for part, at in ((parts[0], 1), (parts[1], 31), (parts[3], 58)):
        original = rows_of(folder, part)
        rows = [dict(row) for row in original]
        forge(rows, at)
        rewrite(folder, part, rows)
        found = await damage(place)
        assert found.seq == part.first + at, str(found)
        rewrite(folder, part, original)
    assert (await check(place, None, quiet)).last == MESSAGES


async def test_the_last_message_of_a_part_missing(place: Place, folder: Path) -> None:
    part = place.parts()[1]
    rewrite(folder, part, rows_of(folder, part)[:-1])
    assert (await damage(place)).seq == 120


async def test_parts_that_are_missing_or_swapped(place: Place, folder: Path) -> None:
    def path(first: int, suffix: str) -> Path:
        return folder / NAME / f"part-{first:020d}.{suffix}"

    def aside(*paths: Path) -> list[tuple[Path, bytes]]:
        found = [(one, one.read_bytes()) for one in paths]
        for one in paths:
            one.unlink()
        return found

    for missing in ([path(61, "json"), path(61, "parquet")], [path(121, "parquet")], [path(1, "json")]):
        kept = aside(*missing)
        assert (await damage(place)).seq == int(missing[0].stem.removeprefix("part-"))
        for one, data in kept:
            one.write_bytes(data)
    for suffix in ("json", "parquet"):
        one, other = path(61, suffix), path(121, suffix)
        (_, was), (_, was_other) = aside(one, other)
        one.write_bytes(was_other)
        other.write_bytes(was)
        assert (await damage(place)).seq == 61
        one.write_bytes(was)
        other.write_bytes(was_other)
    assert (await check(place, None, quiet)).parts == 4


async def test_the_last_parts_missing_are_found_by_a_noted_head_and_by_the_tape(
    place: Place, folder: Path, nats_server: NatsServer
) -> None:
    head = place.parts()[-1].head
    for suffix in ("json", "parquet"):
        (folder / NAME / f"part-{181:020d}.{suffix}").unlink()
    assert (await check(place, None, quiet)).last == 180
    with pytest.raises(ArchiveDamaged, match="its last ones are missing"):
        await check(place, None, quiet, head=head)
    async with opened(nats_server.url, NAME) as tape:
        with pytest.raises(ArchiveDamaged, match=r"archived up to 240, but .* ends at 180") as caught:
            await check(place, tape, quiet)
    assert caught.value.seq == 181


async def test_an_archive_forged_as_a_whole_is_found_by_the_tape(
    place: Place, folder: Path, nats_server: NatsServer
) -> None:
    """Whoever may write to the archive can make a chain of his own; what he cannot is change the tape with it."""
    head, forged = START, 100
    for part in place.parts():
        rows = rows_of(folder, part)
        before = penultimate = head
        for row in rows:
            if row["seq"] == forged:
                row["body"] = row["body"].replace(b'"ts":', b'"ts": ')
            at = int(row["append_ts"].timestamp() * 1_000_000 + 0.5)
            path = f"{row['actor']}.{row['kind']}" if row["actor"] else row["kind"]
            penultimate, head = head, linked(head, Stored(row["seq"], path, row["epoch"], at, row["body"]))
            row["link"] = short(head)
        chained = msgspec.structs.replace(part, before=before.hex(), penultimate=penultimate.hex(), head=head.hex())
        rewrite(folder, chained, rows)
    assert (await check(place, None, quiet)).last == MESSAGES
    async with opened(nats_server.url, NAME) as tape:
        with pytest.raises(ArchiveDamaged, match=f"message {forged} is another in the archive than on the tape: body"):
            await check(place, tape, quiet)
