"""Bad input never crashes and never vanishes: a bad row keeps its bytes and a reason, a bad file is one sentence."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.importers import Columns, ImportError_, csvtable, read, read_parts
from tests.infra.importing import NOW, binance, ccxt, gz, text_of, zipped

T = 1_704_067_200_000
GOOD = binance().splitlines()


def line(i: int, **cells: object) -> bytes:
    """The i-th minute's kline with some of its cells replaced."""
    names = ("ts", "open", "high", "low", "close", "volume")
    values = GOOD[i % len(GOOD)].decode().split(",")
    values[0], values[6] = str(T + i * 60_000), str(T + (i + 1) * 60_000 - 1)
    for name, value in cells.items():
        values[names.index(name)] = str(value)
    return ",".join(values).encode()


def put(folder: Path, content: bytes, name: str = "BTCUSDT-1m.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


BAD_ROWS = {
    "truncated": line(12)[:40],
    "not_utf8": line(12, open=1.2).replace(b"1.2,", b"1.\xff2,", 1),
    "not_a_number": line(12, open="abc"),
    "missing_value": line(12, open=""),
    "too_many_cells": line(12) + b",1,2,3",
    "bad_time": line(12, ts="yesterday"),
    "before_2000": line(12, ts=60_000),
    "in_the_future": line(12, ts=7_258_118_400_000),
    "not_finite": line(12, high="inf"),
    "not_positive": line(12, low=0),
    "negative_volume": line(12, volume=-1),
    "high_below_low": line(12, high=0.5),
    "outside_range": line(12, close=1000),
    "line_too_long": line(12) + b" " * 70_000,
    "conflicting_duplicate": line(3, close=1.271, high=1.3),
}


@pytest.mark.parametrize("reason", BAD_ROWS)
@pytest.mark.parametrize("at", [0, 5, 12])
def test_a_bad_row_is_refused_with_its_bytes_and_its_line(reason: str, at: int, tmp_path: Path) -> None:
    if reason == "conflicting_duplicate" and at < 4:
        at = 5  # a row conflicts with one before it
    bad = BAD_ROWS[reason]
    lines = [*GOOD[:at], bad, *GOOD[at:]]
    imported = read(put(tmp_path, b"\n".join(lines) + b"\n"), now=NOW)
    assert [(r.row, r.reason) for r in imported.rejects] == [(at + 1, reason)]
    assert imported.rejects[0].raw == bad[:4096]
    assert (imported.report.accepted, imported.report.rejected, imported.report.rows) == (12, 1, 13)
    clean = read(put(tmp_path, binance(), "clean.csv"), now=NOW)
    assert np.array_equal(imported.data.ts, clean.data.ts)


@pytest.mark.parametrize("value", ["NaN", "nan", "-inf", "1e999"])
def test_not_a_finite_price(value: str, tmp_path: Path) -> None:
    imported = read(put(tmp_path, b"\n".join([*GOOD, line(12, close=value)])), now=NOW)
    assert [r.reason for r in imported.rejects] == ["not_finite"]


def test_repeats_and_disorder_are_counted_and_put_right(tmp_path: Path) -> None:
    order = [0, 1, 3, 2, 4, 4, 5, 5, 6]
    lines = [line(i) for i in order] + [line(6, volume=5)]
    imported = read(put(tmp_path, b"\n".join(lines)), now=NOW)
    report = imported.report
    assert (report.rows, report.accepted, report.duplicates, report.out_of_order, report.rejected) == (10, 7, 2, 1, 1)
    assert (report.gaps, report.missing) == (0, 0)
    assert isinstance(imported.data, Columns)
    assert imported.data.volume[6] == float(line(6).split(b",")[5])


def test_gaps_are_counted_on_the_raw_grid(tmp_path: Path) -> None:
    lines = [line(i) for i in (0, 1, 2, 5, 6, 8, 9)]
    report = read(put(tmp_path, b"\n".join(lines)), now=NOW).report
    assert (report.gaps, report.missing) == (2, 3)


def test_a_repeated_header_is_a_reject_not_a_crash(tmp_path: Path) -> None:
    content = binance(header=True)
    header = content.splitlines()[0]
    later = b"\n".join(line(i) for i in range(12, 20))
    imported = read(put(tmp_path, content + header + b"\n" + later), now=NOW)
    assert [(r.row, r.reason, r.raw) for r in imported.rejects] == [(14, "repeated_header", header)]
    assert imported.report.accepted == 20


def test_fast_and_careful_reading_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some lines each: those with a bad row are read line by line, the others by pyarrow."""
    clean = [line(i) for i in range(500)]
    dirty = list(clean)
    for at in (10, 200, 499):
        dirty[at] += b",surplus"
    whole = read(put(tmp_path, b"\n".join(clean)), now=NOW)
    monkeypatch.setattr(csvtable, "BLOCK_BYTES", 2_000)
    mixed = read(put(tmp_path, b"\r\n".join(dirty) + b"\r\n", "b.csv"), now=NOW)
    assert [r.row for r in mixed.rejects] == [11, 201, 500]
    assert isinstance(whole.data, Columns)
    assert isinstance(mixed.data, Columns)
    left = np.delete(np.arange(500), [10, 200, 499])
    for name in ("ts", "open", "high", "low", "close", "volume", "count"):
        assert np.array_equal(getattr(mixed.data, name), getattr(whole.data, name)[left]), name


def test_a_line_of_100_mb_inside_a_file_is_one_reject(tmp_path: Path) -> None:
    path = put(tmp_path, b"\n".join([*GOOD, b"9" * 100_000_000, line(12), line(13)]))
    imported = read(path, now=NOW)
    assert [(r.row, r.reason, len(r.raw)) for r in imported.rejects] == [(13, "line_too_long", 4096)]
    assert imported.report.accepted == 14


def test_a_file_that_is_one_line_of_100_mb_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImportError_, match="not a text file of rows"):
        read(put(tmp_path, b"1" * 100_000_000), now=NOW)


def test_memory_is_bounded_by_the_limit(tmp_path: Path) -> None:
    path = put(tmp_path, gz(b"1,2,3\n" * 20_000_000), "big.csv.gz")
    tracemalloc.start()
    try:
        with pytest.raises(ImportError_, match="unpacks to more than the limit"):
            read(path, now=NOW, bytes_max=8 << 20)
        # The limit, the chunk that passed it, and the buffer's growth by doubling.
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", ["gz", "zip"])
def test_a_bomb_is_an_error(pack: str, tmp_path: Path) -> None:
    content = bytes(80 << 20)
    packed = gz(content) if pack == "gz" else zipped("x.csv", content)
    with pytest.raises(ImportError_, match="more than 300 times its size"):
        read(put(tmp_path, packed, f"x.csv.{pack}"), now=NOW)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImportError_, match="does not exist"):
        read(tmp_path / "none.csv", now=NOW)
    with pytest.raises(ImportError_, match="is a directory"):
        read(tmp_path, now=NOW)
    with pytest.raises(ImportError_, match="is empty"):
        read(put(tmp_path, b""), now=NOW)
    with pytest.raises(ImportError_, match="holds no data"):
        read(put(tmp_path, b"\n \n"), now=NOW)
    with pytest.raises(ImportError_, match="does not exist"):
        read("a\0b", now=NOW)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.zip", zipped("x.csv", binance())[:-30]),
        ("x.zip", b"PK\x03\x04garbage"),
        ("x.csv.gz", gz(binance())[:-20]),
        ("x.csv.gz", b"\x1f\x8bgarbage"),
        ("x.feather", b"ARROW1\0\0garbage"),
        ("x.parquet", b"PAR1garbagePAR1"),
    ],
)
def test_corrupt_files_are_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ImportError_, match="get the file again"):
        read(put(tmp_path, content, name), now=NOW)


def test_an_archive_of_many_files_is_not_guessed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", binance())
        archive.writestr("b.csv", binance())
    with pytest.raises(ImportError_, match="holds 2 data files"):
        read(put(tmp_path, out.getvalue(), "x.zip"), now=NOW)


def test_a_wrong_delimiter_or_no_table_at_all_names_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(ImportError_, match=r"of no known format.*Dear reader"):
        read(put(tmp_path, b"Dear reader,\nthis is a letter.\n"), now=NOW)
    with pytest.raises(ImportError_, match="of no known format"):
        read(put(tmp_path, binance().replace(b",", b"^")), now=NOW)
    with pytest.raises(ImportError_, match="does not look like histdata-m1"):
        read(put(tmp_path, binance()), now=NOW, format="histdata-m1")


def test_wrong_words_are_answered_with_the_right_ones(tmp_path: Path) -> None:
    path = put(tmp_path, binance())
    with pytest.raises(ImportError_, match="did you mean 'binance-klines'"):
        read(path, now=NOW, format="binance-kline")
    with pytest.raises(ImportError_, match="is not a timeframe"):
        read(path, now=NOW, timeframe="1M")
    with pytest.raises(ImportError_, match="Time zone 'Mars/Base' is not known"):
        read(path, now=NOW, timezone="Mars/Base")
    with pytest.raises(ImportError_, match="stamps 'middle' is not one of open, close"):
        read(path, now=NOW, stamps="middle")  # type: ignore[arg-type]


def test_one_candle_shows_no_timeframe(tmp_path: Path) -> None:
    content = b"Date,Open,High,Low,Close\n2024-01-01 00:00:00,1,1,1,1\n"
    with pytest.raises(ImportError_, match="does not show its timeframe"):
        read(put(tmp_path, content, "x.csv"), now=NOW)
    assert read(put(tmp_path, content, "x.csv"), now=NOW, timeframe="1h").report.accepted == 1
    assert read(put(tmp_path, content, "x-1h.csv"), now=NOW).report.timeframe_us == 3_600_000_000


def test_too_many_bad_rows_stop_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvtable, "REJECTS_MAX", 3)
    lines = [line(i) if i % 2 else b"garbage" for i in range(1, 12)]
    with pytest.raises(ImportError_, match="more than 3 bad rows"):
        read(put(tmp_path, b"\n".join([*GOOD, *lines])), now=NOW)


def test_damaged_json_keeps_its_sound_rows(tmp_path: Path) -> None:
    content = ccxt()
    cut = read(put(tmp_path, content[:-20], "x-1m.json"), now=NOW)
    assert (cut.report.accepted, [r.reason for r in cut.rejects]) == (11, ["truncated"])
    assert content.endswith(cut.rejects[0].raw + content[-20:])
    odd = content.replace(b"1.22", b"NaN", 1).replace(b"1.28", b"true", 1)
    imported = read(put(tmp_path, odd, "x-1m.json"), now=NOW)
    assert {r.reason for r in imported.rejects} <= {"not_finite", "not_a_number"}
    assert imported.report.accepted + imported.report.rejected == 12


def test_trades_with_ids_are_told_apart_and_those_without_all_kept(tmp_path: Path) -> None:
    header = "timestamp,price,amount,side,id"
    lines = [
        header,
        *(f"{T + i},1.5,2,buy,{7 + i // 2}" for i in range(2)),
        f"{T},1.5,2,buy,7",
        f"{T + 9},1.5,0,sell,20",
    ]
    report = read(put(tmp_path, text_of(lines), "trades.csv"), now=NOW)
    assert (report.report.accepted, report.report.duplicates) == (1, 1)
    assert [r.reason for r in report.rejects] == ["conflicting_duplicate", "zero_quantity"]
    same = read(put(tmp_path, b"1704067200,1.5,2.0\n" * 3, "XBTUSD.csv"), now=NOW)
    assert (same.report.format, same.report.accepted, same.report.duplicates) == ("kraken-trades", 3, 0)


@pytest.mark.parametrize("take", [read, lambda path, **stated: list(read_parts(path, **stated))])
def test_stamps_that_may_mean_two_days_are_an_error_that_names_the_file(tmp_path: Path, take: Any) -> None:
    rows = [f"0{day}/01/2024 00:00,1,2,0.5,1,3" for day in range(1, 6)]
    path = put(tmp_path, text_of(["time,open,high,low,close,volume", *rows]), "x-1d.csv")
    with pytest.raises(ImportError_, match=r"x-1d\.csv: Stamps such as '01/01/2024' may be day first or month first"):
        take(path, now=NOW)
