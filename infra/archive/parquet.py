"""Messages in Parquet files and back: a row a message, with columns that are of use without this program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.tapes.stored import Stored

from .model import ArchiveDamaged

_MICROS = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([
    ("seq", pa.int64()),
    ("actor", pa.string()),
    ("kind", pa.string()),
    ("ts", _MICROS),
    ("append_ts", _MICROS),
    ("epoch", pa.int64()),
    ("cause", pa.int64()),
    ("id", pa.string()),
    ("body", pa.binary()),
    ("link", pa.int64()),
])  # fmt: skip
_DICTIONARY = ["actor", "kind", "epoch"]
_DELTA = {"seq": "DELTA_BINARY_PACKED", "ts": "DELTA_BINARY_PACKED", "append_ts": "DELTA_BINARY_PACKED",
          "cause": "DELTA_BINARY_PACKED", "id": "PLAIN", "body": "PLAIN", "link": "PLAIN"}  # fmt: skip
_GROUP_ROWS = 16_384  # some MB of memory in a writer and a reader, and enough for zstd to see what repeats
_GROUP_BYTES = 16 << 20  # blocks of candles are up to 1 MB each
_BATCH_ROWS = 2_048
_INT64 = range(-(2**63), 2**63)


class _Told(msgspec.Struct):
    """What a body says of itself; all else in it is passed over."""

    id: str
    cause: int
    ts: int


_told = msgspec.json.Decoder(_Told).decode


class Row(NamedTuple):
    """A message as it stands in a file, `link` the first 8 bytes of the chain's head after it."""

    message: Stored
    link: int
    told: tuple[str | None, int | None, int | None]


def told_of(body: bytes) -> tuple[str | None, int | None, int | None]:
    """(id, cause, event time) that a body names, None for what is none or fits no column."""
    try:
        found = _told(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None, None, None
    cause, ts = (number if number in _INT64 else None for number in (found.cause, found.ts))
    return found.id, cause, ts


def short(head: bytes) -> int:
    """What the column `link` holds of a head: enough to say which message is the first that is not as it was."""
    return int.from_bytes(head[:8], "big", signed=True)


class PartWriter:
    """Writes rows to a file; nothing of it counts before `close`."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(
            path, SCHEMA, compression="zstd", use_dictionary=_DICTIONARY, column_encoding=_DELTA,
            write_page_checksum=True, version="2.6",
        )  # fmt: skip
        self._columns: list[list[Any]] = [[] for _ in SCHEMA]
        self._bytes = 0

    def add(self, message: Stored, head: bytes) -> None:
        actor, _, kind = message.path.rpartition(".")
        name, cause, ts = told_of(message.body)
        row = (message.seq, actor, kind, ts, message.known_at, message.epoch, cause, name, message.body, short(head))
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self._bytes += len(message.body)

    @property
    def full(self) -> bool:
        """Whether a row group has come together, and `flush` is due."""
        return len(self._columns[0]) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES

    def flush(self) -> None:
        if self._columns[0]:
            arrays = [pa.array(values, field.type) for values, field in zip(self._columns, SCHEMA, strict=True)]
            self._file.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
            self._columns = [[] for _ in SCHEMA]
            self._bytes = 0

    def close(self) -> None:
        self.flush()
        self._file.close()


Wanted = Callable[[str, str], bool]
"""Whether messages of (actor, kind) are asked for."""


def batches(path: Path, *, after: int = 0, wanted: Wanted | None = None) -> Iterator[list[Row]]:
    """The rows of a file behind `after`, in order, a few thousand at a time.

    Raises ArchiveDamaged where the file cannot be read on; what was before that has been yielded.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_BATCH_ROWS, _groups(file, after), use_threads=False):
                found = _rows(batch, after, wanted)
                if found:
                    yield found
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArchiveDamaged(f"{path.name} cannot be read: {reason}") from error


def _groups(file: pq.ParquetFile, after: int) -> list[int]:
    """The row groups that may hold something behind `after`."""
    found = []
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(0).statistics
        if statistics is None or not statistics.has_min_max or statistics.max > after:
            found.append(group)
    return found


def _rows(batch: pa.RecordBatch, after: int, wanted: Wanted | None) -> list[Row]:
    if batch.schema.names != SCHEMA.names:
        raise TypeError(f"its columns are {', '.join(batch.schema.names)}")
    if wanted is not None or int(batch.column("seq")[0].as_py()) <= after:
        actors, kinds = batch.column("actor").to_pylist(), batch.column("kind").to_pylist()
        seqs = batch.column("seq").to_pylist()
        mask = [
            seq > after and (wanted is None or wanted(actor, kind))
            for seq, actor, kind in zip(seqs, actors, kinds, strict=True)
        ]
        if not any(mask):
            return []
        batch = batch.filter(pa.array(mask))
    columns = [(column.cast(pa.int64()) if column.type == _MICROS else column).to_pylist() for column in batch.columns]
    return [
        Row(Stored(seq, f"{actor}.{kind}" if actor else kind, epoch, at, body), link, (name, cause, ts))
        for seq, actor, kind, ts, at, epoch, cause, name, body, link in zip(*columns, strict=True)
    ]
