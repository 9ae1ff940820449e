"""From the patterns a reader asks for to filters that a JetStream consumer accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

FILTERS_MAX = 100  # consumers with more become slow on the server
COMPARED_MAX = 2 * FILTERS_MAX  # each pattern is compared with each: among thousands that takes minutes


def filters(tape: str, patterns: Sequence[str]) -> tuple[list[str], bool]:
    """(subjects to filter by, whether what arrives must be checked against the patterns again).

    An empty list means everything. The server refuses filters that overlap; those, and too many, are widened to
    `<entity>.>`, and further to everything.
    """
    if not patterns:
        raise ValueError("no pattern: name what to read, or `>` for everything")
    distinct = list(dict.fromkeys(patterns))
    if len(distinct) > COMPARED_MAX:
        return _widened(tape, distinct)
    narrow = [one for one in distinct if not any(one != other and covers(other, one) for other in distinct)]
    if ">" in narrow:
        return [], False
    if len(narrow) <= FILTERS_MAX and not _any_overlap(narrow):
        return [f"{tape}.{one}" for one in narrow], False
    return _widened(tape, narrow)


def _widened(tape: str, patterns: Sequence[str]) -> tuple[list[str], bool]:
    heads = sorted({one.split(".")[0] for one in patterns})
    if "*" in heads or ">" in heads or len(heads) > FILTERS_MAX:
        return [], True
    return [f"{tape}.{head}.>" for head in heads], True


@lru_cache(maxsize=65_536)
def covers(wide: str, narrow: str) -> bool:
    """Whether everything that matches `narrow` matches `wide`."""
    have, want = narrow.split("."), wide.split(".")
    for place, token in enumerate(want):
        if token == ">":
            return len(have) > place
        if place >= len(have) or have[place] == ">" or token not in ("*", have[place]):
            return False
    return len(have) == len(want)


@lru_cache(maxsize=65_536)
def overlap(one: str, other: str) -> bool:
    """Whether some subject matches both."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def _any_overlap(patterns: Sequence[str]) -> bool:
    return any(overlap(one, other) for place, one in enumerate(patterns) for other in patterns[:place])
