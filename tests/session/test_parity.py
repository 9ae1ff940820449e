"""Half a recorded day through JetStream and Ray, killed five times, against one process; then the tape that came of it.

`TICKERTAPE_PARITY_MINUTES` plays another number of minutes; `make parity` plays all of the files.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from infra.services import admission, discovery
from infra.services.discovery import Endpoints
from infra.session.audit import audit
from infra.tapes.bus import EPOCH
from infra.tapes.jetstream import JetStreamTape
from projections.shell import project_to_end, table_hashes
from scripts.parity import FOLDER, Outcome, compare, config
from tests import data
from tests.roles import client_as
from tests.session.command import Tape

MINUTES = int(os.environ.get("TICKERTAPE_PARITY_MINUTES", "720"))
KILLS = 5
PROCESSES = 3  # market, account and bots: decisions do not depend on it, and six starts take half the time of eight's
RUN_S = (
    900  # of one run between two kills: 20 s on a quiet machine with 2 cores, many times that beside other heavy tests
)


class Played(msgspec.Struct, frozen=True):
    tape: Tape
    outcome: Outcome


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Both sides, and the data folder that the killed session left."""
    data.path(str(FOLDER.relative_to(data.ROOT)))
    folder = Path(tempfile.mkdtemp(prefix="tickertape-parity-"))
    chosen = config(folder / "data", PROCESSES)
    (folder / "data").mkdir()
    outcome = compare(MINUTES, KILLS, seed=7, processes=PROCESSES, data_dir=folder / "data", patience_s=RUN_S)
    yield Played(Tape(folder, chosen), outcome)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def served(played: Played) -> Iterator[Played]:
    """The services of that data folder, kept up for the commands."""
    with played.tape.beside("serve") as running:
        running.until(lambda: played.tape.served, "services")
        yield played


def test_live_equals_backtest_through_five_kills(played: Played) -> None:
    outcome = played.outcome
    assert outcome.kills == KILLS
    assert outcome.candles == 5 * MINUTES
    assert outcome.verdict.difference is None
    assert outcome.verdict.undecided == 0
    assert outcome.live == outcome.backtest == outcome.verdict.digest
    assert outcome.verdict.decisions > outcome.candles


def test_verify_finds_no_difference_and_names_the_digest(served: Played) -> None:
    found = served.tape("verify")
    assert found.code == 0, found.err
    assert served.outcome.backtest in found.out


async def test_tables_projected_across_the_kills_are_what_the_tape_says(served: Played) -> None:
    at = discovery.read(served.tape.data_dir)
    assert at is not None
    dsn = at.endpoints.postgres_dsn
    status = served.tape("status", "--json").json()
    # Killed or ended, the projector may be behind by what came within its last commit; far more is not live.
    assert status["tables"]["at"] > 0.5 * status["last"]
    tape = await JetStreamTape.connect(at.endpoints.nats, "main", create=False, access=at.endpoints.access("viewer"))
    try:
        assert await project_to_end(dsn, tape) == status["last"]
    finally:
        await tape.close()
    live = await table_hashes(dsn)
    assert served.tape("rebuild", "--check").code == 0
    rebuilt = served.tape("rebuild", "--json")
    assert rebuilt.code == 0, rebuilt.err
    told = rebuilt.json()["tables"]
    assert {name: one["hash"] for name, one in told.items()} == live
    assert all(told[name]["rows"] for name in ("candles", "signals", "orders", "fills", "trades", "equity", "actors"))
    assert not told["parked"]["rows"]


CHANGES = {
    "feed": ("feed.*.*.candle", rb'"close":[0-9.]*[0-9]', 0),
    "market": ("market.*.*.candle", rb'"high":[0-9.]*[0-9]', 0),
    "signal": ("bot.*.signal", rb'"target":-?[0-9.]*[0-9]', 0),
    "fill": ("account.*.fill", rb'"price":"[0-9.]*[0-9]', 0),
    "order": ("account.*.order-placed", rb'"qty":"[0-9.]*[0-9]', 0),
    "claim": ("*.*.actor-claimed", rb'"epoch":[0-9]', 0),
    "unreadable": ("feed.*.*.candle", rb'"close":', 1),
}
"""Where the byte is, what is changed (the last byte of the match), and how far behind it the tape stops adding up."""


@pytest.mark.parametrize("kind", CHANGES)
async def test_one_changed_byte_is_named(served: Played, kind: str) -> None:
    pattern, where, behind = CHANGES[kind]
    at = discovery.read(served.tape.data_dir)
    assert at is not None
    async with client_as(at.endpoints, "archivist") as (_, js):
        after = 1 if kind == "claim" else 200
        victim = (await js.get_msg("main", seq=after, subject=f"main.{pattern}", next=True)).seq
        assert victim is not None
        changed = await empty(served, at, f"changed-{kind}")
        await copied(js, changed, victim + 10, {victim: where})
        if kind != "feed":
            assert await named(at.endpoints, changed) == victim + behind
            return
        await copied(js, await empty(served, at, "whole"), victim + 10, {})
    whole = served.tape("verify", "--tape", "whole", "--json")  # once as an operator does it
    assert whole.code == 0, whole.err
    found = served.tape("verify", "--tape", f"changed-{kind}")
    assert found.code == 1, found.err
    place = re.search(r"sequence (\d+)", found.out)
    assert place is not None, found.out
    assert int(place[1]) == victim + behind


async def empty(served: Played, at: discovery.Running, name: str) -> str:
    """Makes a tape."""
    await admission.admit(served.tape.data_dir, at, name)
    await (await JetStreamTape.connect(at.endpoints.nats, name, access=at.endpoints.access("archivist"))).close()
    return name


async def named(at: Endpoints, name: str) -> int:
    """The sequence at which an audit of a tape finds that it does not add up."""
    tape = await JetStreamTape.connect(at.nats, name, create=False, access=at.access("viewer"))
    try:
        difference = (await audit(tape)).difference
    finally:
        await tape.close()
    assert difference is not None
    return difference.seq


async def copied(js: JetStreamContext, name: str, end: int, changes: dict[int, bytes]) -> None:
    """The beginning of the tape as another one, with the last byte of a match changed in some messages."""
    acks = []
    for seq in range(1, end + 1):
        message = await js.get_msg("main", seq)
        body, subject = message.data or b"", message.subject or ""
        if seq in changes:
            found = re.search(changes[seq], body)
            assert found is not None, body
            byte = body[found.end() - 1]
            body = body[: found.end() - 1] + bytes([byte ^ 1]) + body[found.end() :]
        headers = {EPOCH: (message.headers or {})[EPOCH]}
        acks.append(await js.publish_async(f"{name}.{subject.partition('.')[2]}", body, headers=headers))
    assert [ack.seq for ack in await asyncio.gather(*acks)] == [*range(1, end + 1)]
