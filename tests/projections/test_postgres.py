"""Tapes into a real PostgreSQL: exactly once, through crashes, rebuilds and a database that goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from events.control import Quarantined
from events.decision import Recorded
from events.memory import MemoryTape
from events.tape import EVERYTHING
from projections import fold
from projections.outcome import NewerTables
from projections.shell import (
    Overtaken,
    ProjectionError,
    Projector,
    RebuildNeeded,
    project_to_end,
    rebuild,
    table_hashes,
)
from projections.tables import tables
from tests.projections.history import History, first, history


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def do(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


async def until_at(projector: Projector, seq: int, task: asyncio.Task[None]) -> None:
    # Two minutes: a loaded machine; what is waited for takes a fraction of a second.
    async with asyncio.timeout(120):
        while projector.at < seq:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def hashes_of_a_rebuild(dsn: str, tape: MemoryTape) -> dict[str, str]:
    await project_to_end(dsn, tape, schema="other")
    found = await table_hashes(dsn, schema="other")
    do(dsn, "DROP SCHEMA other CASCADE")
    return found


async def test_tables_are_as_their_definition_is_read(postgres_dsn: str) -> None:
    await project_to_end(postgres_dsn, MemoryTape())
    query = (
        "SELECT table_name, column_name, udt_name FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE table_schema = 'tickertape' AND table_type = 'BASE TABLE'"
        " ORDER BY table_name, ordinal_position"
    )
    expected = [
        (table.name, column, "_text" if kind == "text[]" else kind)
        for table in sorted(tables().values(), key=lambda table: table.name)
        for column, kind in zip(table.columns, table.types, strict=True)
    ]
    assert rows(postgres_dsn, query) == expected


@pytest.mark.parametrize("seed", [1, 2])
async def test_live_in_small_batches_with_restarts_equals_a_rebuild(postgres_dsn: str, seed: int) -> None:
    whole = history(seed, minutes=40)
    for entries in range(0, len(whole.entries), 101):
        await project_to_end(postgres_dsn, first(whole, entries), batch=5)
    assert await project_to_end(postgres_dsn, whole, batch=3) == len(whole.entries)
    live = await table_hashes(postgres_dsn)
    assert live == await hashes_of_a_rebuild(postgres_dsn, whole)
    report = await rebuild(postgres_dsn, whole)
    assert report.at == len(whole.entries)
    assert await table_hashes(postgres_dsn) == live
    assert rows(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%'") == [("tickertape",)]


async def test_every_table_gets_rows_and_every_view_answers(postgres_dsn: str) -> None:
    await project_to_end(postgres_dsn, history(2, minutes=150))
    empty = [name for name in tables() if not rows(postgres_dsn, f"SELECT FROM tickertape.{name} LIMIT 1")]
    assert empty == []
    views = rows(postgres_dsn, "SELECT viewname FROM pg_views WHERE schemaname = 'tickertape'")
    assert {name for (name,) in views} >= {"sync_status", "performance", "account_performance", "daily_pnl"}
    for (view,) in views:
        assert rows(postgres_dsn, f"SELECT * FROM tickertape.{view}"), view


async def test_the_series_count_their_rows_and_the_gaps_that_are_open(postgres_dsn: str) -> None:
    await project_to_end(postgres_dsn, history(4, minutes=60), batch=7)
    counted = (
        "SELECT venue, symbol, timeframe, count(*), max(ts) FROM tickertape.candles GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    said = "SELECT venue, symbol, timeframe, rows, last_ts FROM tickertape.sync_status ORDER BY 1, 2, 3"
    assert rows(postgres_dsn, said) == rows(postgres_dsn, counted)
    found = "SELECT count(*) FROM tickertape.gaps WHERE state = 'found'"
    assert rows(postgres_dsn, found) != [(0,)]
    assert rows(postgres_dsn, "SELECT sum(open_gaps)::int8 FROM tickertape.sync_status") == rows(postgres_dsn, found)


async def test_a_projector_follows_a_growing_tape(postgres_dsn: str) -> None:
    whole, tape = history(5, minutes=40), MemoryTape()
    projector = Projector(postgres_dsn, tape)
    task = asyncio.create_task(projector.run())
    await grow(tape, whole, len(whole.entries))
    await until_at(projector, len(whole.entries), task)
    await stop(task)
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, whole)


async def grow(tape: MemoryTape, whole: MemoryTape, until: int) -> None:
    for entry in whole.entries[len(tape.entries) : until]:
        last = await tape.last(entry.actor)
        await tape.append(entry.actor, entry.decision, expected=last.seq if last else 0)


KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tickertape projector'"


async def test_a_connection_killed_in_the_middle_of_a_batch_changes_nothing(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A trigger ends the session after the checkpoint has moved and some rows are written, three times."""
    whole = history(6, minutes=60)
    await project_to_end(postgres_dsn, first(whole, 20))
    do(
        postgres_dsn,
        "CREATE SEQUENCE public.deaths;"
        "CREATE FUNCTION public.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  IF nextval('public.deaths') <= 3 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
        "  RETURN NULL; END $$;"
        "CREATE TRIGGER die AFTER INSERT ON tickertape.candles FOR EACH STATEMENT EXECUTE FUNCTION public.die()",
    )
    projector = Projector(postgres_dsn, whole)
    task = asyncio.create_task(projector.run())
    await until_at(projector, len(whole.entries), task)
    await stop(task)
    assert rows(postgres_dsn, "SELECT last_value >= 4 FROM public.deaths") == [(True,)]
    assert caplog.text.count("trying again") == 3
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, whole)


