"""What a run found, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import msgspec

from scripts.fuzz.bus import Run
from scripts.fuzz.verdict import Verdict
from scripts.fuzz.watch import Sample

SINGLE = ("seqs", "hashes", "unreadable")


class Report(msgspec.Struct):
    seed: int
    run: Run
    verdict: Verdict

    @property
    def problems(self) -> list[str]:
        found = [*self.verdict.problems]
        found += [] if self.run.alive else ["a process ended"]
        return found if self.run.caught_up else [*found, "not all was dealt with"]


def values(report: Report) -> dict[str, object]:
    """Plain values, without the single messages."""
    sent = {name: value for name, value in msgspec.structs.asdict(report.run.sent).items() if name not in SINGLE}
    run = {**msgspec.structs.asdict(report.run), "sent": sent}
    return {
        "seed": report.seed, **run, "verdict": msgspec.to_builtins(report.verdict), "problems": report.problems,
    }  # fmt: skip


def as_json(report: Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(values(report)))


def sentences(report: Report) -> str:
    return "\n".join(chain(_sent(report), _became(report.verdict), _memory(report.run.samples), _ended(report)))


def _sent(report: Report) -> Iterator[str]:
    run, sent = report.run, report.run.sent
    rate = sent.facts / max(run.took_s, 0.001)
    yield f"{sent.facts:,} mutated facts in {sent.messages:,} messages, {sent.good:,} sound ones, seed {report.seed}"
    messages = sent.messages / max(run.took_s, 0.001)
    yield f"{run.took_s:,.0f} s: {rate:,.0f} mutated facts and {messages:,.0f} messages a second"
    yield f"{'mutation':<16}{'facts':>12}{'no fact to the codec':>24}"
    for how, count in sorted(sent.by_kind.items()):
        yield f"{how:<16}{count:>12,}{sent.unreadable_by_kind[how]:>24,}"
    yield from _counted("refused by the server", sent.refused)
    yield f"slowest to decode: {sent.slowest_us:,} µs ({sent.slowest})"


def _became(verdict: Verdict) -> Iterator[str]:
    yield from _counted("what became of the messages", verdict.fates)
    yield from _counted("quarantined facts by reason", verdict.reasons)
    yield from _counted("flagged", verdict.flags)
    yield from _counted("no sound input to the audit", verdict.named)
    yield f"slowest to decide on: {verdict.slowest_us:,} µs ({verdict.slowest})"
    yield from _counted("decisions on sound messages", verdict.good_decisions)
    yield (
        f"quarantine: {verdict.quarantined_rows:,} facts and {verdict.unreadable_rows:,} unreadable messages; parked: "
        f"{verdict.parked_rows:,} rows; {verdict.entries:,} messages and {verdict.decisions:,} decisions on the tape"
    )


def _memory(samples: list[Sample]) -> Iterator[str]:
    yield "memory in MB, anonymous and resident, at"
    step = max(1, len(samples) // 8)
    for one in [*samples[:-1:step], samples[-1]]:
        told = ", ".join(f"{name} {mb:.0f}" for name, mb in one.memory.items())
        yield f"{one.facts:>12,} facts, {one.at_s:>6.0f} s: {told}"
    tenth = next(one for one in samples if one.facts * 10 >= samples[-1].facts)
    grown = ", ".join(f"{name} {samples[-1].memory[name] - mb:+.1f}" for name, mb in tenth.memory.items())
    yield f"from {tenth.facts:,} facts on: {grown} MB"


def _ended(report: Report) -> Iterator[str]:
    yield from (f"PROBLEM: {problem}" for problem in report.problems)
    if not report.problems:
        yield "no crash, no hang; everything refused is in quarantine once; verified, with and without what was refused"


def _counted(what: str, counts: Counter[str]) -> Iterator[str]:
    yield f"{what}: {', '.join(f'{name} {count:,}' for name, count in counts.most_common()) or 'nothing'}"
