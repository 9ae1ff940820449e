"""`tape rebuild`: all tables made anew from the tape, or compared with it."""

from __future__ import annotations

import uuid

from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import looking, session_pid
from infra.cli.screen import pairs, table
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import beside, schema_of


async def rebuild(context: Context, check: bool) -> int:
    async with looking(context.config()) as (tape, at):
        if at.writing_dsn is None:
            raise Failure(f"the tables need PostgreSQL: {at.trouble}", Exit.NO_SERVICE)
        return await (_check if check else _rebuild)(context, tape, at.writing_dsn)


async def _rebuild(context: Context, tape: JetStreamTape, dsn: str) -> int:
    from projections import shell

    screen = context.screen
    with screen.progress("rebuilding", await tape.end()) as advance:
        report = await shell.rebuild(dsn, tape, advance)
    schema = schema_of(tape.name)
    hashes, counts = await shell.table_hashes(dsn, schema=schema), await _counts(dsn, schema)
    rows = [(name, f"{counts[name]:,}", hashes[name]) for name in sorted(hashes)]
    said = pairs([
        ("tape", f"{tape.name} up to {report.at:,}"),
        ("messages", f"{report.entries:,} with {report.facts:,} facts in {report.seconds:.1f} s"),
        ("parked", f"{report.parked:,} facts that a table could not take" if report.parked else "none"),
        *([("old tables kept", f"{report.kept}, for something still reads them")] if report.kept else []),
    ])  # fmt: skip
    value = {"tape": tape.name, "at": report.at, "messages": report.entries, "facts": report.facts,
             "parked": report.parked, "seconds": report.seconds, "kept": report.kept,
             "tables": {name: {"rows": counts[name], "hash": hashes[name]} for name in sorted(hashes)}}  # fmt: skip
    screen.result(value, table("", ("table", "rows", "hash"), rows, right=("rows",)), said)
    return Exit.FINE


async def _check(context: Context, tape: JetStreamTape, dsn: str) -> int:
    """Both are brought to the same sequence first, so nobody else may write meanwhile."""
    from projections import shell

    screen = context.screen
    if session_pid(context.config()) is not None:
        raise Failure("a session runs and writes the tables: end it with `tape stop`, then compare", Exit.IN_THE_WAY)
    schema = schema_of(tape.name)
    scratch = beside(schema, uuid.uuid4().hex)  # of the form that a later rebuild sweeps up
    try:
        with screen.working("bringing the live tables up to date"):
            at = await shell.project_to_end(dsn, tape)
        with screen.working("making the tables beside them"):
            await shell.project_to_end(dsn, tape, schema=scratch)
        with screen.working("comparing"):
            live, fresh = await shell.table_hashes(dsn, schema=schema), await shell.table_hashes(dsn, schema=scratch)
    finally:
        await _drop(dsn, scratch)
    different = sorted(name for name in live if live[name] != fresh.get(name))
    rows = [(name, live[name], "DIFFERENT" if name in different else "same") for name in sorted(live)]
    value = {"tape": tape.name, "at": at, "same": not different, "different": different, "hashes": live}
    said = f"up to {at:,}: " + (
        f"{', '.join(different)} differ from what the tape says; `tape rebuild` makes them anew"
        if different
        else "every table is what the tape says"
    )
    screen.result(value, table("", ("table", "hash", ""), rows), said)
    return Exit.DIFFERENCE if different else Exit.FINE


async def _counts(dsn: str, schema: str) -> dict[str, int]:
    import psycopg
    from psycopg.sql import SQL, Identifier

    from projections.tables import tables

    found = {}
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        for name in tables():
            query = SQL("SELECT count(*) FROM {}").format(Identifier(schema, name))
            row = await (await connection.execute(query)).fetchone()
            found[name] = int(row[0]) if row else 0
    return found


async def _drop(dsn: str, schema: str) -> None:
    import psycopg
    from psycopg.sql import SQL, Identifier

    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
