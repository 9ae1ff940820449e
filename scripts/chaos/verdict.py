"""After the last fault: what the disturbed session came to, beside what an undisturbed one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from actors.lockstep import Lockstep
from actors.roster import deciders
from events.decision import Decision, Recorded
from events.digest import Digest
from events.memory import MemoryTape
from events.trading import Fill
from infra.session.audit import Verdict, audit
from infra.session.market import unstamped
from infra.tapes.jetstream import JetStreamTape
from projections.shell import project_to_end, rebuild, table_hashes
from scripts.parity import market, plan

TABLES = ("candles", "series", "gaps", "data_quality", "quarantine", "bots", "signals", "risk", "orders", "fills",
          "trades", "positions", "accounts", "equity", "parked")  # fmt: skip
"""Those that follow from the market alone; the others tell of claims, commands and the tape itself."""

OF_THE_TAPE = {"seq", "n", "known_at", "found_at", "found_seq", "filled_at", "filled_seq"}
"""Columns that say where and when something came onto the tape."""

BESIDE = "undisturbed"


class Outcome(msgspec.Struct, frozen=True):
    """Both sides, and in words what of them differs; nothing may."""

    candles: int
    decisions: int
    fills: int
    lost_fills: int
    doubled_fills: int
    live: str
    undisturbed: str
    wrong: tuple[str, ...]


async def compared(tape: JetStreamTape, dsn: str) -> Outcome:
    """Plays what the tape has been fed in one process, and compares digest, fills and tables."""
    candles = 0
    fills: Counter[str] = Counter()
    async for entry in tape.read(["feed.*.*.candle", "account.>"]):
        candles += entry.actor.startswith("feed.")
        fills.update(_fills((entry.decision,)))
    calm = MemoryTape(tape.name)
    digest = _played(calm, candles)
    expected = Counter(_fills(entry.decision for entry in calm.entries))
    verdict = await audit(tape)
    wrong = _verified(verdict, digest)
    lost, doubled = (expected - fills).total(), (fills - expected).total()
    wrong += [f"{lost} fills lost"] * bool(lost) + [f"{doubled} fills too many"] * bool(doubled)
    wrong += await _tables(tape, calm, dsn)
    return Outcome(candles, verdict.decisions, fills.total(), lost, doubled, verdict.digest, digest, tuple(wrong))


def _played(calm: MemoryTape, candles: int) -> str:
    found = Digest()

    def keep(entry: Recorded) -> None:
        found.add(entry.actor, entry.decision)
        calm.entries.append(entry)

    loop = Lockstep(deciders(plan()), keep)
    for actor, message in islice(unstamped(market(0)), candles):
        loop.feed(actor, message)
    return found.hexdigest()


def _fills(decisions: Iterable[Decision]) -> list[str]:
    return [f"{fact.account}/{fact.fill}" for one in decisions for fact in one.facts if isinstance(fact, Fill)]


def _verified(verdict: Verdict, digest: str) -> list[str]:
    wrong = [] if verdict.difference is None else [str(verdict.difference)]
    if verdict.undecided:
        wrong.append(f"{verdict.undecided} decisions are missing")
    if verdict.digest != digest:
        wrong.append(f"the digest is {verdict.digest}, undisturbed {digest}")
    return wrong


async def _tables(tape: JetStreamTape, calm: MemoryTape, dsn: str) -> list[str]:
    """Tables as they were kept up, rebuilt from the tape, and filled from the undisturbed run."""
    await project_to_end(dsn, tape)
    live, bare = await table_hashes(dsn), await _contents(dsn, "tickertape")
    await rebuild(dsn, tape)
    rebuilt = await table_hashes(dsn)
    await project_to_end(dsn, calm, schema=BESIDE)
    undisturbed = await _contents(dsn, BESIDE)
    wrong = [f"table {name} is not what a rebuild makes" for name in live if live[name] != rebuilt[name]]
    return wrong + [
        f"table {name} is not that of an undisturbed run" for name in bare if bare[name] != undisturbed[name]
    ]


async def _contents(dsn: str, schema: str) -> dict[str, tuple[int, str]]:
    """Rows and a hash of what they hold, of where on the tape it stands apart."""
    found = {}
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SET TIME ZONE 'UTC'")
        for name in TABLES:
            asked = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            columns = sorted(column for (column,) in await (await connection.execute(asked, (schema, name))).fetchall())
            kept = SQL(", ").join(Identifier(column) for column in columns if column not in OF_THE_TAPE)
            query = SQL(
                "SELECT count(*), coalesce(md5(string_agg(line, '|' ORDER BY line COLLATE \"C\")), '') "
                "FROM (SELECT ROW({})::text AS line FROM {}) AS lines"
            ).format(kept, Identifier(schema, name))
            row = await (await connection.execute(query)).fetchone()
            assert row is not None
            found[name] = (int(row[0]), str(row[1]))
    return found