async def test_an_idle_projector_outlives_the_loss_of_its_connection(postgres_dsn: str) -> None:
    whole, tape = history(7, minutes=20), MemoryTape()
    projector = Projector(postgres_dsn, tape)
    task = asyncio.create_task(projector.run())
    await grow(tape, whole, 30)
    await until_at(projector, 30, task)
    do(postgres_dsn, KILL)
    await grow(tape, whole, len(whole.entries))
    await until_at(projector, len(whole.entries), task)
    await stop(task)
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, whole)


class Paused(MemoryTape):
    """A tape that hands out its first `pause` entries, and the others when `go` is set."""

    def __init__(self, whole: MemoryTape, pause: int) -> None:
        super().__init__(whole.name)
        self.entries, self._last = whole.entries, whole._last
        self.pause, self.go = pause, asyncio.Event()

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        async for entry in super().read(patterns, after=after):
            if entry.seq <= self.pause:
                yield entry

    async def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        async for entry in super().follow(patterns, after=after):
            if entry.seq > self.pause:
                await self.go.wait()
            yield entry


async def test_of_two_projectors_one_stops_and_nothing_is_written_twice(postgres_dsn: str) -> None:
    whole = history(8, minutes=30)
    tape = Paused(whole, 50)
    overtaken = Projector(postgres_dsn, tape)
    task = asyncio.create_task(overtaken.run())
    await until_at(overtaken, 50, task)
    await project_to_end(postgres_dsn, first(whole, 80))
    tape.go.set()
    with pytest.raises(Overtaken, match="another writer"):
        await task
    assert rows(postgres_dsn, "SELECT seq FROM tickertape.checkpoints") == [(80,)]
    await project_to_end(postgres_dsn, whole)
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, whole)


