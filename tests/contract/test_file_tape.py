"""What can go wrong only with files: torn ends, damage, two writers, readers in other processes."""
# ruff: noqa: ASYNC220, ASYNC240 - files and processes are what is tested, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from events.tape import TapeDamaged, TapeError
from infra.tapes.file import FileTape
from infra.tapes.records import SEGMENT_MARK, packed

from .making import Following, all_of, decision, fill

BTC, EMA = "market.binance.BTC-USDT", "bot.ema"


async def filled(folder: Path, count: int = 12, segment_bytes: int = 1 << 20) -> list[Path]:
    """Writes a tape; its segments."""
    tape = FileTape(folder, segment_bytes=segment_bytes)
    await fill(tape, [BTC, EMA], count)
    await tape.close()
    return sorted(folder.glob("main/*.segment"))


async def seqs(folder: Path, *, write: bool = False) -> list[int]:
    tape = FileTape(folder, write=write)
    try:
        return [entry.seq for entry in await all_of(tape.read())]
    finally:
        await tape.close()


async def test_an_end_torn_at_any_byte_is_cut_back_to_the_last_whole_record(tmp_path: Path) -> None:
    (segment,) = await filled(tmp_path, 3)
    whole = segment.read_bytes()
    ends = [len(SEGMENT_MARK)]
    scan = FileTape(tmp_path, write=False)
    ends += [record.end for record in scan._log.records(scan._log.cursor(0), 3)]
    assert ends[-1] == len(whole)
    # All around the ends of records, and every 11th byte between: each takes some ms, for what is kept is synced.
    near = {end + step for end in ends for step in (-2, -1, 0, 1, 2, 43, 44, 45)}
    for size in sorted({size for size in near if size < len(whole)} | set(range(0, len(whole), 11))):
        segment.write_bytes(whole[:size])
        left = sum(1 for end in ends[1:] if end <= size)
        assert await seqs(tmp_path) == list(range(1, left + 1)), f"a reader at {size}"
        assert segment.stat().st_size == size, "a reader changes nothing"
        tape = FileTape(tmp_path)
        assert await tape.end() == left
        torn = size - max((end for end in ends if end <= size), default=0)
        assert (tape.cut.size if tape.cut else 0) == torn
        if tape.cut:
            kept = Path(tape.cut.kept)
            assert kept.read_bytes() == whole[size - torn : size]
            kept.unlink()
        last = await tape.last(EMA)
        assert await tape.append(EMA, decision("again", size), expected=last.seq if last else 0) == left + 1
        await tape.close()
        assert await seqs(tmp_path) == list(range(1, left + 2))


async def test_an_end_of_unwritten_blocks_is_cut_back(tmp_path: Path) -> None:
    """After a power cut a file may have its new size without its new blocks."""
    (segment,) = await filled(tmp_path, 3)
    whole = segment.read_bytes()
    record = packed(4, 0, 1, b"bot.ema.signal", b'{"id":"x"}' + b" " * 200 + b"}")
    for tail in (bytes(4096), record[:100] + bytes(len(record) - 100)):
        segment.write_bytes(whole + tail)
        tape = FileTape(tmp_path)
        assert tape.cut is not None
        assert (tape.cut.offset, tape.cut.size, Path(tape.cut.kept).read_bytes()) == (len(whole), len(tail), tail)
        await tape.close()
        assert segment.read_bytes() == whole


async def test_every_changed_byte_is_found_and_placed(tmp_path: Path) -> None:
    (segment,) = await filled(tmp_path, 2)
    whole = segment.read_bytes()
    for place in range(len(whole)):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        for write in (False, True):
            with pytest.raises(TapeDamaged, match=rf"{segment.name}.*byte \d+"):
                FileTape(tmp_path, write=write)
    assert segment.stat().st_size == len(whole)


@pytest.mark.parametrize("which", [0, 1, -2])
async def test_damage_in_a_finished_segment_is_found_by_reading(tmp_path: Path, which: int) -> None:
    segments = await filled(tmp_path, 60, segment_bytes=2048)
    assert len(segments) > 4
    data = bytearray(segments[which].read_bytes())
    data[len(data) // 2] ^= 1
    segments[which].write_bytes(data)
    with pytest.raises(TapeDamaged, match=segments[which].name):
        await seqs(tmp_path, write=True)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda segments: segments[0].unlink(), "first segment"),
        (lambda segments: segments[2].unlink(), "the next segment begins at"),
        (lambda segments: os.truncate(segments[1], segments[1].stat().st_size - 5), "ends within a record"),
        (lambda segments: segments[1].write_bytes(segments[2].read_bytes()), "is \\d+, not \\d+"),
        (lambda segments: segments[1].rename(segments[1].with_stem("odd")), "not named like a segment"),
    ],
)
async def test_missing_and_mixed_up_segments_are_found(
    tmp_path: Path, harm: Callable[[list[Path]], object], message: str
) -> None:
    harm(await filled(tmp_path, 60, segment_bytes=2048))
    with pytest.raises(TapeDamaged, match=message):
        await seqs(tmp_path)


