"""The state of an account: what it holds, what it works, and the last price of each market."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import msgspec

from actors.plan import AccountPlan, BotPlan, SymbolPlan
from events.market import Trade
from events.trading import Signal

from .money import ZERO, exact

NEVER = -(2**63)
CHILDREN = ("stop-loss", "take-profit", "trailing")
LEVELS = ("", "no-new-risk", "close-only", "cancel-all", "flatten")
"""The restrictions, each holding all that the ones before it hold."""


class Rules(msgspec.Struct, frozen=True):
    """What does not change: the plan of the account, its markets by actor name, its bots and their markets by name.

    `bots_on`: the names of the bots of each market.
    """

    plan: AccountPlan
    symbols: dict[str, SymbolPlan]
    bots: dict[str, BotPlan]
    keys: dict[str, str]
    bots_on: dict[str, tuple[str, ...]]


class Bracket(msgspec.Struct, frozen=True):
    """Exits of a position, on the tick; `trail` is a distance."""

    stop: Decimal | None = None
    take_profit: Decimal | None = None
    trail: Decimal | None = None

    def __bool__(self) -> bool:
        return self.stop is not None or self.take_profit is not None or self.trail is not None


class _Copied(msgspec.Struct):
    if TYPE_CHECKING:  # every struct has it, which its stubs do not say; `copy.copy` takes three times as long

        def __copy__(self) -> Self: ...


class Order(_Copied):
    """An open order. `met`: a price came while it was open; `rested`: that was before the present message."""

    id: str
    bot: str
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
    target: Decimal = ZERO
    bracket: Bracket = Bracket()
    filled: Decimal = ZERO
    fills: int = 0
    triggered: bool = False
    met: bool = False
    rested: bool = False

    @property
    def leaves(self) -> Decimal:
        """What is open; 0 for an order that is sized at the fill and has none yet."""
        return ZERO if self.qty is None else self.qty - self.filled

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1


class Book(_Copied):
    """One bot's position. `cost` is what was paid for it (negative when short), exactly; `trip` is the net result
    of the round trip so far; `target` is the part of a full signal it stands for; `wanted` the bot's last signal."""

    bot: str
    position: Decimal = ZERO
    cost: Decimal = ZERO
    target: Decimal = ZERO
    trip: Decimal = ZERO
    cool_until: int = NEVER
    wanted: Signal | None = None


class Market(_Copied):
    """`price` is the last one and `ts` where it ended; `before` the last one before the present message.

    `orders` by id, oldest first. Where prices are trades: `ids` of those that came with the newest stamp, and `news`,
    the trades of the present message that are neither late nor came before.
    """

    price: float | None = None
    before: float | None = None
    ts: int = NEVER
    orders: dict[str, Order] = {}
    ids: dict[str, None] = {}
    news: tuple[Trade, ...] = ()


class AccountState(_Copied):
    """`day_end`: the end of the UTC day that began with `day_equity`; `restricted`: the level in force, or empty.

    `stopping`: a session is ending, and nothing new is entered until one goes on.
    """

    cash: Decimal
    opened: bool = False
    day_end: int = NEVER
    day_equity: Decimal = ZERO
    restricted: str = ""
    stopping: bool = False
    markets: dict[str, Market] = {}
    books: dict[str, Book] = {}


def fork(rules: Rules, state: AccountState, keys: Iterable[str]) -> AccountState:
    """A copy to try facts on: the markets `keys` and their books are copied, the others shared and only read."""
    twin = state.__copy__()
    markets = twin.markets = state.markets.copy()
    books = twin.books = state.books.copy()
    for key in keys:
        market = markets[key] = markets[key].__copy__()
        market.orders = {name: order.__copy__() for name, order in market.orders.items()}
        for bot in rules.bots_on[key]:
            books[bot] = books[bot].__copy__()
    return twin


def orders_of(market: Market, bot: str) -> list[Order]:
    return [order for order in market.orders.values() if order.bot == bot]


def mark_of(state: AccountState, key: str, at: Decimal | None = None) -> Decimal:
    """The last price of a market, or `at` where one is given; 0 where none was seen."""
    if at is not None:
        return at
    price = state.markets[key].price
    return ZERO if price is None else exact(price)


class Holding(msgspec.Struct, frozen=True):
    bot: str
    key: str
    position: Decimal
    mark: Decimal


def holdings(rules: Rules, state: AccountState, key: str = "", at: Decimal | None = None) -> Iterator[Holding]:
    """Open positions at last prices; those of the market `key` at `at`, where given."""
    for bot, book in state.books.items():
        if book.position:
            where = rules.keys[bot]
            yield Holding(bot, where, book.position, mark_of(state, where, at if where == key else None))


def equity_of(rules: Rules, state: AccountState, key: str = "", at: Decimal | None = None) -> Decimal:
    """Cash and positions at last prices; the market `key` at `at`, where given."""
    found = state.cash
    for one in holdings(rules, state, key, at):
        found += one.position * one.mark
    return found
