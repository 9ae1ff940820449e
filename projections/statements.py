"""The statements that are not in `sql/`, made from the tables' definition: pure text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .fold import PROJECTION, VERSION
from .tables import Table, sql, tables

SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "none": ("plain", "aggregates_plain"),
    "apache": ("hypertables", "aggregates_plain"),
    "timescale": ("hypertables", "columnstore", "aggregates_timescale"),
}
"""By what there is: no TimescaleDB, its Apache part, all of it."""

LOAD = f"""SELECT version, generation, tape, origin, seq, state FROM checkpoints
WHERE projection = '{PROJECTION}' FOR UPDATE""".encode()
MOVE = f"""UPDATE checkpoints SET seq = %s, state = %s, origin = %s
WHERE projection = '{PROJECTION}' AND generation = %s AND seq = %s""".encode()


def quoted(*names: str) -> str:
    """A qualified identifier."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def search_path(schema: str, extensions: str) -> str:
    return f"search_path TO {quoted(schema)}, {quoted(extensions)}, public"


HEAPS = ("candles", "orders", "equity", *(table.name for table in tables().values() if table.mode == "log"))
"""The tables that grow with the tape: filled without keys and indexes where nobody reads them yet."""

_KEY = re.compile(r",\s*PRIMARY KEY \([^)]*\)(?=\s*\);)")
_INDEX = re.compile(r"^CREATE INDEX [^;]+;$", re.M)


def creation(
    schema: str, extensions: str, features: str, tape: str, generation: str, heaps: bool = False
) -> list[bytes]:
    """Everything of a new generation; for one transaction. `features`: a key of SCRIPTS.

    With `heaps`, for plain PostgreSQL alone, all but what `complete` makes.
    """
    scripts = [_without_keys()] if heaps else [sql(script) for script in ("tables", *SCRIPTS[features], "views")]
    values = f"{literal(PROJECTION)}, {VERSION}, {literal(generation)}, {literal(tape)}, '', 0, ''"
    return [
        statement.encode()
        for statement in (
            f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}",
            f"SET LOCAL {search_path(schema, extensions)}",
            *scripts,
            f"INSERT INTO checkpoints VALUES ({values})",
        )
    ]


def _without_keys() -> str:
    parts = re.split(r"(?=^CREATE TABLE )", sql("tables"), flags=re.M)
    found = [
        _KEY.sub("", part) if part.startswith(tuple(f"CREATE TABLE {n} (" for n in HEAPS)) else part for part in parts
    ]
    return _INDEX.sub("", "".join(found))


def complete() -> list[bytes]:
    """Keys, indexes and views of tables that were created as heaps. Of two rows of a key the newer one stays."""
    keys = [_key(tables()[name]) for name in HEAPS]
    indexes = _INDEX.findall(sql("tables"))
    scripts = [sql(script) for script in (*SCRIPTS["none"], "views")]
    return [statement.encode() for statement in (*keys, *indexes, *scripts)]


def _key(table: Table) -> str:
    key = ", ".join(table.key)
    add = f"ALTER TABLE {table.name} ADD PRIMARY KEY ({key})"
    if table.mode != "put":
        return add
    older = " AND ".join(f"a.{column} = b.{column}" for column in table.key)
    return f"""DO $$ BEGIN {add}; EXCEPTION WHEN unique_violation THEN
    DELETE FROM {table.name} a USING {table.name} b WHERE {older} AND a.seq < b.seq; {add}; END $$"""


def swap(schema: str, new: str, old: str) -> list[bytes]:
    """Puts `new` in the place of `schema`, which becomes `old`; '' where there is nothing to replace."""
    away = [
        # A commit that had found the old table before it waited for the lock finds no checkpoint in it.
        f"DELETE FROM {quoted(schema, 'checkpoints')}",
        f"ALTER SCHEMA {quoted(schema)} RENAME TO {quoted(old)}",
    ]
    here = f"ALTER SCHEMA {quoted(new)} RENAME TO {quoted(schema)}"
    return [statement.encode() for statement in (*(away if old else ()), here)]


def stages() -> bytes:
    """Where rows wait for their upsert: a table of the session for each that is not only added to."""
    staged = [t.name for t in tables().values() if t.mode in ("put", "merge") or t.name in ("candles", "series")]
    return ";".join(
        f"CREATE TEMP TABLE IF NOT EXISTS stage_{name} (LIKE {name}) ON COMMIT DELETE ROWS" for name in staged
    ).encode()


BINARY = "FORMAT BINARY"
CSV = "FORMAT CSV, NULL 'null', ENCODING 'UTF8'"


def copy_in(target: str, table: Table, how: str = BINARY) -> bytes:
    return f"COPY {target} ({', '.join(table.columns)}) FROM STDIN ({how})".encode()


def upsert(table: Table, source: str = "") -> bytes:
    """From the stage, or `source`, into the table; in a merged one, a column without a value keeps what it was."""
    names = ", ".join(table.columns)
    source = source or f"SELECT {names} FROM stage_{table.name}"
    new = "coalesce(excluded.{0}, {1}.{0})" if table.mode == "merge" else "excluded.{0}"
    changes = ", ".join(f"{c} = {new.format(c, table.name)}" for c in table.columns if c not in table.key)
    return (
        f"INSERT INTO {table.name} ({names}) {source} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"
    ).encode()


def values(table: Table) -> str:
    """A row in the place of a stage."""
    return f"VALUES ({', '.join(f'%s::{kind}' for kind in table.types)})"


def delete(table: Table) -> bytes:
    return f"DELETE FROM {table.name} WHERE {' AND '.join(f'{column} = %s' for column in table.key)}".encode()


def hashing(schema: str, table: Table, without: Iterable[str] = ("generation",)) -> bytes:
    """A hash of all rows, whatever their order; the generation is a name, no content."""
    columns = ", ".join(column for column in table.columns if column not in without)
    return sql("hash").format(f"ROW({columns})", quoted(schema, table.name)).encode()
