"""Rows as the lines of a COPY in CSV, a table at a time and in C: psycopg's own writer takes some µs a row and cell.

A row in JSON is a line of CSV between brackets: numbers are bare, text and numeric are quoted, `null` is bare and so
told from the text "null". What CSV writes in another way than JSON (line ends, backslashes), and numbers that JSON does
not have, are left to psycopg's writer: `lines` says so by None.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from operator import itemgetter
from typing import Any

import msgspec

from .tables import Table

_WRITTEN = frozenset(("text", "int4", "int8", "float8", "numeric", "bool", "timestamptz", "text[]"))
_encode = msgspec.json.Encoder(decimal_format="string").encode_lines


def lines(table: Table, rows: Sequence[tuple[Any, ...]]) -> bytes | None:
    """None where psycopg's writer has to make them, row by row."""
    if not rows or not _WRITTEN.issuperset(table.types):
        return None
    for place, kind in enumerate(table.types):
        # A sum of finite numbers that overflows only costs the slower way.
        if kind == "float8" and not isfinite(sum(filter(None, map(itemgetter(place), rows)))):
            return None
        if kind == "text[]":
            rows = [(*row[:place], _array(*row[place]), *row[place + 1 :]) for row in rows]
    data = _encode(rows)
    if b"\\" in data:
        data = data.replace(b'\\"', b'""')
        if b"\\" in data:
            return None
    if b'"sNaN' in data:
        return None
    return data[1:-2].replace(b"]\n[", b"\n")


@lru_cache(maxsize=1024)
def _array(*items: str) -> str:
    """An array literal; one that needs a backslash comes back as such and is refused by `lines`."""
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "}"
