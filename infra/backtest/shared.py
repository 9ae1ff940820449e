"""What runs over the very same windows of candles have in common: how their rows are judged, their ids, the digest
of the symbols, indicators over their columns. A sweep works it out once."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from actors import kernels
from actors.symbol import SymbolDecider
from actors.symbol.columns import Judged, judged
from actors.symbol.state import SymbolState
from events.block import Columns, Floats, Ints
from events.bulk import Bytes, feed_ids
from events.digest import Digest
from infra.backtest.memory import Memory

Series = tuple[Ints, Floats]


class _Window(msgspec.Struct):
    """`rows` are kept, so that no others can come to have their address."""

    rows: Columns
    before: tuple[Any, ...] | None = None
    judged: Judged | None = None
    ids: Bytes | None = None
    known: Any = None
    chain: bytes = b""
    after: Any = None
    decisions: int = 0


def warm() -> None:
    """Loads what is compiled, for many runs."""
    kernels.warm()
    import_module("infra.backtest.loops")


class Shared:
    """Give one to each run over the same windows (the same objects); runs over other windows pass it by unharmed.

    Memory: about 18 bytes a row, and the rows; at most `indicators`' limit besides.
    """

    def __init__(self) -> None:
        self.indicators = Memory()
        self._windows: dict[int, _Window] = {}
        self._series: dict[tuple[Any, ...], Series] = {}

    def judge(self, decider: SymbolDecider, state: SymbolState, rows: Columns) -> Judged:
        """As `actors.symbol.columns.judged`, which asks no more of the state than is compared here."""
        window = self._of(rows)
        before = (decider.plan, state.last, state.close, state.stream.broken, tuple(state.stream.torn))
        if window.judged is None or window.before != before:
            window.before, window.judged = before, judged(decider, state, rows)
        return window.judged

    def ids(self, feed: str, venue: str, symbol: str, timeframe: str, rows: Columns, some: Ints) -> Bytes:
        """(rows, 16), of which those of `some` rows, in any order, are right."""
        window = self._of(rows)
        if window.ids is None:
            window.ids, window.known = np.empty((len(rows), 16), np.uint8), np.zeros(len(rows), np.bool_)
        fresh = some[~window.known[some]]
        if len(fresh):
            fresh = np.unique(fresh)
            window.ids[fresh] = feed_ids(feed, venue, symbol, timeframe, rows[fresh])
            window.known[fresh] = True
        return window.ids

    def known(self, digest: Digest, actor: str, rows: Columns) -> bool:
        """Whether the symbol's decisions of this window have been hashed before, after the same ones; then they are
        taken as hashed."""
        window = self._of(rows)
        if window.after is None or window.chain != digest.state(actor):
            return False
        digest.resume(actor, window.after, window.decisions)
        return True

    def learn(self, digest: Digest, actor: str, rows: Columns, before: bytes, decisions: int) -> None:
        """Takes note of a window that has just been hashed; `before` as `Digest.state` was then."""
        window = self._of(rows)
        window.chain, window.after, window.decisions = before, digest.copy(actor), decisions

    def series(
        self,
        windows: list[tuple[Columns, bytes]],
        ones: tuple[Ints, Floats],
        make: Callable[[Any], tuple[Ints, Floats]],
    ) -> tuple[Ints, Floats]:
        """(times, closes) of some rows of these windows and of the bars that came alone. Not to be written to."""
        for rows, _ in windows:
            self._of(rows)
        key = (*((id(rows), some) for rows, some in windows), ones[0].tobytes(), ones[1].tobytes())
        if key not in self._series:
            self._series[key] = make(ones)
        return self._series[key]

    def _of(self, rows: Columns) -> _Window:
        found = self._windows.get(id(rows))
        if found is None:
            found = self._windows[id(rows)] = _Window(rows)
            for name in ("open", "high", "low", "close", "volume"):
                self.indicators.vouch(getattr(rows, name))
        return found
