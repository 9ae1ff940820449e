"""The rows of one batch, as the folds leave them: at most one row a key, the last one wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from events.fact import Fact

from .candles import Candles
from .state import MarketKey
from .tables import tables

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in µs: what `moment` takes."""


@lru_cache(maxsize=4096)
def moment(ts: int) -> datetime:
    """Raises OverflowError outside of the years 1 to 9999, which is what can be read back."""
    return _EPOCH + timedelta(microseconds=ts)


class Rows:
    """`logs`: rows to add. `latest`: the newest row of each key, None where it is to go."""

    def __init__(self) -> None:
        made = tables().values()
        self.logs: dict[str, list[Row]] = {table.name: [] for table in made if table.mode == "log"}
        self.latest: dict[str, dict[Row, Row | None]] = {t.name: {} for t in made if t.mode in ("put", "merge")}
        self.orders, self.positions = self.latest["orders"], self.latest["positions"]
        self.accounts, self.equity = self.latest["accounts"], self.latest["equity"]
        self.candles = Candles()
        self.feeds: dict[tuple[str, str], tuple[type[Fact], int, int, int]] = {}
        self.bots: dict[str, tuple[Any, ...]] = {}
        self.marks: dict[MarketKey, float] = {}
        self.new_markets = False
        self.parked: list[tuple[int, str, str]] = []

    def add(self, table: str, *row: Any) -> None:
        self.logs[table].append(row)

    def settle(self) -> None:
        """Builds what was put off: (build, arguments) in the place of a row. Of many versions only the last one is."""
        for latest in self.latest.values():
            for key, row in latest.items():
                if row is not None and len(row) == 2:
                    latest[key] = row[0](*row[1])

    def merge(self, table: str, key: Row, *rest: Any) -> None:
        """A column that is None keeps what it was, in this batch and in the table."""
        rows = self.latest[table]
        before = rows.get(key)
        row = key + rest
        if before is not None:
            row = tuple(old if new is None else new for old, new in zip(before, row, strict=True))
        rows[key] = row

    def drop(self, table: str, key: Row) -> None:
        self.latest[table][key] = None

    def series(self) -> list[Row]:
        return [
            (*key, moment(one.first), moment(one.last), one.added, one.seq, moment(one.known_at))
            for key, one in self.candles.series.items()
        ]

    def park(self, seq: int, n: int, view: str, reason: str) -> None:
        reason = reason.replace("\0", "\N{REPLACEMENT CHARACTER}")
        self.add("parked", seq, n, view, reason)
        self.parked.append((seq, view, reason))
