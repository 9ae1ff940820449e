"""Piece by piece is the same as the whole: columns, report and refused rows."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from infra.importers import Columns, ImportError_, parts, read, read_parts
from tests.infra.importing import NOW, SAMPLES, Sample, zipped

T = 1_704_067_200_000
NAMES = ("ts", "open", "high", "low", "close", "volume", "count")


def klines(minutes: list[int]) -> list[str]:
    return [f"{T + i * 60_000},1.2,1.25,1.15,1.2{i % 5},{i}.5,{T + i * 60_000 + 59_999},1,{i},1,1,0" for i in minutes]


def compared(path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(parts, "PIECE_BYTES", size)
    monkeypatch.setattr(parts, "BATCH_ROWS", size // 50)
    whole = read(path, now=NOW)
    assert isinstance(whole.data, Columns)
    pieces = read_parts(path, now=NOW)
    found = list(pieces)
    assert len(found) > 1
    for name in NAMES:
        wanted = getattr(whole.data, name)
        if wanted is None:
            assert all(getattr(one, name) is None for one in found)
        else:
            assert np.array_equal(np.concatenate([getattr(one, name) for one in found]), wanted), name
    assert pieces.report == whole.report
    assert tuple(pieces.rejects) == whole.rejects


@pytest.mark.parametrize("pack", ["", ".gz", ".zip"])
@pytest.mark.parametrize("size", [1_000, 4_321, 20_000])
def test_a_binance_file(pack: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a header, gaps, bad rows, a repeated row, two rows in the wrong order and no end of the last line."""
    lines = klines([i for i in range(600) if i % 97 and not 300 < i < 340])
    lines[100] = lines[100].replace("1.15", "9.99")
    lines[7] = "rubbish"
    lines.insert(5, lines[4])
    header = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_volume,taker_quote,ignore"
    text = "\n".join([header, *lines]).encode()
    path = tmp_path / f"BTCUSDT-1m-2024-01.csv{pack}"
    path.write_bytes({"": text, ".gz": gzip.compress(text), ".zip": zipped("BTCUSDT-1m-2024-01.csv", text)}[pack])
    compared(path, monkeypatch, size)


@pytest.mark.parametrize("groups", [64, 1_000])
def test_parquet(groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 700
    stamps = [T + i * 60_000 for i in range(rows) if i != 333]
    table = {
        "timestamp": pa.array(stamps, pa.timestamp("ms", tz="UTC")),
        **{name: pa.array([1.0 + i % 7 for i in range(rows - 1)]) for name in ("open", "high", "low", "close")},
        "volume": pa.array([None if i == 150 else float(i) for i in range(rows - 1)]),
    }
    path = tmp_path / "BTC-USDT_1m.parquet"
    parquet.write_table(pa.table(table), path, row_group_size=groups)
    compared(path, monkeypatch, 5_000)


@pytest.mark.parametrize("sample", [one for one in SAMPLES if one.name.endswith(".csv")], ids=lambda one: one.name)
def test_every_text_format(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / sample.name
    path.write_bytes(sample.content)
    monkeypatch.setattr(parts, "PIECE_BYTES", len(sample.content) * 3 // 4)
    pieces = read_parts(path, now=NOW)
    if sample.kind != "candles":
        with pytest.raises(ImportError_, match="need the whole file"):
            list(pieces)
        return
    whole = read(path, now=NOW)
    assert [ts for one in pieces for ts in one.ts.tolist()] == whole.data.ts.tolist()
    assert pieces.report is not None
    assert pieces.report.accepted == whole.report.accepted


def test_rows_that_go_back_over_pieces_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_text("\n".join(klines([*range(100, 200), *range(100)])) + "\n")
    monkeypatch.setattr(parts, "PIECE_BYTES", 1_000)
    with pytest.raises(ImportError_, match="has to be read as a whole"):
        list(read_parts(path, now=NOW))


def test_what_needs_the_whole_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "BTC_USDT-1m.json"
    path.write_text("[[1704067200000, 1, 1, 1, 1, 1], [1704067260000, 1, 1, 1, 1, 1]]")
    with pytest.raises(ImportError_, match="needs the whole file"):
        list(read_parts(path, now=NOW))
    with pytest.raises(ImportError_, match="does not exist"):
        list(read_parts(tmp_path / "none.csv", now=NOW))
