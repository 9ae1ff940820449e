"""Files as what `infra.backtest.engine.play` plays: windows of columns, with messages before and between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from actors.express import Window
from actors.plan import Plan
from events import subjects, timeframe
from events.control import RestrictTrading
from events.feed import command
from infra.backtest import data
from infra.backtest.data import MarketFile
from infra.session.market import Stamped


def fits(plan: Plan, files: Sequence[MarketFile]) -> bool:
    """Whether the files are candles of the plan's symbols in their base timeframes."""
    bases = {(one.venue, one.symbol): one.base for one in plan.symbols}
    return all(one.timeframe is not None and bases.get((one.venue, one.symbol)) == one.timeframe for one in files)


def parts(
    plan: Plan,
    files: Sequence[MarketFile],
    *,
    start: int | None = None,
    end: int | None = None,
    rows: int | None = None,
    close_last: bool = False,
) -> Iterator[Window | Stamped]:
    """Refused rows as messages, then the candles with start < ts <= end in windows of about `rows` rows.

    With `close_last` the command to flatten stands where `infra.backtest.engine.closing_last` puts it.
    """
    for one in files:
        yield from data.refused(one)
    options = {} if rows is None else {"rows": rows}
    found = data.windows(files, start=start, end=end, **options)
    if not close_last:
        yield from found
        return
    yield from closing(plan, found)


def closing(plan: Plan, found: Iterable[Any]) -> Iterator[Any]:
    """Windows of candles or of trades, with the command to flatten before the last bar of the slowest symbol.

    Only what may hold that bar is held back.
    """
    length = max((timeframe.micros(one.base) for one in plan.symbols), default=0)
    held: deque[Any] = deque()
    newest = 0
    for window in found:
        newest = max(newest, _newest(window))
        held.append(window)
        while held and _newest(held[0]) <= newest - length:
            yield held.popleft()
    if not newest:
        return
    cutoff = newest - length
    cuts = [{feed: int(np.searchsorted(rows.ts, cutoff, "right")) for feed, rows in window.items()} for window in held]
    for window, cut in zip(held, cuts, strict=True):
        yield {feed: rows[: cut[feed]] for feed, rows in window.items()}
    fact = RestrictTrading("*", cutoff, "backtest", "flatten", "the data end with the next bar")
    yield cutoff, subjects.COMMAND, command(fact, cutoff)
    for window, cut in zip(held, cuts, strict=True):
        yield {feed: rows[cut[feed] :] for feed, rows in window.items()}


def _newest(window: Mapping[str, Any]) -> int:
    return max((int(rows.ts[-1]) for rows in window.values() if len(rows.ts)), default=0)
