"""Exports, restores and retentions that do not come to their end: the next one goes on, and nothing was half true."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from events.decision import Decision, Recorded, digest_of
from events.tape import TapeError
from infra.archive import restore as restoring
from infra.archive.check import check
from infra.archive.export import export
from infra.archive.model import ArchiveError
from infra.archive.place import Place
from infra.archive.restore import Restored, restore
from infra.archive.retain import Behind, mend, retain
from infra.tapes.bus import Bus
from infra.tapes.client import TapeClient
from infra.tapes.jetstream import JetStreamTape
from tests.contract.making import block, decision

from . import archive_child
from .archiving import ACTORS, delete, everything, fill, kept, opened, place_in, quiet
from .cli_tape import ROOT


async def killed_after(seconds: float, *words: str) -> bool:
    """Runs a step and kills it that long after it has begun; false where it had come to its end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", archive_child.__name__, *words, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(seconds)
    if child.returncode is None:
        child.kill()
    return await child.wait() != 0


async def refused_or_whole(url: str, name: str, sealed: list[Recorded]) -> bool:
    """A kill may also come between the end of the restore and the end of its process: then all must be there."""
    try:
        tape = await JetStreamTape.connect(url, name, create=False)
    except TapeError as error:
        return "not whole yet" in str(error) or "no tape" in str(error)
    try:
        return (await everything(tape))[: len(sealed)] == sealed
    finally:
        await tape.close()


