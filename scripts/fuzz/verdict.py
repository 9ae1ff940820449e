"""What became of it: every message accounted for, and the proof that what was refused had no effect."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Set
from typing import Any

import msgspec
import psycopg

from actors.plan import Plan
from events import subjects
from events.control import Quarantined, Unreadable
from events.decision import Recorded
from events.market import DataFlagged
from infra.session.audit import Auditor, Difference, Past, past_on
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import schema_of
from projections.shell import rebuild, table_hashes
from scripts.fuzz.bus import Sent, hash_of

_ROWS = 200  # at a time: of the largest there are, it is 200 MB
ACTORS = ("market.", "bot.", "account.")


class Verdict(msgspec.Struct):
    """`fates`: mutated messages by what became of them; `named`: those that the audit calls no sound input.

    `unaccounted`: messages for which no fate was found.

    `without_refused`: the first decision that is another one where all refused messages are left out, if any.
    """

    entries: int = 0
    decisions: int = 0
    good_decisions: Counter[str] = msgspec.field(default_factory=Counter)
    fates: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    named: Counter[str] = msgspec.field(default_factory=Counter)
    flags: Counter[str] = msgspec.field(default_factory=Counter)
    unaccounted: int = 0
    lost_bytes: int = 0
    verified: str = ""
    without_refused: str = ""
    quarantined_rows: int = 0
    unreadable_rows: int = 0
    parked_rows: int = 0
    differing: list[str] = []
    slowest_us: int = 0
    slowest: str = ""
    problems: list[str] = []


async def judge(tape: JetStreamTape, dsn: str, plan: Plan, sent: Sent) -> Verdict:
    verdict = Verdict()
    refused = await _fates(tape, plan, sent, verdict)
    await _gone_over(tape, dsn, plan, sent, verdict, refused)
    before = await table_hashes(dsn, schema=schema_of(tape.name))
    await rebuild(dsn, tape)
    after = await table_hashes(dsn, schema=schema_of(tape.name))
    verdict.differing = [name for name, found in before.items() if after[name] != found]
    verdict.problems = _problems(verdict)
    return verdict


async def _fates(tape: JetStreamTape, plan: Plan, sent: Sent, verdict: Verdict) -> set[int]:
    """Counts what became of each mutant, and gives the sequences of messages that were refused, with their answers."""
    mutants = dict(zip(sent.seqs, sent.hashes, strict=True))
    symbols = {subjects.feed(one.venue, one.symbol) for one in plan.symbols}
    markets = {subjects.market(one.venue, one.symbol) for one in plan.symbols}
    heard: dict[int, str] = {}
    told: dict[int, int] = {}
    refused, unreadable = set[int](), set(sent.unreadable)
    async for entry in tape.read():
        facts = entry.decision.facts
        if entry.seq in mutants:
            heard[entry.seq], told[entry.seq] = _at_first(entry, symbols), len(facts)
            if isinstance(facts[0], Unreadable):
                verdict.lost_bytes += hash_of(facts[0].raw) != mutants[entry.seq]
            verdict.lost_bytes += isinstance(facts[0], Unreadable) != (entry.seq in unreadable)
        elif not entry.decision.by:
            continue
        elif entry.actor in markets:
            verdict.flags.update(fact.issue for fact in facts if isinstance(fact, DataFlagged))
            bad = [fact for fact in facts if isinstance(fact, Quarantined)]
            verdict.reasons.update(fact.reason for fact in bad)
            cause = entry.decision.cause
            crowded = len(bad) == 1 and bad[0].reason == "too-large" and "more than" in bad[0].detail
            whole = len(bad) == len(facts) and (crowded or len(bad) == told.get(cause))
            if whole:
                refused |= {cause, entry.seq}
            if cause in heard and bad and heard[cause] != "unreadable":
                heard[cause] = "quarantined" if whole else "quarantined in part"
            elif cause in heard and heard[cause] == "without effect":
                flagged = all(isinstance(fact, DataFlagged) for fact in facts)
                heard[cause] = "flagged" if flagged else "taken for true"
        if entry.decision.by and entry.actor.startswith(ACTORS) and entry.decision.cause not in mutants:
            verdict.good_decisions[entry.actor.partition(".")[0]] += 1
    verdict.fates.update(heard.values())
    verdict.unaccounted = len(mutants) - len(heard)
    return refused


def _at_first(entry: Recorded, symbols: set[str]) -> str:
    if isinstance(entry.decision.facts[0], Unreadable):
        return "unreadable"
    return "without effect" if entry.actor in symbols else "elsewhere"


class Lenient(Auditor):
    """Takes note of mutants that are no sound input, and goes on as the actors did."""

    def __init__(self, plan: Plan, past: Past, mutants: Set[int]) -> None:
        super().__init__(plan, past)
        self._mutants = mutants
        self.named: Counter[str] = Counter()

    def _compare(self, entry: Recorded) -> Difference | None:
        difference = super()._compare(entry)
        if difference is None or entry.seq not in self._mutants:
            return difference
        self.named[difference.problem] += 1
        return None


async def _gone_over(
    tape: JetStreamTape, dsn: str, plan: Plan, sent: Sent, verdict: Verdict, refused: Set[int]
) -> None:
    """The tape once more, under an audit of all of it, another one without what was refused, and beside the tables."""
    mutants, past = set(sent.seqs), await past_on(tape, plan)
    whole, without = Lenient(plan, past, mutants), Lenient(plan, past, mutants - refused)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        schema = schema_of(tape.name)
        tables = Quarantine(connection, schema)
        await tables.begin()
        async for entry in tape.read():
            await tables.compare(entry)
            began = time.thread_time()
            verdict.verified = verdict.verified or str(whole.check(entry) or "")
            took = int((time.thread_time() - began) * 1e6)
            if took > verdict.slowest_us:
                verdict.slowest_us, verdict.slowest = took, f"sequence {entry.seq}, {entry.actor} {entry.decision.kind}"
            if entry.seq not in refused and not verdict.without_refused:
                verdict.without_refused = str(without.check(entry) or "")
        verdict.lost_bytes += await tables.end()
        found = await (await connection.execute(f"SELECT count(*) FROM {schema}.parked".encode())).fetchone()
    verdict.parked_rows = int(found[0]) if found else 0
    verdict.quarantined_rows, verdict.unreadable_rows = tables.quarantined, tables.unreadable
    verdict.entries, verdict.decisions, verdict.named = whole.entries, whole.digest.decisions, whole.named
    verdict.verified = verdict.verified or (f"{whole.undecided} undecided" if whole.undecided else "")
    verdict.without_refused = verdict.without_refused or (f"{without.undecided} undecided" if without.undecided else "")


Row = tuple[int, int, str, str, str, str, bytes]


class Quarantine:
    """The table, row by row beside the tape: each quarantined fact and unreadable message is there once, as it is.

    A stranger's own `quarantined`, which is nobody's refusal, may also be parked: other words of his that no table can
    hold take it along.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection, self._schema = connection, schema
        self._cursor = connection.cursor(name="quarantine")
        self._rows = deque[Row]()
        self._parked = frozenset[int]()
        self._wrong = self.quarantined = self.unreadable = 0

    async def begin(self) -> None:
        what = f"SELECT seq, n, kind, source, reason, detail, raw FROM {self._schema}.quarantine ORDER BY seq, n"
        await self._cursor.execute(what.encode())
        parked = await self._connection.execute(f"SELECT DISTINCT seq FROM {self._schema}.parked".encode())
        self._parked = frozenset(seq for (seq,) in await parked.fetchall())

    async def compare(self, entry: Recorded) -> None:
        for n, fact in enumerate(entry.decision.facts):
            if isinstance(fact, Unreadable):
                self.unreadable += 1
                await self._expect((entry.seq, n, "unreadable", fact.subject, "unreadable", fact.reason, fact.raw))
            elif isinstance(fact, Quarantined):
                self.quarantined += 1
                right = (entry.seq, n, "quarantined", fact.source, fact.reason, fact.detail, fact.raw)
                await self._expect(right, optional=not entry.decision.by and entry.seq in self._parked)

    async def _expect(self, right: Row, *, optional: bool = False) -> None:
        while (row := await self._next()) is not None and row[:2] < right[:2]:
            self._wrong += 1  # a row of nothing on the tape, or one more of something
            self._rows.popleft()
        if row == right:
            self._rows.popleft()
        elif not optional:
            self._wrong += 1

    async def _next(self) -> Row | None:
        if not self._rows:
            self._rows.extend((*row[:6], bytes(row[6])) for row in await self._cursor.fetchmany(_ROWS))
        return self._rows[0] if self._rows else None

    async def end(self) -> int:
        """How many rows and facts have no counterpart."""
        while await self._next() is not None:
            self._wrong += len(self._rows)
            self._rows.clear()
        await self._cursor.close()
        return self._wrong


def _problems(verdict: Verdict) -> list[str]:
    found = {
        "the audit": verdict.verified,
        "without what was refused": verdict.without_refused,
        "messages without a fate": verdict.unaccounted,
        "messages that are not in quarantine once with their bytes": verdict.lost_bytes,
        "tables that differ from a rebuild": ", ".join(verdict.differing),
    }
    return [f"{name}: {what}" for name, what in found.items() if what]
