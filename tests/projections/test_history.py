"""A tape that comes back shorter, or as another one; and a new version of the tables, with readers all the while."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from events.memory import MemoryTape
from events.tape import HistoryLost
from projections import fold, shell, statements
from projections.outcome import AnotherTape, HistoryGone
from projections.shell import Projector, history_lost, project_to_end, rebuild, table_hashes
from tests.projections.history import first, history
from tests.projections.test_postgres import do, grow, hashes_of_a_rebuild, rows, stop, until_at


def regrown(seed: int, kept: int, minutes: int) -> MemoryTape:
    """The first `kept` messages of one history, and then those of another."""
    tape, other = first(history(seed, minutes=10), kept), history(seed + 1, minutes=minutes)
    for entry in other.entries:
        last = tape._last.get(entry.actor)
        tape.put(entry.actor, entry.decision, expected=last.seq if last else 0)
    return tape


@pytest.mark.parametrize("after", ["shorter", "as long", "longer"])
async def test_a_tape_that_lost_its_end_gets_tables_of_its_own(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture, after: str
) -> None:
    """The projector says it, with sequences, and makes the tables anew; also where the tape has grown again."""
    old = history(50, minutes=10)
    await project_to_end(postgres_dsn, old)
    known, kept = len(old.entries), len(old.entries) // 2
    now = first(old, kept) if after == "shorter" else regrown(50, kept, minutes=30)
    if after == "as long":
        now = first(now, known)
    with pytest.raises(HistoryGone, match=rf"no longer history.*known up to {known}.*tape rebuild"):
        await project_to_end(postgres_dsn, now)
    lost = await history_lost(postgres_dsn, now)
    assert lost is not None
    assert (lost.known, lost.end) == (known, len(now.entries))
    projector = Projector(postgres_dsn, now)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(projector.run())
        await until_at(projector, len(now.entries), task)
        while "made anew from" not in caplog.text:  # noqa: ASYNC110 - said in a moment, when the old ones are gone
            await asyncio.sleep(0.01)
        await stop(task)
    assert f"it was known up to {known}" in caplog.text
    assert f"made anew from the tape up to {len(now.entries)}" in caplog.text
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, now)


async def test_a_live_projector_recognises_what_it_stands_on(postgres_dsn: str) -> None:
    """Between its look at the tape and the first message that follows, the tape becomes another one."""
    old = history(52, minutes=10)
    await project_to_end(postgres_dsn, old)
    now = regrown(52, len(old.entries) // 2, minutes=30)

    class Turned(MemoryTape):
        entries = old.entries

        def follow(self, *arguments: Any, **options: Any) -> Any:
            self.entries = now.entries
            return super().follow(*arguments, **options)

    tape = Turned()
    tape.entries = old.entries
    projector = Projector(postgres_dsn, tape)
    task = asyncio.create_task(projector.run())
    await until_at(projector, len(now.entries), task)
    while await history_lost(postgres_dsn, now) is not None:  # noqa: ASYNC110 - the swap follows in a moment
        await asyncio.sleep(0.01)
    await stop(task)
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, now)


async def test_tables_of_another_tape_are_never_replaced_unasked(postgres_dsn: str) -> None:
    await project_to_end(postgres_dsn, history(54, minutes=10))
    before = await table_hashes(postgres_dsn)
    with pytest.raises(AnotherTape, match="another tape of the name 'main'"):
        await Projector(postgres_dsn, history(55, minutes=30)).run()
    assert await table_hashes(postgres_dsn) == before


def test_a_lost_history_crosses_processes() -> None:
    import pickle

    for error in (HistoryLost("main", 9, 4), HistoryGone(HistoryLost("main", 9, 12))):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


class Reader(threading.Thread):
    """Asks for tables and views, own and others', as fast as it can; keeps what went wrong."""

    QUERIES = (
        "SELECT count(*) FROM tickertape.candles",
        "SELECT count(*) FROM tickertape.performance",
        "SELECT count(*) FROM tickertape.sync_status",
        "SELECT count(*) FROM outside.mine",
        "SELECT max(seq) FROM tickertape.checkpoints",
    )

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn
        self.wrong: list[str] = []
        self.polls = 0
        self.ending = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("SET ROLE onlooker")
            while not self.ending.is_set():
                for query in self.QUERIES:
                    try:
                        found = connection.execute(query.encode()).fetchone()
                        if not found or not found[0]:
                            self.wrong.append(f"{query}: {found}")
                    except psycopg.Error as error:
                        self.wrong.append(f"{query}: {error}")
                    self.polls += 1
                time.sleep(0.001)  # the projector needs a part of the same processor


