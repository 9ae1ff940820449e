"""A case: one figure of one work, against a yardstick of the same rounds, and what it is to reach."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from scripts.bench.work import Done

Better = Literal["more", "less"]


class Goal(msgspec.Struct, frozen=True):
    """What is to be reached: `ratio` to the yardstick, or, where the yardstick was not run, `value` in its place.

    A goal with one of them is judged by that one alone. The stretches likewise.
    """

    better: Better = "more"
    ratio: float | None = None
    value: float | None = None
    stretch_ratio: float | None = None
    stretch_value: float | None = None


class Case(msgspec.Struct, frozen=True):
    """`measure`: the key in the samples. `yardstick`: the name of the work it is compared with, run beside it."""

    name: str
    what: str
    work: str
    measure: str
    unit: str
    yardstick: str | None = None
    goal: Goal | None = None


class Finding(msgspec.Struct, kw_only=True):
    """A line of the table. `met`: None where nothing is to be reached, or nothing to judge by was measured."""

    name: str
    what: str = ""
    value: float | None = None
    unit: str = ""
    yardstick: str = ""
    floor: float | None = None
    ratio: float | None = None
    goal: Goal | None = None
    judged_by: str = ""
    met: bool | None = None
    stretched: bool | None = None
    rounds: int = 0
    note: str = ""
    error: str = ""


def found(case: Case, done: Mapping[str, Done]) -> Finding:
    """The ratio is the median of the rounds' ratios, ours over the yardstick's, whichever is better."""
    ours = done[case.work]
    finding = Finding(
        name=case.name, what=case.what, unit=case.unit, goal=case.goal, note=ours.differs,
        value=ours.median(case.measure), rounds=len(ours.samples), error=ours.error,
    )  # fmt: skip
    if not finding.error and finding.value is None:
        finding.error = f"{case.work} did not say {case.measure}"
    other = done.get(case.yardstick or "")
    if other is not None:
        finding.yardstick, finding.floor = other.work.name, other.median(case.measure)
        finding.ratio = _ratio(ours, other, case.measure)
        finding.note = "; ".join(part for part in (finding.note, other.error) if part)
    judge(finding)
    return finding


def agreed(name: str, works: Sequence[str], done: Mapping[str, Done]) -> Finding | None:
    """Whether every sample of the works has one digest; None where fewer than two of them were run."""
    run = [work for work in works if work in done and done[work].samples]
    if len(run) < 2:
        return None
    digests = {f"{work}: {sample.get('digest')}" for work in run for sample in done[work].samples}
    same = len({one.rpartition(" ")[2] for one in digests}) == 1
    finding = Finding(
        name=name, what=f"one digest of {', '.join(run)}", met=same, note="" if same else "not one digest"
    )
    if not same:
        finding.error = "; ".join(sorted(digests))
    return finding


def _ratio(ours: Done, other: Done, measure: str) -> float | None:
    pairs = zip(ours.samples, other.samples, strict=False)
    ratios = [mine[measure] / its[measure] for mine, its in pairs if mine.get(measure) and its.get(measure)]
    return statistics.median(ratios) if ratios else None


def judge(finding: Finding) -> None:
    """Sets `judged_by`, `met` and `stretched`."""
    goal = finding.goal
    if goal is None or finding.error:
        return
    finding.judged_by, finding.met = _judged(finding, goal.better, goal.ratio, goal.value)
    _, finding.stretched = _judged(finding, goal.better, goal.stretch_ratio, goal.stretch_value)


def _judged(finding: Finding, better: Better, ratio: float | None, value: float | None) -> tuple[str, bool | None]:
    for by, found, wanted in (("ratio", finding.ratio, ratio), ("value", finding.value, value)):
        if found is not None and wanted is not None:
            return by, found >= wanted if better == "more" else found <= wanted
    return "", None


def folded(subject: str, samples: Sequence[Mapping[str, Any]], goals: Mapping[str, Goal]) -> list[Finding]:
    """The objects that a subject module printed, one a round, as lines of the table, with the medians of the rounds.

    Of each entry `value`, `unit`, `floor`, `ratio` and `note` are read, and `goal` with the fields of Goal where
    `goals` has none for `subject.name`. An entry may say `error` instead.
    """
    names = [
        name for name, entry in samples[-1].items() if isinstance(entry, Mapping) and {"value", "error"} & {*entry}
    ]
    lines = [_folded(f"{subject}.{name}", [one[name] for one in samples if name in one], goals) for name in names]
    return lines or [Finding(name=subject, error="it printed an object without a single figure")]


def _folded(name: str, entries: Sequence[Mapping[str, Any]], goals: Mapping[str, Goal]) -> Finding:
    last = entries[-1]
    own = last.get("goal")
    finding = Finding(
        name=name, unit=last.get("unit", ""), goal=goals.get(name) or (msgspec.convert(own, Goal) if own else None),
        value=_median(entries, "value"), floor=_median(entries, "floor"), ratio=_median(entries, "ratio"),
        yardstick="" if last.get("floor") is None else "floor", rounds=len(entries), note=last.get("note", ""),
        error=next((one["error"] for one in entries if one.get("error")), ""),
    )  # fmt: skip
    judge(finding)
    return finding


def _median(entries: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [one[key] for one in entries if one.get(key) is not None]
    return statistics.median(values) if values else None
