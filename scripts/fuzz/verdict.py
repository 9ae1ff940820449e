"""What became of it: every message accounted for, and the proof that what was refused had no effect."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Set

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
    fates = await _fates(tape, plan, sent, verdict)
    verdict.without_refused = await _audited(tape, plan, sent, verdict, fates)
    verdict.verified = await _audited(tape, plan, sent, verdict, set())
    await _in_tables(tape, dsn, sent, verdict)
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
    refused: set[int] = set()
    async for entry in tape.read():
        facts = entry.decision.facts
        if entry.seq in mutants:
            heard[entry.seq], told[entry.seq] = _at_first(entry, symbols), len(facts)
            if isinstance(facts[0], Unreadable):
                verdict.lost_bytes += hash_of(facts[0].raw) != mutants[entry.seq]
        elif not entry.decision.by:
            continue
        elif entry.actor in markets:
            verdict.flags.update(fact.issue for fact in facts if isinstance(fact, DataFlagged))
            bad = [fact for fact in facts if isinstance(fact, Quarantined)]
            verdict.reasons.update(fact.reason for fact in bad)
            cause = entry.decision.cause
            whole = len(bad) == len(facts) and (bad[0].detail.find("more than") > 0 or len(bad) == told.get(cause))
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


async def _audited(tape: JetStreamTape, plan: Plan, sent: Sent, verdict: Verdict, refused: set[int]) -> str:
    """The first decision that does not follow from the rest of the tape, without what is `refused`; empty for none."""
    auditor = Lenient(plan, await past_on(tape, plan), set(sent.seqs) - refused)
    async for entry in tape.read():
        if entry.seq in refused:
            continue
        began = time.thread_time()
        difference = auditor.check(entry)
        took = int((time.thread_time() - began) * 1e6)
        if took > verdict.slowest_us:
            verdict.slowest_us, verdict.slowest = took, f"sequence {entry.seq}, {entry.actor} {entry.decision.kind}"
        if difference is not None:
            return str(difference)
    verdict.entries, verdict.decisions = auditor.entries, auditor.digest.decisions
    verdict.named = auditor.named
    return f"{auditor.undecided} undecided" if auditor.undecided else ""


async def _in_tables(tape: JetStreamTape, dsn: str, sent: Sent, verdict: Verdict) -> None:
    """Every quarantined fact and unreadable message has one row, with its bytes."""
    schema = schema_of(tape.name)
    unreadable, quarantined = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        async with connection.cursor(name="quarantine") as cursor:
            await cursor.execute(f"SELECT seq, kind, raw FROM {schema}.quarantine".encode())
            async for seq, kind, raw in cursor:
                (unreadable if kind == "unreadable" else quarantined)[seq, hash_of(bytes(raw))] += 1
        found = await (await connection.execute(f"SELECT count(*) FROM {schema}.parked".encode())).fetchone()
    verdict.parked_rows = int(found[0]) if found else 0
    verdict.quarantined_rows, verdict.unreadable_rows = quarantined.total(), unreadable.total()
    async for entry in tape.read():
        for fact in entry.decision.facts:
            if isinstance(fact, Unreadable):
                unreadable[entry.seq, hash_of(fact.raw)] -= 1
            elif isinstance(fact, Quarantined):
                quarantined[entry.seq, hash_of(fact.raw)] -= 1
    hashes = dict(zip(sent.seqs, sent.hashes, strict=True))
    for seq in sent.unreadable:
        unreadable[seq, hashes[seq]] += 0  # there, and with these bytes
    verdict.lost_bytes += sum(map(abs, [*unreadable.values(), *quarantined.values()]))


def _problems(verdict: Verdict) -> list[str]:
    found = {
        "the audit": verdict.verified,
        "without what was refused": verdict.without_refused,
        "messages without a fate": verdict.unaccounted,
        "messages that are not in quarantine once with their bytes": verdict.lost_bytes,
        "tables that differ from a rebuild": ", ".join(verdict.differing),
    }
    return [f"{name}: {what}" for name, what in found.items() if what]
