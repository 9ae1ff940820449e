"""What an import returns: columns, a report that hides nothing, and the rows that were refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from events.block import Columns as Columns

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes8 = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

Kind = Literal["candles", "trades", "quotes"]
Side = Literal["bid", "ask", "mid"]
Stamps = Literal["open", "close"]
How = Literal["stated", "detected", "assumed"]

SECOND = 1_000_000
DAY = 86_400 * SECOND
LINE_BYTES_MAX = 64 * 1024
RAW_BYTES_MAX = 4 * 1024
REJECTS_MAX = 100_000


class ImportError_(Exception):
    """A file that cannot be imported: one sentence saying what is wrong, where, and what to do."""


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Whoever reads many files at once has to know which one an error is about."""
    try:
        yield
    except ImportError_ as error:
        if str(path) in str(error) or path.name in str(error):
            raise
        raise ImportError_(f"{path}: {error}") from error


class TradeColumns(msgspec.Struct, frozen=True):
    """Trades; ts in µs UTC, not decreasing; side +1 = taker bought, -1 = taker sold, 0 unknown; id '' unknown."""

    ts: Ints
    price: Floats
    qty: Floats
    side: Bytes8
    id: list[str]


class QuoteColumns(msgspec.Struct, frozen=True):
    """Best bid and ask; ts in µs UTC, not decreasing; sizes are 0 where the source has none."""

    ts: Ints
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats


class Reject(msgspec.Struct, frozen=True):
    """One refused row: its line (text files, from 1) or row number, why, and its bytes (at most 4 KiB)."""

    row: int
    reason: str
    text: str
    raw: bytes


class Choice(msgspec.Struct, frozen=True):
    """A value that the data may not say itself, and how it was arrived at."""

    value: str
    how: How

    def __str__(self) -> str:
        return f"{self.value} ({self.how})"


class ImportReport(msgspec.Struct, frozen=True):
    """accepted + duplicates + rejected == rows.

    gaps: holes between neighbours on the raw 24x7 grid; missing: steps inside them (weekends count: a calendar
    is somebody else's business). first_ts, last_ts: µs UTC (candles: close time), None when nothing was accepted.
    timeframe: "1m", "4h", ...; None for trades and quotes; timeframe_us the same in µs.
    """

    path: str
    format: str
    kind: Kind
    rows: int
    accepted: int
    duplicates: int
    out_of_order: int
    rejected: int
    gaps: int
    missing: int
    first_ts: int | None
    last_ts: int | None
    timeframe: Choice | None
    timeframe_us: int | None
    timezone: Choice
    stamps: Choice | None
    notes: tuple[str, ...] = ()


class Imported(msgspec.Struct, frozen=True):
    kind: Kind
    data: Columns | TradeColumns | QuoteColumns
    report: ImportReport
    rejects: tuple[Reject, ...]


class Options(msgspec.Struct, frozen=True):
    """What the caller states; None leaves it to detection."""

    now: int
    timeframe_us: int | None = None
    timezone: str | None = None
    stamps: Stamps | None = None
    columns: dict[str, str | int] | None = None
    side: Side | None = None
    time_format: str | None = None
    scale: float | None = None
    bytes_max: int = 1 << 30


class Shape(msgspec.Struct, frozen=True):
    """What a format says about its data, before anything the caller states is applied."""

    kind: Kind
    zone: Choice
    stamps: Choice
    timeframe_us: int | None = None
    timeframe_how: How = "detected"
    notes: tuple[str, ...] = ()


class Rows(msgspec.Struct, frozen=True):
    """Rows that could be parsed, in file order, not yet validated.

    wall: stamps in µs as the source wrote them, in the source's zone (`Shape.zone`). fields: float64 columns by
    name. texts: 'side' and 'id' as strings. line: row numbers as reported. raw: index -> original bytes.
    """

    wall: Ints
    fields: dict[str, Floats]
    texts: dict[str, list[str]]
    line: Ints | range
    raw: Callable[[int], bytes]
    rejects: list[Reject]
    notes: tuple[str, ...] = ()

    def size(self) -> int:
        return len(self.wall) + len(self.rejects)


Table = dict[str, Any]


def as_raw(content: bytes) -> bytes:
    """The bytes that a reject keeps."""
    return content[:RAW_BYTES_MAX]
