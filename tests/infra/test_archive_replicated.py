"""Old messages dropped from a tape that three servers keep, while it is written and read."""

from __future__ import annotations

from pathlib import Path

from events.digest import digest
from infra.archive import retain as retaining
from infra.archive.check import check
from infra.archive.export import export
from infra.tapes.jetstream import JetStreamTape
from tests.contract.making import Following

from .archiving import everything, fill, place_in, quiet

KEPT = 20


async def test_retention_on_three_servers(nats_cluster_urls: list[str], tmp_path: Path) -> None:
    url = ",".join(nats_cluster_urls)
    tape = await JetStreamTape.connect(url, "replicated", replicas=3)
    other = await JetStreamTape.connect(url, "replicated", replicas=3)
    following = Following(other.follow())
    await fill(tape, 80)
    before = await everything(tape)
    await following.seen(len(before))
    place = place_in(tmp_path, tape)
    await export(tape, place, quiet)
    done = await retaining.retain(tape, place, len(before), quiet, kept=KEPT)
    assert done.dropped >= len(before) - KEPT
    first = [(await one.look()).first for one in (tape, other)]
    assert first == [done.first] * 2
    await fill(tape, 20, start=80)
    after = await everything(tape)
    assert after[: len(before)] == before
    assert digest(await everything(other)) == digest(after)
    assert await following.seen(len(after)) == after
    assert (await check(place, tape, quiet)).last < len(after)
    await following.stop()
    await tape.close()
    await other.close()
