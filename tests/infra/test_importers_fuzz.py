"""Whatever happens to a file, reading it ends in columns that hold what they promise, or in one clear error."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.importers import Columns, Imported, ImportError_, QuoteColumns, TradeColumns, read
from tests.infra.importing import NOW, SAMPLES, Sample, gz, zipped

NASTY = (
    b"nan", b"NaN", b"inf", b"-inf", b"-1", b"0", b"-0.0", b"", b" ", b"1e400", b"1e-400", b"1_0", b"0x10", b"\xff\xfe",
    b"\x00", b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b"[", b"]", b"{", b"null", b"true", b"[[[[",
    b"9" * 30, b"7258118400000", b"60000", b"1970-01-01 00:00:00", b"2200-01-01 00:00:00", b"9999-12-31", b"+1", b".5",
    "١".encode(), "５".encode(), b"1,5", b"9223372036854775807", b"-9223372036854775808", b"1704067200.5", b"x" * 300,
)  # fmt: skip


def mutate(content: bytes, op: tuple[str, int, int, bytes]) -> bytes:
    kind, a, b, nasty = op
    size = max(len(content), 1)
    at, end = a % size, a % size + b % 40
    if kind == "insert":
        return content[:at] + nasty + content[at:]
    if kind == "replace":
        return content[:at] + nasty + content[end:]
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ (1 << b % 8) if content else 0]) + content[at + 1 :]
    lines = content.split(b"\n")
    i, j = a % len(lines), b % len(lines)
    if kind == "repeat":
        lines.insert(j, lines[i])
    elif kind == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == "cell":
        cells = lines[i].split(b",")
        cells[b % len(cells)] = nasty
        lines[i] = b",".join(cells)
    return b"\n".join(lines)


def attempt(path: Path, format: str | None = None) -> Imported | str:
    """What reading gives, or the sentence of its error; anything else raised fails the test."""
    try:
        return read(path, now=NOW, format=format)
    except ImportError_ as error:
        return str(error)


def holds(imported: Imported) -> None:
    report, data = imported.report, imported.data
    assert report.accepted + report.duplicates + report.rejected == report.rows
    assert len(imported.rejects) == report.rejected
    assert len(data.ts) == report.accepted
    assert all(reject.reason and reject.text and len(reject.raw) <= 4096 for reject in imported.rejects)
    assert (np.diff(data.ts) >= 0).all()
    assert data.ts.dtype == np.int64
    assert ((data.ts >= 946_684_800_000_000) & (data.ts <= NOW + 86_400_000_000)).all()
    if isinstance(data, Columns):
        assert (np.diff(data.ts) > 0).all()
        floats = [data.open, data.high, data.low, data.close, data.volume]
        assert (np.stack(floats[:4]) > 0).all()
        assert (data.volume >= 0).all()
        assert (
            (data.low <= np.minimum(data.open, data.close)) & (data.high >= np.maximum(data.open, data.close))
        ).all()
        assert data.count is None or len(data.count) == len(data.ts)
    elif isinstance(data, TradeColumns):
        floats = [data.price, data.qty]
        assert (np.stack(floats) > 0).all()
        assert set(data.side.tolist()) <= {-1, 0, 1}
        assert len(data.id) == len(data.side) == len(data.ts)
    else:
        assert isinstance(data, QuoteColumns)
        floats = [data.bid, data.ask, data.bid_size, data.ask_size]
        assert (data.bid <= data.ask).all()
        assert (data.bid > 0).all()
    assert all(np.isfinite(column).all() and len(column) == len(data.ts) for column in floats)


OPS = st.tuples(
    st.sampled_from(["insert", "replace", "cut", "flip", "repeat", "swap", "cell", "cell", "cell"]),
    st.integers(0, 4000),
    st.integers(0, 4000),
    st.sampled_from(NASTY),
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.format}-{sample.kind}-{sample.name}")
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(ops=st.lists(OPS, max_size=5), stated=st.booleans(), tail=st.booleans())
def test_a_damaged_text_file_gives_sound_columns_or_one_clear_error(
    sample: Sample, ops: list[tuple[str, int, int, bytes]], stated: bool, tail: bool
) -> None:
    content = sample.content
    for op in ops:
        content = mutate(content, op)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / sample.name
        path.write_bytes(content + (b"" if tail else b"\n\n"))
        imported = attempt(path, sample.format if stated else None)
        if isinstance(imported, str):
            assert imported.endswith((".", "?"))
            return
        holds(imported)
        if sample.name.endswith(".csv"):
            assert all(reject.raw in content for reject in imported.rejects)


@pytest.mark.parametrize("pack", ["gz", "zip"])
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(ops=st.lists(OPS, min_size=1, max_size=3))
def test_a_damaged_archive_gives_sound_columns_or_one_clear_error(
    pack: str, ops: list[tuple[str, int, int, bytes]]
) -> None:
    sample = SAMPLES[0]
    content = gz(sample.content) if pack == "gz" else zipped(sample.name, sample.content)
    for op in ops:
        content = mutate(content, op)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{sample.name}.{pack}"
        path.write_bytes(content)
        imported = attempt(path)
        if isinstance(imported, Imported):
            holds(imported)


@functools.cache
def arrow_files() -> tuple[tuple[str, bytes], ...]:
    stamps = pa.array([1_704_067_200_000_000 + i * 60_000_000 for i in range(50)], pa.timestamp("us", tz="UTC"))
    names = ("open", "high", "low", "close", "volume")
    table = pa.table({"date": stamps, **{name: [1.0 + i / 64 for i in range(50)] for name in names}})
    out, files = pa.BufferOutputStream(), []
    feather.write_feather(table, out, compression="lz4")
    files.append(("x-1m.feather", out.getvalue().to_pybytes()))
    out = pa.BufferOutputStream()
    parquet.write_table(table, out)
    return (*files, ("x-1m.parquet", out.getvalue().to_pybytes()))


@pytest.mark.parametrize("which", [0, 1])
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_damaged_feather_or_parquet_file(which: int, flips: list[tuple[int, int]]) -> None:
    name, content = arrow_files()[which]
    damaged = bytearray(content)
    for at, mask in flips:
        damaged[at % len(damaged)] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(bytes(damaged))
        imported = attempt(path)
        if isinstance(imported, Imported):
            holds(imported)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_at_all(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(content)
        imported = attempt(path)
        if isinstance(imported, Imported):
            holds(imported)
