"""Columns against entries: a rebuild that sweeps gives the tables and the state of one that folds fact by fact."""

from __future__ import annotations

from pathlib import Path

import pytest

from events import market as m
from events.decision import Decision
from events.memory import MemoryTape
from events.scanned import Scanned
from events.tape import Tape
from events.timeframe import MINUTE
from infra.tapes.file import FileTape
from projections import sweep
from projections.shell import rebuild, table_hashes
from tests.projections.history import START, history


class Columns:
    """A file tape that gives columns, however short it is."""

    def __init__(self, tape: FileTape) -> None:
        self.tape, self.name, self.swept = tape, tape.name, 0
        self.read, self.end = tape.read, tape.end

    async def pages(self, *, after: int = 0) -> object:
        async for page in self.tape.pages(after=after, columns=True):
            self.swept += len(page) - len(page.alone) if isinstance(page, Scanned) else 0
            yield page


def on_file(tape: MemoryTape, folder: Path) -> FileTape:
    made = FileTape(folder, fsync="close")
    for entry in tape.entries:
        last = made._log.last.get(entry.actor)
        made._clock = lambda known_at=entry.known_at: known_at  # type: ignore[misc]
        made.put(entry.actor, entry.decision, expected=last.seq if last else 0)
    return made


def busy(seed: int) -> MemoryTape:
    """A market in which bots trade, one that has gaps and revisions, two that only tick, one of them backwards."""
    made = history(seed, minutes=40)
    for minute in range(60):
        ts = START + minute * MINUTE
        for symbol, when in (("CALM", ts), ("ODD", ts if minute % 20 else START)):
            bar = m.Candle(
                "sim", symbol, "1m", when, 1.0, 2.0, 0.5, 1.0 + minute / 7, 3.0, minute if minute % 9 else None
            )
            more = (m.Candle("sim", symbol, "5m", ts, *(1.0,) * 5),) if minute % 5 == 0 else ()
            for actor in (f"feed.sim.{symbol}", f"market.sim.{symbol}"):
                _put(made, actor, ts, bar, *more)
        quote = m.Quote("sim", "MIXED", ts + 5, 1.0, 2.0, 3.0, 4.0)
        _put(made, "feed.sim.MIXED", ts, m.Trade("sim", "MIXED", ts, 1.0, 2.0, "buy", ""), quote)
        if minute % 25 == 0:
            _put(made, "feed.sim.CALM", ts, m.FeedInterrupted("sim", "CALM", ts, "gone"))
        if minute == 50:
            _put(made, "market.sim.CALM", ts, m.CandleRevised("sim", "CALM", "1m", START, 9.0, 9.0, 9.0, 9.0, 9.0))
    return made


def _put(tape: MemoryTape, actor: str, ts: int, *facts: m.Fact) -> None:
    last = tape._last.get(actor)
    tape.put(actor, Decision(f"{len(tape.entries):032x}", 0, "", ts, facts), expected=last.seq if last else 0)


@pytest.mark.parametrize(("seed", "bite", "batch"), [(41, 8 << 20, 25_000), (42, 20_000, 40), (43, 60_000, 1)])
async def test_sweeping_gives_the_same_tables(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, bite: int, batch: int
) -> None:
    monkeypatch.setattr("infra.tapes.pages._LARGE_BITE", bite)
    monkeypatch.setattr(sweep, "_FEW", 2)
    tape = on_file(busy(seed), tmp_path)
    columns: Tape = Columns(tape)  # type: ignore[assignment]
    await rebuild(postgres_dsn, tape, schema="folded", batch=7)
    report = await rebuild(postgres_dsn, columns, schema="swept", batch=batch)
    assert report.facts == sum(len(entry.decision.facts) for entry in tape.scan())
    assert report.at == report.entries == await tape.end()
    assert columns.swept > 200  # type: ignore[attr-defined]
    assert await table_hashes(postgres_dsn, schema="swept") == await table_hashes(postgres_dsn, schema="folded")
    await tape.close()


async def test_pages_of_many_markets_with_few_facts_are_folded_one_by_one(tmp_path: Path) -> None:
    made = MemoryTape("main")
    for number in range(40):
        _put(made, f"market.sim.S{number}", START, m.Candle("sim", f"S{number}", "1m", START, *(1.0,) * 5))
    tape = on_file(made, tmp_path)
    pages = [page async for page in tape.pages(columns=True)]
    assert [sweep._parted(page) for page in pages if isinstance(page, Scanned)] == [[]]
    await tape.close()
