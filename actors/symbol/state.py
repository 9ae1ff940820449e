"""What a symbol's actor remembers. Everything in it is bounded."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from events.fact import Fact

from .bars import AnyCandle, Bar
from .ladder import Frame, Ladder
from .rules import RECENT_MAX, TRIM


class Stream(msgspec.Struct):
    """Where the feed stands; only what it says changes this.

    `reached`: nothing older will come. `broken`: where the stream broke (0: nobody said), while it is not `open`.
    `torn`: runs (first, last) of bars that a hole in the stream left incomplete. `forming`: bars made of trades, by
    close. `price`: 0 until a trade came. `ids`: of the newest trades. `notes`: what is to be said of the entry at hand.
    """

    open: bool = False
    broken: int = 0
    reached: int = 0
    torn: list[tuple[int, int]] = []
    forming: dict[int, Bar] = {}
    ids: dict[str, None] = {}
    notes: list[Fact] = []


class SymbolState(msgspec.Struct):
    """`last`: up to here every base bar was published or is a known gap. `close`: the newest price, 0 if none.

    `recent`: the newest base bars by close; `evicted`: the newest close that is no longer in it.
    """

    ladder: Ladder
    stream: Stream
    last: int = 0
    close: float = 0.0
    evicted: int = 0
    recent: dict[int, AnyCandle] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A thousand bars are packed in a tenth of the time that pickling each of them takes."""
        recent = _packed(tuple(self.recent.values()))
        return _restored, (self.ladder, self.stream, self.last, self.close, self.evicted, recent)

    def fork(self) -> SymbolState:
        """A copy to think ahead on, as far as `evolve` changes it."""
        s = self.stream
        stream = Stream(s.open, s.broken, s.reached, s.torn.copy(), s.forming.copy(), s.ids, s.notes)
        return SymbolState(self.ladder.fork(), stream, self.last, self.close, self.evicted, self.recent.copy())

    def remember(self, bar: AnyCandle) -> None:
        self.recent[bar.ts] = bar
        if len(self.recent) >= RECENT_MAX + TRIM:
            self.evicted = max(self.evicted, *forget(self.recent))


def forget(remembered: dict[Any, Any]) -> list[Any]:
    """Drops the oldest keys, and says which."""
    oldest = list(islice(remembered, TRIM))
    for key in oldest:
        del remembered[key]
    return oldest


def empty(timeframes: int) -> SymbolState:
    return SymbolState(Ladder([Frame() for _ in range(timeframes)]), Stream())


_packed = msgspec.msgpack.Encoder().encode
_unpacked = msgspec.msgpack.Decoder(tuple[AnyCandle, ...]).decode


def _restored(ladder: Ladder, stream: Stream, last: int, close: float, evicted: int, recent: bytes) -> SymbolState:
    return SymbolState(ladder, stream, last, close, evicted, {bar.ts: bar for bar in _unpacked(recent)})
