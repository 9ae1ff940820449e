"""Store files: what is written is read, whole and in pieces; what was torn or changed is found and named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from events.block import ROWS_MAX, Columns, pack
from events.timeframe import MINUTE
from infra.importers import TradeColumns
from infra.store import Series, StoreError, Writer, append, open_store, path_of
from infra.store.layout import PAGE

SERIES = Series("sim", "BTC-USDT", "1m")
TICKS = Series("sim", "BTC-USDT", None)
START = 1_700_000_040_000_000
NAMES = ("ts", "open", "high", "low", "close", "volume", "count")


def candles(rows: int, first: int = 0, *, counted: bool = True) -> Columns:
    ts = START + (np.arange(rows, dtype=np.int64) + first) * MINUTE
    rng = np.random.default_rng(first)
    prices = [rng.random(rows) + 100 for _ in range(5)]
    return Columns(ts, *prices, count=np.arange(rows, dtype=np.int64) if counted else None)


def trades(rows: int, first: int = 0) -> TradeColumns:
    ts = START + (np.arange(rows, dtype=np.int64) // 2 + first) * 1_000
    rng = np.random.default_rng(first)
    ids = ["" if at % 7 == 0 else f"t-{at}é" for at in range(first, first + rows)]
    return TradeColumns(ts, rng.random(rows), rng.random(rows), rng.integers(-1, 2, rows).astype(np.int8), ids)


def same(one: Columns, other: Columns) -> bool:
    assert (one.count is None) == (other.count is None)
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in NAMES if getattr(one, name) is not None
    )


def joined(parts: list[Columns]) -> Columns:
    return Columns(**{n: np.concatenate([getattr(one, n) for one in parts]) for n in NAMES})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = path_of(tmp_path, SERIES)
    assert path == tmp_path / "sim" / "BTC-USDT" / "1m.store"
    whole = candles(150_000)
    append(path, SERIES, whole)
    with open_store(path) as stored:
        assert (stored.series, stored.rows, stored.torn) == (SERIES, 150_000, 0)
        assert (stored.first, stored.last) == (whole.ts[0], whole.ts[-1])
        assert same(stored.columns(), whole)
        assert same(joined(list(stored.chunks())), whole)
        assert [len(one) for one in stored.chunks(65_536)] == [65_536, 65_536, 18_928]
        stored.verify()
    assert os.listdir(path.parent) == ["1m.store"]


def test_whole_columns_of_one_segment_are_the_file_itself(tmp_path: Path) -> None:
    append(tmp_path / "a", SERIES, candles(10_000))
    with open_store(tmp_path / "a") as stored:
        columns = stored.columns()
    assert not columns.close.flags.owndata
    assert not columns.close.flags.writeable
    assert columns.close.flags.c_contiguous
    assert float(columns.close[7]) == float(candles(10_000).close[7])  # after the file was closed


def test_appends_follow_each_other(tmp_path: Path) -> None:
    parts = [candles(1_000, first) for first in (0, 1_000, 5_000)]
    seals = []
    for part in parts:
        append(tmp_path / "a", SERIES, part)
        with open_store(tmp_path / "a") as stored:
            seals.append(stored.seal)
    assert len(set(seals)) == 3
    with open_store(tmp_path / "a") as stored:
        assert same(stored.columns(), joined(parts))
        assert same(joined(list(stored.chunks(300))), joined(parts))
        stored.verify()


def test_many_adds_are_one_segment(tmp_path: Path) -> None:
    with Writer(tmp_path / "a", SERIES) as writer:
        for first in range(0, 10_000, 1_000):
            writer.add(candles(1_000, first))
    with open_store(tmp_path / "a") as stored:
        assert not stored.columns().ts.flags.owndata
        assert same(stored.columns(), joined([candles(1_000, first) for first in range(0, 10_000, 1_000)]))


@pytest.mark.parametrize(
    ("start", "end"), [(None, 500), (500, None), (999, 1_000), (1_000, 1_001), (-5, 3_000), (7, 7)]
)
def test_a_stretch_of_time(tmp_path: Path, start: int | None, end: int | None) -> None:
    whole = joined([candles(1_000, first) for first in (0, 1_000)])
    for first in (0, 1_000):
        append(tmp_path / "a", SERIES, candles(1_000, first))
    low, high = (None if at is None else START + at * MINUTE for at in (start, end))
    keep = np.ones(2_000, bool)
    keep &= whole.ts > low if low is not None else True
    keep &= whole.ts <= high if high is not None else True
    with open_store(tmp_path / "a") as stored:
        found = list(stored.chunks(300, start=low, end=high))
    assert [at for one in found for at in one.ts.tolist()] == whole.ts[keep].tolist()
    assert [at for one in found for at in one.close.tolist()] == whole.close[keep].tolist()


def test_counts_are_known_for_all_or_not_at_all(tmp_path: Path) -> None:
    append(tmp_path / "a", SERIES, candles(10))
    append(tmp_path / "a", SERIES, candles(10, 10, counted=False))
    with open_store(tmp_path / "a") as stored:
        assert stored.columns().count is None
        assert all(one.count is None for one in stored.chunks(5))


def test_trades_with_their_ids(tmp_path: Path) -> None:
    parts = [trades(70_001), trades(5_000, 70_001)]
    for part in parts:
        append(tmp_path / "t", TICKS, part)
    ids = [one for part in parts for one in part.id]
    with open_store(tmp_path / "t") as stored:
        whole = stored.trades()
        pieces = list(stored.chunks(9_999))
        stored.verify()
    assert list(whole.id) == ids
    assert whole.id == ids
    assert (whole.id[0], whole.id[1], whole.id[-1]) == (ids[0], ids[1], ids[-1])
    assert list(whole[slice(500, 600)].id) == ids[500:600]
    assert [one for piece in pieces for one in piece.id] == ids
    for name in ("ts", "price", "qty", "side"):
        expected = np.concatenate([getattr(one, name) for one in parts])
        assert np.array_equal(getattr(whole, name), expected)
        assert np.array_equal(np.concatenate([getattr(one, name) for one in pieces]), expected)


def test_blocks_for_the_bus(tmp_path: Path) -> None:
    whole = candles(10 * ROWS_MAX + 5)
    append(tmp_path / "a", SERIES, whole)
    with open_store(tmp_path / "a") as stored:
        assert list(stored.blocks()) == list(pack("sim", "BTC-USDT", "1m", whole))


def test_rows_that_do_not_follow_are_refused_and_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    append(path, SERIES, candles(100))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot follow"):
        append(path, SERIES, candles(10, 99))
    with pytest.raises(StoreError, match="not in order of time"):
        append(path, SERIES, candles(10, 200)[slice(None, None, -1)])
    with pytest.raises(StoreError, match="write to another file"):
        append(path, Series("sim", "ETH-USDT", "1m"), candles(10, 200))
    assert path.read_bytes() == before


def test_a_body_that_fails_writes_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with Writer(tmp_path / "a", SERIES) as writer:
            writer.add(candles(10))
            writer.add(candles(10, 20)[slice(None, None, -1)])

    with pytest.raises(StoreError, match="not in order of time"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    append(tmp_path / "a", SERIES, candles(10))
    with Writer(tmp_path / "a", SERIES), pytest.raises(StoreError, match="written by another process"):
        append(tmp_path / "a", SERIES, candles(10, 10))


@pytest.mark.parametrize("left", [1, 100, 79_000, -1, -40, -200])
def test_a_torn_append_is_found_kept_aside_and_gone_with_the_next(tmp_path: Path, left: int) -> None:
    """`left` bytes of the second append reached the disk, or all but so many."""
    path = tmp_path / "a"
    append(path, SERIES, candles(1_000))
    size = path.stat().st_size
    append(path, SERIES, candles(1_500, 1_000))
    torn = path.read_bytes()[: size + left if left > 0 else left]
    path.write_bytes(torn)
    with open_store(path) as stored:
        assert (stored.rows, stored.torn) == (1_000, len(torn) - size)
        assert same(stored.columns(), candles(1_000))
    append(path, SERIES, candles(1_500, 1_000))
    assert (tmp_path / f"a.torn-{size}").read_bytes() == torn[size:]
    with open_store(path) as stored:
        assert (stored.rows, stored.torn) == (2_500, 0)
        stored.verify()


@pytest.mark.parametrize("at", [0, 8, PAGE - 1, PAGE, 3 * PAGE + 12_345])
def test_a_changed_byte_is_found_and_named(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a"
    append(path, SERIES, candles(70_000))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with open_store(path) as stored:
        with pytest.raises(StoreError, match=r"a: page \d of column `\w+` .* was changed"):
            stored.columns()
        with pytest.raises(StoreError, match=r"page \d of column"):
            list(stored.chunks())
        with pytest.raises(StoreError, match="are not what was sealed"):
            stored.verify()


def test_a_changed_seal_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    append(path, SERIES, candles(100))
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="holds no sealed rows"):
        open_store(path)
    with pytest.raises(StoreError, match="holds no sealed rows"):
        append(path, SERIES, candles(100, 100))
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("content", [b"", b"no store", b"TTSTORE1" * 100])
def test_what_is_no_store_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StoreError, match="is no store file"):
        open_store(tmp_path / "a")


def test_reading_in_pieces_keeps_memory_flat(tmp_path: Path) -> None:
    """Of 22 MB no more than two chunks of 3.7 MB are alive at a time, with the pages around them."""
    import tracemalloc

    append(tmp_path / "a", SERIES, candles(400_000))
    tracemalloc.start()
    try:
        with open_store(tmp_path / "a") as stored:
            assert sum(len(one) for one in stored.chunks()) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
