"""How files are told to `infra.backtest.engine.play`: in windows of candles or of trades, where they can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from actors.plan import Plan
from infra.backtest import parts, tickfiles, ticks
from infra.backtest.data import MarketFile


def told(
    plan: Plan,
    files: Sequence[MarketFile],
    *,
    start: int | None = None,
    end: int | None = None,
    close_last: bool = False,
) -> Iterator[Any] | None:
    """The parts that `play` takes, rows with start < ts <= end; None where only messages say all there is."""
    if tickfiles.fits(plan, files):
        return tickfiles.parts(plan, files, start=start, end=end, close_last=close_last)
    if parts.fits(plan, files) and not ticks.eligible(plan):
        return parts.parts(plan, files, start=start, end=end, close_last=close_last)
    return None