async def test_exports_and_restores_killed_at_any_time(nats_url: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with opened(nats_url) as tape:
        place = place_in(tmp_path, tape)
        await fill(tape, 1_000, odd=False)
        before, words = await everything(tape), (nats_url, tape.name, str(tmp_path))
        await killed_after(chance.uniform(0.02, 0.3), "export", *words)
        if place.parts():
            await check(place, None, quiet)
        await export(tape, place, quiet, rows=20)
        checked = await check(place, tape, quiet)
        assert checked.compared == checked.last >= 1_000
        await delete(tape)
    await killed_after(chance.uniform(0.02, 0.3), "restore", *words)
    assert await refused_or_whole(nats_url, place.tape, before[:1_000])
    done = await restore(nats_url, place, 1, quiet)
    assert done.found + done.added == done.last
    async with opened(nats_url, place.tape) as tape:
        assert (await everything(tape))[:1_000] == before[:1_000]


class Crash(BaseException):
    """Ends a step as a kill would: whatever it would still have done is not done."""


async def test_an_export_that_ends_between_any_two_files(
    nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = Place.put, 0

    def counted(place: Place, made: Path) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        put(place, made)

    async with opened(nats_url) as tape:
        await fill(tape, 100)
        monkeypatch.setattr(Place, "put", counted)
        for number in range(6):
            place = Place(str(tmp_path / str(number)), tape.name)
            left = number
            with pytest.raises(Crash):
                await export(tape, place, quiet, rows=34)
            assert len(place.parts()) == number // 2
            left = 100
            done = await export(tape, place, quiet, rows=34)
            assert done.last >= 100
            assert (await check(place, tape, quiet)).last == done.last


async def test_a_restore_that_ends_between_any_two_steps(
    nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, left = TapeClient.publish_lines, 0

    async def counted(client: TapeClient, lines: list[bytes]) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        await publish(client, lines)

    async with opened(nats_url) as tape:
        await fill(tape, 100)
        place = place_in(tmp_path, tape)
        await export(tape, place, quiet, rows=40)
        stored = await kept(tape)
        await delete(tape)
    monkeypatch.setattr(TapeClient, "publish_lines", counted)
    monkeypatch.setattr(restoring, "_WINDOW", 15)
    for windows in (0, 1, 2, 3):
        left = windows
        with pytest.raises(Crash):
            await restore(nats_url, place, 1, quiet)
        with pytest.raises(TapeError, match="not whole yet"):
            await JetStreamTape.connect(nats_url, place.tape)
    left = -1
    done = await restore(nats_url, place, 1, quiet)
    assert 0 < done.found < done.last
    assert await restore(nats_url, place, 1, quiet) == Restored(100, 0, 100, done.head)
    async with opened(nats_url, place.tape) as tape:
        assert await kept(tape) == stored[:100]


async def test_a_retention_that_ends_between_any_two_steps(
    nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was done last: nobody can append where something could be lost, and the next one puts it right."""
    ask, left = Bus.ask_patiently, -1

    async def counted(bus: Bus, what: str, body: Any = None, *, patience_s: float) -> Any:
        nonlocal left
        if what.startswith("STREAM.UPDATE") and left >= 0:
            if left == 0:
                raise Crash
            left -= 1
        return await ask(bus, what, body, patience_s=patience_s)

    monkeypatch.setattr(Bus, "ask_patiently", counted)
    for updates in range(3):
        async with opened(nats_url) as tape:
            await fill(tape, 120)
            place = place_in(tmp_path, tape)
            await export(tape, place, quiet)
            before = await everything(tape)
            left = updates
            with pytest.raises(Crash):
                await retain(tape, place, 100, quiet, kept=10)
            left = -1
            assert await _writable(nats_url, tape.name) == (updates == 0)
            assert await mend(nats_url, tape.name) == (updates > 0)
            assert not await mend(nats_url, tape.name)
            assert (await everything(tape))[: len(before)] == before
            assert (await tape.look()).first == (1 if updates < 2 else 100)
            assert (await retain(tape, place, 110, quiet, kept=10)).first == 110
            assert (await everything(tape))[: len(before)] == before
            await fill(tape, 30, start=120)


async def _writable(url: str, name: str) -> bool:
    try:
        tape = await JetStreamTape.connect(url, name)
    except TapeError as error:
        return "`tape retain` goes on" not in str(error)
    await tape.close()
    return True


async def test_writers_and_readers_live_through_a_retention(nats_url: str, tmp_path: Path) -> None:
    """Appends wait while the stream is closed; the last message of an idle actor is found where it is now."""
    async with opened(nats_url) as tape, opened(nats_url, tape.name) as other:
        idle = "bot.idle"
        await fill(tape, 1)
        made, again, rival = (decision("idle", number) for number in range(3))
        at = await tape.append(idle, made, expected=0)
        await fill(tape, 300, start=1)
        place = place_in(tmp_path, tape)
        await export(tape, place, quiet)
        writing = asyncio.ensure_future(fill(other, 400, start=301, odd=False))
        done = await retain(tape, place, 290, quiet, kept=5)
        assert done.first == 290
        await writing
        found = await everything(other)
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
        assert sum(entry.actor in ACTORS for entry in found) >= 690
        last = await other.last(idle)
        assert last is not None
        assert last.seq == at
        assert await other.append(idle, made, expected=at) == at  # it is there already
        assert await other.append(idle, again, expected=at) == len(found) + 1
        with pytest.raises(TapeError, match="expected its last message at 2"):
            await tape.append(idle, rival, expected=at)
        picked = [entry.seq async for entry in other.read(["bot.idle.>", "account.>"], after=100)]
        assert picked == [e.seq for e in await everything(other) if e.seq > 100 and e.actor in (idle, "account.main")]


async def test_a_reader_that_is_behind_stops_a_retention(nats_url: str, tmp_path: Path) -> None:
    async with opened(nats_url) as tape:
        for number in range(2):  # more than a server sends to a reader that does not take it
            await _large(tape, 40, number * 40)
        place = place_in(tmp_path, tape)
        await export(tape, place, quiet)
        slow = tape.read(["bot.>"])
        await anext(slow)
        with pytest.raises(Behind, match=r"a reader of the tape .* nothing was dropped"):
            await retain(tape, place, 70, quiet, kept=5)
        assert (await tape.look()).first == 1
        assert len([entry async for entry in slow]) == 79
        assert (await retain(tape, place, 70, quiet, kept=5)).first == 70


async def _large(tape: JetStreamTape, count: int, start: int) -> None:
    last = await tape.last("bot.large")
    expected, large = last.seq if last else 0, block(8_000)  # 600 kB each
    for number in range(start, start + count):
        made = Decision(digest_of(b"%d" % number), 0, "", number, (large,))
        expected = await tape.append("bot.large", made, expected=expected)


async def test_an_archive_that_is_away_is_an_error_and_no_shorter_history(nats_url: str, tmp_path: Path) -> None:
    async with opened(nats_url) as tape:
        await fill(tape, 100)
        place = place_in(tmp_path / "here", tape)
        await export(tape, place, quiet, rows=40)
        before = await everything(tape)
        await retain(tape, place, 90, quiet, kept=5)
    (tmp_path / "here").rename(tmp_path / "there")
    async with opened(nats_url, place.tape) as tape:
        with pytest.raises(
            ArchiveError, match=r"keeps what is up to 89 in the archive at .*here, but nothing is there"
        ):
            await everything(tape)
        assert [entry.seq async for entry in tape.read(after=89)] == list(range(90, len(before) + 1))
        moved = place_in(tmp_path / "there", tape)
        await retain(tape, moved, 90, quiet, kept=5)
        assert (await everything(tape))[:100] == before[:100]
    part = moved.parts()[1]
    whole = (tmp_path / "there" / place.tape / part.file).read_bytes()
    (tmp_path / "there" / place.tape / part.file).write_bytes(whole[:-9])
    async with opened(nats_url, place.tape) as tape:
        with pytest.raises(ArchiveError, match="is not what was sealed"):
            await everything(tape)


async def test_what_restoring_and_exporting_refuse(nats_url: str, tmp_path: Path) -> None:
    async with opened(nats_url) as tape:
        with pytest.raises(ArchiveError, match="there is no archive of the tape"):
            await restore(nats_url, place_in(tmp_path, tape), 1, quiet)
        await fill(tape, 100)
        place = place_in(tmp_path, tape)
        await export(tape, place, quiet)
        done = await restore(nats_url, place, 1, quiet)
        assert (done.found, done.added) == (100, 0)
        stored = await kept(tape)
        await delete(tape)
    async with opened(nats_url, place.tape) as tape:
        await fill(tape, 50)  # the same decisions, known at another time
        with pytest.raises(ArchiveError, match=r"message 1 is another \(append time\)"):
            await restore(nats_url, place, 1, quiet)
        with pytest.raises(ArchiveError, match="it lost messages that it had acknowledged"):
            await export(tape, place, quiet)
        await fill(tape, 60, start=50)
        with pytest.raises(ArchiveError, match="is of another history"):
            await export(tape, place, quiet)
        await delete(tape)
    await restore(nats_url, place, 1, quiet)
    async with opened(nats_url, place.tape) as tape:
        assert await kept(tape) == stored[:100]