async def test_segments_and_their_indexes(tmp_path: Path) -> None:
    """An index is a cache: with all, with damaged ones and with none, the tape is the same."""
    segments = await filled(tmp_path, 60, segment_bytes=2048)
    indexes = sorted(tmp_path.glob("main/*.index"))
    assert len(indexes) == len(segments) - 1
    for harm in ("none", "damaged", "missing"):
        for index in indexes:
            if harm == "damaged":
                index.write_bytes(index.read_bytes().replace(b"bot.ema", b"bot.emb"))
            elif harm == "missing":
                index.unlink()
        tape = FileTape(tmp_path, segment_bytes=2048)
        assert [e.seq for e in await all_of(tape.read())] == list(range(1, 61))
        last = await tape.last(EMA)
        assert (last.seq if last else 0) == 60
        await tape.close()


async def test_one_writer_at_a_time(tmp_path: Path) -> None:
    tape = FileTape(tmp_path)
    with pytest.raises(TapeError, match=f"written by process {os.getpid()}; it takes one writer"):
        FileTape(tmp_path)
    reader = FileTape(tmp_path, write=False)
    with pytest.raises(TapeError, match="not open for writing"):
        await reader.append(BTC, decision("a", 1), expected=0)
    await tape.close()
    with pytest.raises(TapeError, match="not open for writing"):
        await tape.append(BTC, decision("a", 1), expected=0)
    await FileTape(tmp_path).close()
    with pytest.raises(TapeError, match="there is no tape"):
        FileTape(tmp_path, "absent", write=False)


@pytest.mark.parametrize("fsync", ["always", "interval", "close"])
async def test_every_durability_keeps_what_was_closed(tmp_path: Path, fsync: str) -> None:
    clock = itertools.count(1_700_000_000_000_000)
    tape = FileTape(tmp_path, fsync=fsync, interval_s=0.01, clock=lambda: next(clock))  # type: ignore[arg-type]
    await fill(tape, [BTC, EMA], 50)
    await asyncio.sleep(0.03)  # for `interval`: its timer has run
    await fill(tape, [BTC, EMA], 50, start=50)
    written = await all_of(tape.read())
    await tape.close()
    reader = FileTape(tmp_path, write=False)
    assert await all_of(reader.read()) == written
    assert [entry.known_at for entry in written] == [1_700_000_000_000_000 + n for n in range(100)]


WRITER = """
import asyncio, sys
from infra.tapes.file import FileTape
from tests.contract.making import fill
async def main():
    tape = FileTape(sys.argv[1], segment_bytes=4096)
    await fill(tape, ["bot.ema"], 300)
    print("written", flush=True)
    sys.stdin.read()  # until it is killed
asyncio.run(main())
"""


async def test_a_reader_follows_a_writer_in_another_process_through_its_death(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    reader = FileTape(tmp_path, write=False)
    following = Following(reader.follow())
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    with writer.stdin, writer.stdout:
        assert await asyncio.to_thread(writer.stdout.readline) == b"written\n"
        assert [entry.seq for entry in await following.seen(300)] == list(range(1, 301))
        writer.kill()
        writer.wait()
    heir = FileTape(tmp_path, segment_bytes=4096)  # a lock does not outlive its process
    assert heir.cut is None
    await fill(heir, [BTC], 5, start=300)
    assert [entry.seq for entry in await following.seen(305)] == list(range(1, 306))
    assert await reader.last(BTC) == await heir.last(BTC)
    await following.stop()
    await heir.close()


async def test_a_full_disk_stops_the_writer_and_leaves_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = FileTape(tmp_path)
    await fill(tape, [BTC], 5)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, data[: len(data) - 10])  # the disk takes a part, then nothing

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TapeError, match="No space left on device"):
        await tape.append(EMA, decision("a", 1), expected=0)
    monkeypatch.undo()
    with pytest.raises(TapeError, match=r"not open for writing.*No space left"):
        await tape.append(EMA, decision("a", 1), expected=0)
    await tape.close()
    assert await seqs(tmp_path, write=True) == [1, 2, 3, 4, 5]
