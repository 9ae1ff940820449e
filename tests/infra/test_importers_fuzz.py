"""Whatever happens to a file, reading it ends in columns that hold what they promise, or in one clear error."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.importers import Imported, ImportError_, read
from tests.infra.damage import NASTY, arrow_files, holds
from tests.infra.importing import NOW, SAMPLES, Sample, gz, zipped


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
