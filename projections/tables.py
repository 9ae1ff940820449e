"""What tables there are, read from `sql/tables.sql`, which alone defines them; and how rows get into each."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec

MERGED = ("feeds", "gaps", "bots", "actors")
OWN_WAY = ("candles", "series", "checkpoints")


class Table(msgspec.Struct, frozen=True):
    """`key` is the first columns of `columns`; `types` are PostgreSQL's.

    `mode`: `log`, rows are added and never change; `put`, the newest row of a key replaces the one before; `merge`,
    the same, but a column that is None keeps what it was; `own`, written in a way of its own.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    mode: str


@cache
def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


@cache
def tables() -> dict[str, Table]:
    found = re.findall(r"^CREATE TABLE (\w+) \(\n(.*?)\n\);", sql("tables"), re.S | re.M)
    return {name: _table(name, body) for name, body in found}


def _table(name: str, body: str) -> Table:
    columns, types, key = [], [], []
    for part in re.split(r",\s*(?![^()]*\))", body.strip()):
        if part.startswith("PRIMARY KEY"):
            key = re.findall(r"\w+", part.removeprefix("PRIMARY KEY"))
            continue
        column, kind, *rest = part.split()
        columns.append(column)
        types.append(kind)
        if rest[:2] == ["PRIMARY", "KEY"]:
            key = [column]
    mode = "own" if name in OWN_WAY else "merge" if name in MERGED else "log" if key[0] == "seq" else "put"
    return Table(name, tuple(columns), tuple(types), tuple(key), mode)
