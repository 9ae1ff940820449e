"""Trades as columns, with ids that are text only where somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Ids(Sequence[str]):
    """Texts end to end in one array of bytes; `ends` of each within it, `begin` of the first."""

    def __init__(self, ends: Ints, text: NDArray[np.uint8], begin: int = 0) -> None:
        self.ends, self.text, self.begin = ends, text, begin

    @classmethod
    def of(cls, texts: Sequence[str]) -> Ids:
        if isinstance(texts, Ids):
            return texts
        coded = [one.encode() for one in texts]
        ends = np.cumsum(np.fromiter(map(len, coded), np.int64, len(coded)))
        return cls(ends, np.frombuffer(b"".join(coded), np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Ids: ...
    def __getitem__(self, at: int | slice) -> str | Ids:
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            if step != 1:
                raise ValueError("ids are sliced one by one")
            before = int(self.ends[first - 1]) if first else self.begin
            return Ids(self.ends[first:last], self.text[before - self.begin :], before)
        at = at + len(self) if at < 0 else at
        if not 0 <= at < len(self):
            raise IndexError(at)
        before = int(self.ends[at - 1]) if at else self.begin
        return self.text[before - self.begin : int(self.ends[at]) - self.begin].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        text, before = self.text.tobytes(), 0
        for end in (self.ends - self.begin).tolist():
            yield text[before:end].decode()
            before = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def bytes(self) -> NDArray[np.uint8]:
        """The bytes of these ids alone."""
        last = int(self.ends[-1]) if len(self.ends) else self.begin
        return self.text[: last - self.begin]


class Trades(msgspec.Struct, frozen=True):
    """As `infra.importers.TradeColumns`: ts µs UTC, not decreasing; side +1 taker bought, -1 sold, 0 unknown."""

    ts: Ints
    price: Floats
    qty: Floats
    side: NDArray[np.int8]
    id: Ids

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: slice) -> Trades:
        return Trades(self.ts[rows], self.price[rows], self.qty[rows], self.side[rows], self.id[rows])


def joined(parts: Sequence[Trades]) -> Trades:
    if len(parts) == 1:
        return parts[0]
    ts, price, qty, side = (np.concatenate([getattr(one, n) for one in parts]) for n in ("ts", "price", "qty", "side"))
    lengths = [np.diff(one.id.ends, prepend=one.id.begin) for one in parts]
    ids = Ids(np.cumsum(np.concatenate(lengths)), np.concatenate([one.id.bytes() for one in parts]))
    return Trades(ts, price, qty, side, ids)