async def test_a_rebuild_under_a_live_projector_swaps_and_the_projector_goes_on(postgres_dsn: str) -> None:
    whole, tape = history(9, minutes=80), MemoryTape()
    projector = Projector(postgres_dsn, tape)
    task = asyncio.create_task(projector.run())
    generations = set()
    steps = 4
    for step in range(1, steps + 1):
        growing = asyncio.create_task(grow(tape, whole, len(whole.entries) * step // steps))
        seen: list[tuple[int, int]] = []
        await rebuild(postgres_dsn, tape, lambda at, end, seen=seen: seen.append((at, end)))  # type: ignore[misc]
        await growing
        generations.update(rows(postgres_dsn, "SELECT generation FROM tickertape.checkpoints"))
        assert all(at <= end for at, end in seen)
    await until_at(projector, len(whole.entries), task)
    await stop(task)
    assert len(generations) == steps
    assert rows(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%'") == [("tickertape",)]
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, whole)


async def test_a_commit_under_way_holds_the_swap_back(postgres_dsn: str) -> None:
    """Between the move of the checkpoint and the commit the tables cannot be swapped away."""
    whole = history(10, minutes=20)
    await project_to_end(postgres_dsn, whole)
    async with await psycopg.AsyncConnection.connect(postgres_dsn) as live:
        moved = await live.execute("UPDATE tickertape.checkpoints SET seq = seq")
        assert moved.rowcount == 1
        task = asyncio.create_task(rebuild(postgres_dsn, whole))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tickertape.checkpoints'::regclass"
        # Two minutes: a loaded machine; the rebuild of this tape takes a fraction of a second.
        async with asyncio.timeout(120):
            while rows(postgres_dsn, waits) != [(1,)]:  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(0.01)
        assert not task.done()
        await live.commit()
        await task
        assert (await live.execute("UPDATE tickertape.checkpoints SET seq = seq")).rowcount == 1


async def test_grants_and_views_of_others_follow_the_swap(postgres_dsn: str) -> None:
    tape = history(11, minutes=30)
    await project_to_end(postgres_dsn, tape)
    do(
        postgres_dsn,
        "DROP ROLE IF EXISTS panel_reader; CREATE ROLE panel_reader;"
        "GRANT USAGE ON SCHEMA tickertape TO panel_reader; GRANT SELECT ON tickertape.fills TO panel_reader;"
        "CREATE VIEW public.mine AS SELECT bot, sum(pnl) AS pnl FROM tickertape.performance GROUP BY bot",
    )
    before = rows(postgres_dsn, "SELECT * FROM public.mine ORDER BY bot")
    assert before
    report = await rebuild(postgres_dsn, tape)
    assert report.kept == ""
    assert rows(postgres_dsn, "SELECT * FROM public.mine ORDER BY bot") == before
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("SET ROLE panel_reader")
        assert connection.execute("SELECT count(*) FROM tickertape.fills").fetchone() != (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM tickertape.trades")
    do(postgres_dsn, "DROP OWNED BY panel_reader; DROP ROLE panel_reader")


async def test_old_tables_that_something_still_reads_stay(postgres_dsn: str) -> None:
    tape = history(11, minutes=10)
    await project_to_end(postgres_dsn, tape)
    do(postgres_dsn, "CREATE MATERIALIZED VIEW public.frozen AS SELECT * FROM tickertape.candles")
    report = await rebuild(postgres_dsn, tape)
    assert rows(postgres_dsn, f'SELECT count(*) > 0 FROM "{report.kept}".candles') == [(True,)]
    do(postgres_dsn, "DROP MATERIALIZED VIEW public.frozen")
    await rebuild(postgres_dsn, tape)
    assert rows(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%'") == [("tickertape",)]


async def test_what_the_database_refuses_is_parked_alone_and_loudly(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = History(12)
    made.begin()
    mishaps = len(made.tape.entries)
    made.chance.randrange = lambda *_: 7  # type: ignore[method-assign]
    made.mishap()
    with caplog.at_level(logging.ERROR):
        await project_to_end(postgres_dsn, made.tape)
    parked = rows(
        postgres_dsn, "SELECT seq - %d, view FROM tickertape.parked ORDER BY 1, 2".replace("%d", str(mishaps))
    )
    assert parked == [(1, "all"), (2, "candles"), (2, "money"), (3, "orders"), (4, "all")]
    assert caplog.text.count("cannot project") == len(parked)


async def test_unreadable_and_quarantined_bytes_are_kept(postgres_dsn: str) -> None:
    made = History(13)
    for pick in (4, 5):
        made.chance.randrange = lambda *_, pick=pick: pick  # type: ignore[method-assign,misc]
        made.mishap()
    address = "feed.sim.BTC-USDT" + ".q" * 400  # a server takes subjects of any length
    made.put("market.sim.BTC-USDT", Quarantined(address, made.ts, "nan", "row 8", b"raw"))
    await project_to_end(postgres_dsn, made.tape)
    found = rows(postgres_dsn, "SELECT kind, source, reason, raw FROM tickertape.quarantine ORDER BY seq")
    assert found == [
        ("quarantined", "import", "nan", b"\x00\xffraw"),
        ("unreadable", "main.feed.sim.BTC-USDT.candle", "unreadable", b"\xff{"),
        ("quarantined", address, "nan", b"raw"),
    ]


async def test_tables_of_another_version_tape_or_history_ask_for_a_rebuild(
    postgres_dsn: str,
) -> None:
    tape = history(14, minutes=10)
    await project_to_end(postgres_dsn, tape)
    with pytest.raises(RebuildNeeded, match=r"hold the tape 'main', not 'other'.*tape rebuild"):
        await project_to_end(postgres_dsn, history(14, minutes=10, name="other"), schema="tickertape")
    with pytest.raises(RebuildNeeded, match=r"ends at 3.*tape rebuild"):
        await project_to_end(postgres_dsn, first(tape, 3))
    with pytest.raises(RebuildNeeded, match="another tape of the name 'main'"):
        await project_to_end(postgres_dsn, history(15, minutes=20))
    do(postgres_dsn, f"UPDATE tickertape.checkpoints SET version = {fold.VERSION - 1}")
    with pytest.raises(RebuildNeeded, match=rf"version {fold.VERSION - 1}.*`tape rebuild`"):
        await project_to_end(postgres_dsn, tape)
    do(postgres_dsn, f"UPDATE tickertape.checkpoints SET version = {fold.VERSION + 1}")
    with pytest.raises(NewerTables, match=rf"version {fold.VERSION + 1}.*newer program"):
        await project_to_end(postgres_dsn, tape)
    do(postgres_dsn, f"UPDATE tickertape.checkpoints SET version = {fold.VERSION}, state = 'torn'")
    with pytest.raises(RebuildNeeded, match="checkpoint cannot be read"):
        await project_to_end(postgres_dsn, tape)
    other = history(15, minutes=5, name="other")
    await rebuild(postgres_dsn, other, schema="tickertape")
    assert await project_to_end(postgres_dsn, other, schema="tickertape") == len(other.entries)


async def test_two_tapes_have_tables_side_by_side(postgres_dsn: str) -> None:
    one, two = history(14, minutes=5), history(15, minutes=5, name="Other-tape")
    await project_to_end(postgres_dsn, one)
    await project_to_end(postgres_dsn, two)
    before = await table_hashes(postgres_dsn)
    report = await rebuild(postgres_dsn, two)
    assert report.at == len(two.entries)
    assert await table_hashes(postgres_dsn) == before
    kept = rows(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%' ORDER BY 1")
    assert kept == [("tickertape",), ("tickertape_Other-tape",)]


async def test_one_rebuild_at_a_time_and_what_a_dead_one_left_is_removed(postgres_dsn: str) -> None:
    tape = history(16, minutes=5)
    left = '"tickertape~0123456789ab"'
    do(postgres_dsn, f"CREATE SCHEMA {left}; CREATE TABLE {left}.left_over (id int)")
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('tickertape rebuild tickertape'))")
        with pytest.raises(ProjectionError, match="another rebuild"):
            await rebuild(postgres_dsn, tape)
    await rebuild(postgres_dsn, tape)
    assert rows(postgres_dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%'") == [("tickertape",)]
