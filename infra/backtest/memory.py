"""What indicators made of columns that many runs look at: worked out once, by whoever comes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.indicators.base import MEMORY, Indicator

Floats = NDArray[np.float64]

LIMIT = 96 << 20
"""Bytes; twenty lines over half a million rows are 80 MB."""

_encode = msgspec.msgpack.Encoder().encode


class _Known(msgspec.Struct):
    found: Floats
    state: dict[str, Any]


class Memory:
    """Indicators of the same kind, parameters and state before give the same over the same columns. What has not been
    asked for the longest is forgotten first, above `limit` bytes.

    Only columns that were `vouch`ed for count as the same: nobody writes to them, and who vouches keeps them.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._bytes = limit, 0
        self._roots: set[int] = set()
        self._known: OrderedDict[Any, _Known] = OrderedDict()

    def vouch(self, column: NDArray[Any]) -> None:
        self._roots.add(id(_root(column)))

    def run(self, indicator: Indicator[Any], columns: tuple[Floats, ...], work: Callable[..., Floats]) -> Floats:
        """What `work` answers to these columns, with the indicator left as `work` leaves it."""
        if any(id(_root(column)) not in self._roots for column in columns):
            return work(*columns)
        before = _encode(indicator.state())
        places = tuple((column.ctypes.data, len(column), column.strides) for column in columns)
        key = (type(indicator), indicator.params, before, places)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            indicator.restore(known.state)
            return known.found
        found = work(*columns)
        self._keep(key, _Known(found, indicator.state()))
        return found

    def _keep(self, key: Any, made: _Known) -> None:
        self._known[key] = made
        self._bytes += made.found.nbytes
        while self._bytes > self._limit:
            _, old = self._known.popitem(last=False)
            self._bytes -= old.found.nbytes


def _root(column: NDArray[Any]) -> Any:
    """The array that owns a view's bytes."""
    while isinstance(column.base, np.ndarray):
        column = column.base
    return column


@contextmanager
def remembering(memory: Memory | None) -> Iterator[None]:
    """Indicators that run over columns meanwhile use this memory."""
    token = MEMORY.set(memory)
    try:
        yield
    finally:
        MEMORY.reset(token)
