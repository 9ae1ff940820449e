"""What a campaign found, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from scripts.chaos.campaign import Hit
from scripts.chaos.verdict import Outcome


class Report(msgspec.Struct, frozen=True):
    """`surprises` and `outcome.wrong` are empty when nothing was found."""

    seed: int
    faults: int
    misses: int
    session_starts: int
    false_starts: int
    duration_s: float
    left_out: tuple[str, ...]
    surprises: tuple[str, ...]
    leftovers: tuple[str, ...]
    outcome: Outcome
    hits: tuple[Hit, ...]

    @property
    def clean(self) -> bool:
        return not (self.surprises or self.leftovers or self.outcome.wrong)


def written(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def table(hits: Sequence[Hit]) -> str:
    """Faults by kind: how many, how long they were held, and the time to get over them, in seconds."""
    by_kind: dict[str, list[Hit]] = {}
    for hit in hits:
        by_kind.setdefault(hit.kind, []).append(hit)
    lines = ["| fault | times | held p50 | recovered p50 | p99 |", "|---|---|---|---|---|"]
    for kind, some in sorted(by_kind.items()):
        lines.append(f"| {kind} | {len(some)} | {_part(some, 'held_s', 50)} | {_took(some)} |")
    lines.append(f"| all | {len(hits)} | {_part(hits, 'held_s', 50)} | {_took(hits)} |")
    return "\n".join(lines)


def _took(hits: Sequence[Hit]) -> str:
    return f"{_part(hits, 'recovered_s', 50)} | {_part(hits, 'recovered_s', 99)}"


def _part(hits: Sequence[Hit], what: str, percent: float) -> str:
    return f"{np.percentile([getattr(hit, what) for hit in hits], percent):.1f}"


def sentences(report: Report) -> str:
    """The verdict in words."""
    found = report.outcome
    lines = [
        f"{report.faults} faults hit in {report.duration_s:.0f} s (seed {report.seed}); the session was started "
        f"{report.session_starts} times, {report.false_starts} in vain; {report.misses} attempts met nothing.",
        f"{found.candles} candles, {found.decisions} decisions, {found.fills} fills: {found.lost_fills} lost, "
        f"{found.doubled_fills} doubled.",
        f"digest {found.live}",
        f"undisturbed {found.undisturbed}",
    ]
    lines += [f"not possible here, left out: {each}" for each in report.left_out]
    lines += [f"WRONG: {each}" for each in (*found.wrong, *report.surprises, *report.leftovers)]
    if report.clean:
        lines.append("digest, fills and every table are those of an undisturbed run")
    return "\n".join(lines)
