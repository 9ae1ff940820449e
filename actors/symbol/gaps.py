"""Holes: stretches of bars that were expected, did not come, and may still be filled."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from events.market import GapFilled, GapFound

from .rules import Rules


class Hole(msgspec.Struct, frozen=True):
    """What is left of a found gap: closes from `first` to `last`, `missing` of them, and the gap as it was found."""

    first: int
    last: int
    missing: int
    gap_first: int
    gap_last: int
    gap_missing: int


def of(gap: GapFound) -> Hole:
    return Hole(gap.first, gap.last, gap.missing, gap.first, gap.last, gap.missing)


def found(rules: Rules, after: int, before: int) -> GapFound | None:
    """The bars expected strictly between two closes, None where there are none."""
    gap = rules.calendar.gap(after, before, rules.step, rules.origin)
    if gap is None:
        return None
    return GapFound(rules.venue, rules.symbol, rules.base.name, gap.first, gap.last, gap.count)


def at(holes: list[Hole], ts: int) -> int:
    """The index of the hole around a close, or -1."""
    index = bisect_right(holes, ts, key=_first) - 1
    return index if index >= 0 and ts <= holes[index].last else -1


def touches(holes: list[Hole], after: int, through: int) -> bool:
    """Whether a bar is missing in (after, through]."""
    if not holes or holes[-1].last <= after:
        return False
    index = bisect_right(holes, through, key=_first) - 1
    return index >= 0 and holes[index].last > after


def fills(rules: Rules, holes: list[Hole], ts: int) -> int:
    """As `at`, but only for a close that the calendar expects."""
    index = at(holes, ts)
    return index if index >= 0 and rules.calendar.expects(ts, rules.step, rules.origin) else -1


def fill(rules: Rules, holes: list[Hole], index: int, ts: int) -> GapFilled | None:
    """Takes one bar out of a hole; says so when it was the last one of its gap."""
    hole = holes[index]
    left = _part(rules, hole, hole.first - 1, ts)
    right = _part(rules, hole, ts, hole.last + 1)
    holes[index : index + 1] = [part for part in (left, right) if part is not None]
    key = (hole.gap_first, hole.gap_last)
    for near in holes[max(0, index - 1) : index + 2]:
        if (near.gap_first, near.gap_last) == key:
            return None
    return GapFilled(rules.venue, rules.symbol, rules.base.name, *key, hole.gap_missing)


def _part(rules: Rules, hole: Hole, after: int, before: int) -> Hole | None:
    gap = rules.calendar.gap(after, before, rules.step, rules.origin)
    if gap is None:
        return None
    return Hole(gap.first, gap.last, gap.count, hole.gap_first, hole.gap_last, hole.gap_missing)


def _first(hole: Hole) -> int:
    return hole.first
