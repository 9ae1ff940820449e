"""Higher timeframes: base bars climb into the bars that contain them, and come out when those are complete."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from . import gaps
from .bars import Bar
from .gaps import Hole
from .rules import HOLES_MAX, OPEN_MAX, Grid, Rules


class Frame(msgspec.Struct):
    """One higher timeframe. `bars`: what is not published yet, by close; those before `end` lack base bars.

    `end` and `due`: the newest bar's close, and when it is complete; `sealed`: the newest close published; `lost`:
    the newest close of a bar that was forgotten to bound memory. Bars in here are replaced, never changed, so that
    a copy of the dictionary is a copy.
    """

    end: int = 0
    due: int = 0
    sealed: int = 0
    lost: int = 0
    bars: dict[int, Bar] = {}


class Ladder(msgspec.Struct):
    """`frames` in the order of the plan's timeframes; `holes` in order; from `since` on every base bar is known."""

    frames: list[Frame]
    holes: list[Hole] = []
    since: int = 0

    def fork(self) -> Ladder:
        frames = [Frame(f.end, f.due, f.sealed, f.lost, f.bars.copy()) for f in self.frames]
        return Ladder(frames, self.holes.copy(), self.since)

    @property
    def sealed(self) -> int:
        """Up to here some published bar says that nothing more is to come."""
        return max((frame.sealed for frame in self.frames), default=0)


def add(rules: Rules, ladder: Ladder, bar: Bar, ts: int) -> None:
    """Takes in the base bar that closes at `ts`."""
    for one, frame in zip(rules.higher, ladder.frames, strict=True):
        end = ts + (one.origin - ts) % one.length
        known = frame.bars.get(end) if end == frame.end else None
        if known is not None:
            frame.bars[end] = known.plus(bar)
        else:
            put(rules, one, frame, end, bar)


def put(rules: Rules, one: Grid, frame: Frame, end: int, part: Bar) -> None:
    if end > frame.end:
        frame.end, frame.due = end, rules.due(one, end)
    elif end <= frame.lost:
        return
    known = frame.bars.get(end)
    if known is not None:
        frame.bars[end] = known.plus(part)
        return
    frame.bars[end] = part
    if len(frame.bars) > OPEN_MAX:
        oldest = min(frame.bars)
        frame.lost = oldest
        del frame.bars[oldest]


def ripe(rules: Rules, ladder: Ladder, through: int) -> Iterator[tuple[Grid, int, Bar]]:
    """The newest bar of each timeframe where it is complete and base bars have come up to `through`."""
    for one, frame in zip(rules.higher, ladder.frames, strict=True):
        end = frame.end
        if end and frame.due <= through and end > frame.sealed and complete(rules, ladder, one, frame, end):
            yield one, end, frame.bars[end]


def filled(rules: Rules, ladder: Ladder, ts: int, through: int) -> Iterator[tuple[Grid, int, Bar]]:
    """The bars around a late base bar that are complete now."""
    for one, frame in zip(rules.higher, ladder.frames, strict=True):
        end = one.ceil(ts)
        if end in frame.bars and rules.due(one, end) <= through and complete(rules, ladder, one, frame, end):
            yield one, end, frame.bars[end]


def complete(rules: Rules, ladder: Ladder, one: Grid, frame: Frame, end: int) -> bool:
    """Whether a bar is there and no base bar of it is missing, unknown or forgotten."""
    return end in frame.bars and unbroken(rules, ladder, one, frame, end)


def unbroken(rules: Rules, ladder: Ladder, one: Grid, frame: Frame, end: int) -> bool:
    start = end - one.length
    if end <= frame.lost or gaps.touches(ladder.holes, start, end):
        return False
    return start >= ladder.since or (rules.flat and rules.expected(start, ladder.since) == 0)


def done(frame: Frame, end: int) -> None:
    """The bar was published."""
    frame.bars.pop(end, None)
    if end > frame.sealed:
        frame.sealed = end


def tear(ladder: Ladder, hole: Hole) -> None:
    """Takes in a newly found hole. Holes beyond the bound are forgotten, and with them what overlaps them."""
    ladder.holes.append(hole)
    if len(ladder.holes) > HOLES_MAX:
        ladder.since = max(ladder.since, ladder.holes.pop(0).last)
