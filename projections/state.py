"""What the folds remember between facts. It is saved with each checkpoint, so that a restart goes on exactly."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from events.decision import Recorded

from .outcome import RebuildNeeded

ZERO = Decimal(0)
SeriesKey = tuple[str, str, str]
"""venue, symbol, timeframe"""
MarketKey = tuple[str, str]
"""venue, symbol"""
Holder = tuple[str, str]
"""account, bot"""


class Position(msgspec.Struct):
    """An open round trip. `entered`, `exited`: quantities; the values are quantity times price. Times in µs."""

    opened: int
    role: str
    qty: Decimal = ZERO
    average: Decimal = ZERO
    entered: Decimal = ZERO
    entered_value: Decimal = ZERO
    exited: Decimal = ZERO
    exited_value: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    fills: int = 0


class Market(msgspec.Struct):
    """`mark`: the close of the newest candle, of time `ts`; before the first one, the price of the first fill."""

    mark: Decimal | None = None
    ts: int = -(2**63)
    positions: dict[Holder, Position] = {}


class Account(msgspec.Struct):
    """`held` is what the open positions are worth at their marks; equity is cash and that."""

    opened: int
    currency: str
    initial: Decimal
    cash: Decimal
    held: Decimal = ZERO
    peak: Decimal = ZERO
    restricted: str = ""

    @property
    def equity(self) -> Decimal:
        return self.cash + self.held


class Order(msgspec.Struct):
    """An open order, as its row will be. `value`: quantity times price of what is filled."""

    account: str
    order: str
    bot: str
    venue: str
    symbol: str
    ts: int
    side: str
    kind: str
    role: str
    qty: Decimal | None
    limit: Decimal | None
    trigger: Decimal | None
    trail: Decimal | None
    reduce_only: bool
    parent: str
    filled: Decimal = ZERO
    value: Decimal = ZERO
    status: str = "open"


class State(msgspec.Struct):
    """`series`: the newest close time of each, in µs. `orders`: the open ones, by account and id.

    `head` is the message that the checkpoint stands on, as `mark` writes it: it tells a tape that has lost its end and
    has grown again from the one that was projected.
    """

    series: dict[SeriesKey, int] = {}
    markets: dict[MarketKey, Market] = {}
    accounts: dict[str, Account] = {}
    orders: dict[tuple[str, str], Order] = {}
    head: str = ""


_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(State)


def mark(entry: Recorded) -> str:
    """What no other message that stood at this sequence has in common with it: ids come again, their times do not."""
    return f"{entry.decision.id} {entry.known_at}"


def saved(state: State) -> bytes:
    return _encoder.encode(state)


def restored(data: bytes) -> State:
    """Raises RebuildNeeded where the bytes are no state of this version."""
    try:
        return _decoder.decode(data) if data else State()
    except msgspec.MsgspecError as error:
        raise RebuildNeeded(f"the checkpoint cannot be read ({error})") from error
