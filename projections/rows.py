"""The rows of one batch, as the folds leave them: at most one row a key, the last one wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from .candles import Candles
from .tables import tables

Row = tuple[Any, ...]

_DIGITS_MAX = 1000  # far above any money, far below the limits of the type numeric
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def moment(ts: int) -> datetime:
    """Raises OverflowError outside of the years 1 to 9999, which is what can be read back."""
    return _EPOCH + timedelta(microseconds=ts)


def checked(row: Row) -> Row:
    """Raises ValueError for what PostgreSQL would refuse, so that it is known here and for one fact alone."""
    for value in row:
        kind = type(value)
        if kind is str:
            if "\0" in value:
                raise ValueError("text with a zero byte")
        elif kind is int:
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} does not fit in 64 bits")
        elif kind is Decimal:
            if not -_DIGITS_MAX < value.adjusted() < _DIGITS_MAX:
                raise ValueError(f"a number with an exponent of {value.adjusted()}")
        elif kind is dict:
            if b"\\u0000" in msgspec.json.encode(value):
                raise ValueError("text with a zero byte")
        elif kind is list:
            checked(tuple(value))
    return row


class Rows:
    """`logs`: rows to add. `latest`: the newest row of each key, None where it is to go."""

    def __init__(self) -> None:
        made = tables().values()
        self.logs: dict[str, list[Row]] = {table.name: [] for table in made if table.mode == "log"}
        self.latest: dict[str, dict[Row, Row | None]] = {t.name: {} for t in made if t.mode in ("put", "merge")}
        self.candles = Candles()
        self.parked: list[tuple[int, str, str]] = []

    def add(self, table: str, *row: Any) -> None:
        self.logs[table].append(checked(row))

    def put(self, table: str, key: Row, *rest: Any) -> None:
        self.latest[table][key] = checked(key + rest)

    def merge(self, table: str, key: Row, *rest: Any) -> None:
        """A column that is None keeps what it was, in this batch and in the table."""
        rows = self.latest[table]
        before = rows.get(key)
        row = checked(key + rest)
        if before is not None:
            row = tuple(old if new is None else new for old, new in zip(before, row, strict=True))
        rows[key] = row

    def drop(self, table: str, key: Row) -> None:
        self.latest[table][key] = None

    def park(self, seq: int, n: int, view: str, reason: str) -> None:
        reason = reason.replace("\0", "\N{REPLACEMENT CHARACTER}")
        self.add("parked", seq, n, view, reason)
        self.parked.append((seq, view, reason))
