"""Trading goes on on a tape that was restored from its archive, from where it stood."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from actors.roster import deciders
from actors.shell import Host
from events import subjects
from events.control import ActorClaimed
from events.decision import Decision, Recorded
from infra.archive.export import export
from infra.archive.place import Place
from infra.archive.restore import restore
from infra.session.audit import audit
from infra.session.opening import record_plan
from infra.session.player import Feeds
from infra.session.snapshots import upkeep
from infra.session.tasks import ended
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import schema_of
from projections.shell import history_lost, project_to_end, table_hashes

from .archiving import delete, everything, quiet
from .cli_tape import PLAN, START, _market

FEED = subjects.feed("sim", "AAA-USDT")
_numbers = itertools.count(1)


async def trade(tape: JetStreamTape, folder: Path, messages: list[Decision], session: int) -> int:
    """A session's actors in one process, over candles that come one after the other; how much it had to read."""
    every = deciders(PLAN)
    host = Host(every, tape, None, upkeep(folder, 1, 0.0, every))
    running = asyncio.ensure_future(host.run())
    feeds = Feeds(tape, session)
    while not host.following:
        if running.done():
            running.result()
        await asyncio.sleep(0.01)
    read = host._count
    for message in messages:
        due = await feeds.publish(FEED, message)
        while host.at < due:  # one candle at a time, as live
            if running.done():
                running.result()
            await asyncio.sleep(0.001)
    await host.save()
    await ended(running)
    return read


def claims(entries: list[Recorded]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for entry in entries:
        if isinstance(entry.decision.facts[0], ActorClaimed):
            found.setdefault(entry.actor, []).append(entry.epoch)
    return found


async def test_a_session_goes_on_on_a_restored_tape(nats_url: str, postgres_dsn: str, tmp_path: Path) -> None:
    market, name = _market(70), f"resumed{next(_numbers)}"
    tape = await JetStreamTape.connect(nats_url, name)
    await record_plan(tape, PLAN, START)
    await trade(tape, tmp_path / "snapshots", market[:40], 1)
    before = await everything(tape)
    place = Place(str(tmp_path / "archive"), name)
    await project_to_end(postgres_dsn, tape)
    head = (await export(tape, place, quiet)).head
    await delete(tape)
    await tape.close()

    assert (await restore(nats_url, place, 1, quiet)).head == head
    again = await JetStreamTape.connect(nats_url, name)
    assert (await everything(again))[: len(before)] == before
    assert await history_lost(postgres_dsn, again) is None
    read = await trade(again, tmp_path / "snapshots", market[35:], 2)
    assert read <= 3  # what others claimed in this life
    after = await everything(again)
    assert [entry.seq for entry in after] == list(range(1, len(after) + 1))
    bars = [
        entry.decision.ts for entry in after if entry.actor.startswith("market.") and entry.decision.kind == "candle"
    ]
    assert len(bars) == len(set(bars)) > 60  # those that came again are known
    assert set(map(tuple, claims(after).values())) == {(1, 2)}
    verdict = await audit(again)
    assert (verdict.difference, verdict.undecided) == (None, 0)
    await project_to_end(postgres_dsn, again)
    await project_to_end(postgres_dsn, again, schema="fresh")
    assert await table_hashes(postgres_dsn, schema=schema_of(name)) == await table_hashes(postgres_dsn, schema="fresh")
    await again.close()
