"""The column form of a strategy: what it wants after each of many candles, said at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns, Floats, Ints

from .base import Position, Target

SHORT, FLAT, LONG = 1, 2, 4
ANY = SHORT | FLAT | LONG
_LEVELS = ("stop", "take_profit", "trail", "limit", "trigger")
_CHUNK = 64


class Wishes(msgspec.Struct):
    """One row per candle, as `on_candle` would answer it.

    `target`: the position wanted; NaN where nothing new is. `when`: for which positions held a row speaks, a sum of
    SHORT, FLAT and LONG; None: for any. `stop`, `take_profit`, `trail`, `limit`, `trigger`: prices, NaN for none; None
    where no row has one. `reasons(row)` makes the reasons of one row.
    """

    target: Floats
    when: NDArray[np.uint8] | None = None
    stop: Floats | None = None
    take_profit: Floats | None = None
    trail: Floats | None = None
    order: str = "market"
    limit: Floats | None = None
    trigger: Floats | None = None
    confidence: Floats | None = None
    reasons: Callable[[int], tuple[str, ...]] | None = None
    rows: Ints | None = None

    @property
    def bare(self) -> bool:
        """Whether every wish is entered at market, without a bracket."""
        return self.order == "market" and all(getattr(self, name) is None for name in _LEVELS)


class Reasons(msgspec.Struct, frozen=True):
    """Reasons of few kinds: `texts[codes[row]]` are those of a row."""

    codes: NDArray[Any]
    texts: tuple[tuple[str, ...], ...]

    def __call__(self, row: int) -> tuple[str, ...]:
        return self.texts[int(self.codes[row])]


@runtime_checkable
class Columnar(Protocol):
    """A strategy with a column form. Its memory after `on_columns` is what `on_candle` would have left, candle by
    candle: `actors.strategies.parity` proves it."""

    def on_columns(self, candles: Columns) -> Wishes:
        """What is wanted after each of these candles, which follow those shown before."""


class Asked:
    """A strategy's wishes for a window: `heard` are the rows that the bot hears, in order; None: all."""

    def __init__(self, wishes: Wishes, heard: NDArray[np.bool_] | None, rows: int) -> None:
        count = rows if heard is None else int(heard.sum())
        for name in ("target", "when", "confidence", *_LEVELS):
            column = getattr(wishes, name)
            if column is not None and len(column) != count:
                raise ValueError(f"on_columns answered {len(column)} rows of `{name}` to {count} candles")
        self.wishes, self._rows = wishes, None if heard is None else np.flatnonzero(heard)
        self._said = {ANY: _told(wishes)}

    def said(self, start: int, end: int) -> tuple[Ints, Ints]:
        """(rows, their places in the wishes) from `start` on, before `end`, on which something is said."""
        said = self._said[ANY]
        said = said[np.searchsorted(said, self._place(start)) : np.searchsorted(said, self._place(end))]
        return (said if self._rows is None else self._rows[said]), said

    def next_news(self, held: int, wanted: Target | None, undone: bool, start: int, end: int) -> int:
        """The first row from `start` on, before `end`, with a wish that is news for a bot; `end` where there is none.

        `held`: SHORT, FLAT or LONG. `wanted`: what the bot has asked for last. `undone`: the same wish is news, too.
        """
        said, target = self._for(held), self.wishes.target
        first = int(np.searchsorted(said, self._place(start)))
        step = _CHUNK
        while first < len(said):
            rows = said[first : first + step]
            fresh = np.ones(len(rows), np.bool_) if undone else self._differs(rows, target[rows], wanted)
            place = int(fresh.argmax())
            if fresh[place]:
                return min(end, self._row(int(rows[place])))
            if self._row(int(rows[-1])) >= end:
                return end
            first, step = first + step, step * 4
        return end

    def at(self, held: int, row: int) -> Target | None:
        """What is wanted after a heard row."""
        w, place = self.wishes, self._place(row)
        target = float(w.target[place])
        if target != target or (w.when is not None and not int(w.when[place]) & held):
            return None
        levels = {name: _level(getattr(w, name), place) for name in _LEVELS}
        confidence = 1.0 if w.confidence is None else float(w.confidence[place])
        reasons = () if w.reasons is None else w.reasons(place)
        return Target(target, order=w.order, confidence=confidence, reasons=reasons, **levels)

    def _for(self, held: int) -> Ints:
        if self.wishes.when is None:
            return self._said[ANY]
        if held not in self._said:
            said = self._said[ANY]
            self._said[held] = said[(self.wishes.when[said] & held) > 0]
        return self._said[held]

    def _differs(self, rows: Ints, target: Floats, wanted: Target | None) -> NDArray[np.bool_]:
        w = self.wishes
        differs: NDArray[np.bool_]
        if wanted is None:
            differs = target != 0
            return differs
        if w.order != wanted.order:
            return np.ones(len(rows), np.bool_)
        differs = target != wanted.target
        differs |= _moved(w.limit, rows, wanted.limit)
        differs |= _moved(w.trigger, rows, wanted.trigger)
        return differs

    def _place(self, row: int) -> int:
        return row if self._rows is None else int(np.searchsorted(self._rows, row))

    def _row(self, place: int) -> int:
        return place if self._rows is None else int(self._rows[place])


def _told(wishes: Wishes) -> Ints:
    """The rows that have a target."""
    target = wishes.target
    if wishes.rows is None:
        return np.flatnonzero(target == target)
    rows: Ints = np.asarray(wishes.rows, np.int64)
    if len(rows) and (rows[0] < 0 or (rows[1:] <= rows[:-1]).any() or np.isnan(target[rows]).any()):
        raise ValueError("on_columns answered `rows` that are not in order, or have no target")
    return rows


def held(position: Position) -> int:
    return LONG if position.qty > 0 else SHORT if position.qty < 0 else FLAT


def _level(column: Floats | None, place: int) -> float | None:
    if column is None:
        return None
    level = float(column[place])
    return None if level != level else level


def _moved(column: Floats | None, rows: Ints, wanted: float | None) -> Any:
    if column is None:
        return wanted is not None
    levels = column[rows]
    return levels == levels if wanted is None else levels != wanted
