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

_ENTRY = 1_000  # what an entry takes besides its numbers
_OURS = "actors.indicators."
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


class _Known(msgspec.Struct):
    found: Floats
    state: bytes


class Memory:
    """Indicators of the same kind, parameters and state before give the same over the same columns. What has not been
    asked for the longest is forgotten first, above `limit` bytes.

    Only the indicators of `actors.indicators` are remembered: their parameters and states are known to be whole. Only
    columns that were `vouch`ed for count as the same: nobody writes to them, and who vouches keeps them.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._bytes = limit, 0
        self._roots: set[int] = set()
        self._known: OrderedDict[Any, _Known] = OrderedDict()

    def vouch(self, column: NDArray[Any]) -> None:
        self._roots.add(id(_root(column)))

    def run(self, indicator: Indicator[Any], columns: tuple[Floats, ...], work: Callable[..., Floats]) -> Floats:
        """What `work` answers to these columns, with the indicator left as `work` leaves it."""
        if not type(indicator).__module__.startswith(_OURS) or not all(map(self._vouched, columns)):
            return work(*columns)
        key = (type(indicator), indicator.params, _encode(indicator.state()), tuple(map(_place, columns)))
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            indicator.restore(_decode(known.state))
            return known.found
        found = work(*columns)
        self._keep(key, _Known(found, _encode(indicator.state())))
        return found

    def _vouched(self, column: Any) -> bool:
        return type(column) is np.ndarray and id(_root(column)) in self._roots

    def _keep(self, key: Any, made: _Known) -> None:
        self._known[key] = made
        self._bytes += _size(key, made)
        while self._bytes > self._limit:
            self._bytes -= _size(*self._known.popitem(last=False))


def _size(key: Any, made: _Known) -> int:
    return made.found.nbytes + len(made.state) + len(key[2]) + _ENTRY


def _place(column: NDArray[Any]) -> tuple[Any, ...]:
    return column.ctypes.data, column.dtype.str, column.shape, column.strides


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