@contextmanager
def readers(dsn: str, count: int) -> Iterator[list[Reader]]:
    found = [Reader(dsn) for _ in range(count)]
    for reader in found:
        reader.start()
    try:
        yield found
    finally:
        for reader in found:
            reader.ending.set()
        for reader in found:
            reader.join()


@pytest.fixture
def onlooker(postgres_dsn: str) -> Iterator[None]:
    do(postgres_dsn, "CREATE ROLE onlooker")
    yield
    do(postgres_dsn, "DROP OWNED BY onlooker; DROP ROLE onlooker")


def shown(dsn: str) -> None:
    do(
        dsn,
        "CREATE SCHEMA outside; CREATE VIEW outside.mine AS SELECT bot, sum(pnl) FROM tickertape.trades GROUP BY 1;"
        "GRANT USAGE ON SCHEMA tickertape, outside TO onlooker;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA tickertape, outside TO onlooker",
    )


def upgrade(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (fold, shell, statements):
        monkeypatch.setattr(module, "VERSION", fold.VERSION + (module is fold))
    return fold.VERSION


async def version(dsn: str) -> int:
    """Asked beside the loop: while the tables are swapped, the question has to wait for the answer of a task."""
    found = await asyncio.to_thread(rows, dsn, "SELECT version FROM tickertape.checkpoints")
    return int(found[0][0])


async def schemas(dsn: str) -> list[str]:
    found = await asyncio.to_thread(rows, dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tick%'")
    return [name for (name,) in found]


async def test_a_new_version_takes_over_while_the_old_one_is_read(
    postgres_dsn: str, onlooker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several upgrades in a row, with the old program's projector at work and readers that never see an error."""
    whole, tape = history(56, minutes=100), MemoryTape()
    await grow(tape, whole, len(whole.entries) * 3 // 4)
    await project_to_end(postgres_dsn, tape)
    shown(postgres_dsn)
    with readers(postgres_dsn, 1) as reading:
        for step in range(3):
            wanted = upgrade(monkeypatch)
            await grow(tape, whole, len(whole.entries) * (10 + step) // 12)
            projector = Projector(postgres_dsn, tape)
            task = asyncio.create_task(projector.run())
            while await version(postgres_dsn) != wanted:  # noqa: ASYNC110 - another connection's work
                await asyncio.sleep(0.01)
            await until_at(projector, len(tape.entries), task)
            while await schemas(postgres_dsn) != ["tickertape"]:  # noqa: ASYNC110 - the old tables go after the swap
                await asyncio.sleep(0.01)
            await stop(task)
    assert [reader.wrong for reader in reading] == [[]]
    assert min(reader.polls for reader in reading) > 100
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, tape)


async def test_an_upgrade_that_dies_anywhere_starts_again(
    postgres_dsn: str, onlooker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = history(57, minutes=40)
    await project_to_end(postgres_dsn, tape)
    shown(postgres_dsn)
    wanted = upgrade(monkeypatch)
    with readers(postgres_dsn, 1) as reading:
        for life in range(30):
            task = asyncio.create_task(Projector(postgres_dsn, tape).run())
            await asyncio.sleep(0.01 * 1.3**life)  # each is a little longer than the one before
            if life % 2:
                with suppress(psycopg.errors.AdminShutdown):
                    do(postgres_dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                     " WHERE application_name = 'tickertape projector'")  # fmt: skip
            await stop(task)
            if await version(postgres_dsn) == wanted:
                break
    assert await version(postgres_dsn) == wanted
    assert [reader.wrong for reader in reading] == [[]]
    await rebuild(postgres_dsn, tape)  # sweeps up
    assert await table_hashes(postgres_dsn) == await hashes_of_a_rebuild(postgres_dsn, tape)
    assert await schemas(postgres_dsn) == ["tickertape"]
