"""Files of trades as what `infra.backtest.ticks.play_trades` plays: windows of columns, with messages around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.plan import Plan
from actors.symbol.tradecolumns import Trades, rising
from actors.ticks import Window
from events import subjects
from events.block import Floats, Ints
from infra.backtest import data, ticks
from infra.backtest.data import MarketFile
from infra.backtest.parts import closing
from infra.session.market import Stamped

ROWS = 65_536


class Rows(msgspec.Struct, frozen=True):
    """As `actors.symbol.tradecolumns.Trades`."""

    ts: Ints
    price: Floats
    qty: Floats
    side: NDArray[np.int8]
    id: Sequence[str]

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: slice) -> Rows:
        return Rows(self.ts[rows], self.price[rows], self.qty[rows], self.side[rows], self.id[rows])


def fits(plan: Plan, files: Sequence[MarketFile]) -> bool:
    """Whether the files are trades, of symbols of a plan that can be played in columns of trades."""
    symbols = {(one.venue, one.symbol) for one in plan.symbols}
    return ticks.eligible(plan) and all(one.timeframe is None and (one.venue, one.symbol) in symbols for one in files)


def parts(
    plan: Plan,
    files: Sequence[MarketFile],
    *,
    start: int | None = None,
    end: int | None = None,
    rows: int = ROWS,
    close_last: bool = False,
) -> Iterator[Window | Stamped]:
    """Refused rows as messages, then the trades with start < ts <= end in windows of about `rows` rows of each feed.

    With `close_last` the command to flatten stands where `infra.backtest.engine.closing_last` puts it.
    """
    for one in files:
        yield from data.refused(one)
    found = windows(files, start=start, end=end, rows=rows)
    yield from closing(plan, found) if close_last else found


def windows(
    files: Iterable[MarketFile], *, start: int | None = None, end: int | None = None, rows: int = ROWS
) -> Iterator[dict[str, Rows]]:
    """The trades of all files, cut at common times; as messages they are what `data.stream` says.

    A row that several files have alike is there once. Trades without an id that look like another of the same
    microsecond are numbered.
    """
    feeds: dict[str, list[Rows]] = {}
    for one in files:
        feeds.setdefault(subjects.feed(one.venue, one.symbol), []).append(_named(_between(one.trades, start, end)))
    whole = {feed: _merged(found) for feed, found in sorted(feeds.items())}
    done = dict.fromkeys(whole, 0)
    while left := [feed for feed in whole if done[feed] < len(whole[feed])]:
        last = min(int(whole[feed].ts[min(done[feed] + rows, len(whole[feed])) - 1]) for feed in left)
        window = {}
        for feed in left:
            bound = int(np.searchsorted(whole[feed].ts, last, "right"))
            window[feed] = whole[feed][done[feed] : bound]
            done[feed] = bound
        yield window


def _between(trades: Trades, start: int | None, end: int | None) -> Rows:
    first = 0 if start is None else int(np.searchsorted(trades.ts, start, "right"))
    last = len(trades.ts) if end is None else int(np.searchsorted(trades.ts, end, "right"))
    return Rows(trades.ts, trades.price, trades.qty, trades.side, trades.id)[first:last]


def _named(rows: Rows) -> Rows:
    """Trades without an id that look alike get one."""
    crowded = _crowded(rows.ts)
    if not crowded or rising({}, rows.id):
        return rows
    ids, seen, now = list(rows.id), dict[Any, int](), -1
    for row in crowded:
        if ids[row]:
            continue
        if rows.ts[row] != now:
            now, seen = int(rows.ts[row]), {}
        look = float(rows.price[row]), float(rows.qty[row]), int(rows.side[row])
        seen[look] = seen.get(look, 0) + 1
        if seen[look] > 1:
            ids[row] = f"same-{seen[look]}"
    return msgspec.structs.replace(rows, id=ids)


def _merged(found: list[Rows]) -> Rows:
    """In order of time, and of files within a microsecond; what was said already is left out."""
    rows = found[0]
    if len(found) > 1:
        ts, price, qty, side = (
            np.concatenate([getattr(one, n) for one in found]) for n in ("ts", "price", "qty", "side")
        )
        order = np.argsort(ts, kind="stable")
        ids = [text for one in found for text in one.id]
        rows = Rows(ts[order], price[order], qty[order], side[order], [ids[row] for row in order.tolist()])
    crowded = _crowded(rows.ts)
    if not crowded or rising({}, rows.id):
        return rows
    again, seen, now = np.zeros(len(rows), np.bool_), set[Any](), -1
    for row in crowded:
        if rows.ts[row] != now:
            now, seen = int(rows.ts[row]), set()
        look = float(rows.price[row]), float(rows.qty[row]), int(rows.side[row]), rows.id[row]
        again[row] = look in seen
        seen.add(look)
    if not again.any():
        return rows
    kept = np.flatnonzero(~again)
    ids = [rows.id[row] for row in kept.tolist()]
    return Rows(rows.ts[kept], rows.price[kept], rows.qty[kept], rows.side[kept], ids)


def _crowded(ts: Ints) -> list[int]:
    """Rows that share their microsecond with another."""
    same = ts[1:] == ts[:-1]
    crowded = np.zeros(len(ts), np.bool_)
    crowded[1:] |= same
    crowded[:-1] |= same
    found: list[int] = np.flatnonzero(crowded).tolist()
    return found
