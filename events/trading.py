"""Facts about intentions, risk, orders and money. Money and order quantities are Decimal, on tick and lot."""

from __future__ import annotations

from decimal import Decimal

from .fact import Fact


class Signal(Fact, frozen=True, tag="signal/1"):
    """The position a bot wants: `target` from -1 (full short) to +1 (full long), 0 is flat. The account sizes it.

    `order` is how to enter: market, limit, stop or stop-limit, at `limit` and `trigger`. `stop`, `take_profit`
    and `trail` (a distance) become the bracket of the entry. `reasons` is what the strategy says of it.
    """

    bot: str
    venue: str
    symbol: str
    ts: int
    target: float
    price: float
    order: str = "market"
    limit: float | None = None
    trigger: float | None = None
    stop: float | None = None
    take_profit: float | None = None
    trail: float | None = None
    confidence: float = 1.0
    reasons: tuple[str, ...] = ()


class RiskApproved(Fact, frozen=True, tag="risk-approved/1"):
    """A signal passed every limit. `qty` is the size asked for, or None where it is set at the fill (all-in)."""

    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    signal: str
    qty: Decimal | None


class RiskRefused(Fact, frozen=True, tag="risk-refused/1"):
    """A signal broke a limit and has no effect. `reason` is a stable code, `detail` says the numbers."""

    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    signal: str
    reason: str
    detail: str


class OrderPlaced(Fact, frozen=True, tag="order-placed/1"):
    """An order the account now works. `order` is derived from its cause.

    `side` buy or sell; `kind` market, limit, stop, stop-limit or trailing; `role` entry, exit, stop-loss,
    take-profit or trailing. `qty` None: sized at the fill. Children of a bracket name their `parent` and are
    one-cancels-other among themselves.
    """

    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    side: str
    kind: str
    role: str
    qty: Decimal | None
    limit: Decimal | None = None
    trigger: Decimal | None = None
    trail: Decimal | None = None
    reduce_only: bool = False
    parent: str = ""


class OrderTriggered(Fact, frozen=True, tag="order-triggered/1"):
    """A stop or trailing order's trigger was touched at `price`; a stop-limit now rests as a limit."""

    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    price: Decimal


class OrderAmended(Fact, frozen=True, tag="order-amended/1"):
    """An open order changed its quantity or trigger; the fields hold the new values."""

    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    qty: Decimal | None
    trigger: Decimal | None
    reason: str


class OrderCancelled(Fact, frozen=True, tag="order-cancelled/1"):
    """An open order ended without (further) fills; `reason` is a stable code."""

    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    reason: str


class OrderRejected(Fact, frozen=True, tag="order-rejected/1"):
    """The matching engine or the venue did not take the order; `reason` is a stable code."""

    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    reason: str
    detail: str


class Fill(Fact, frozen=True, tag="fill/1"):
    """An execution of an order, with the bot's position in the symbol and the account's cash after it.

    `fee` in account currency, positive is paid; `realized` is the PnL of the quantity closed, before fees;
    `position` signed, `average` its entry price (0 when flat); `cash` of the account. `leaves` is what is open
    of the order.
    """

    fill: str
    order: str
    account: str
    bot: str
    venue: str
    symbol: str
    ts: int
    side: str
    role: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    liquidity: str
    realized: Decimal
    position: Decimal
    average: Decimal
    cash: Decimal
    leaves: Decimal


class TradingDayStarted(Fact, frozen=True, tag="trading-day-started/1"):
    """The first price of a UTC day was seen: the daily loss limit counts from `equity`."""

    account: str
    ts: int
    day: str
    equity: Decimal
