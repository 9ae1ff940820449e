"""From the position a bot wants to orders: supersede, leave the old position, ask risk, enter."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from actors.plan import BotPlan
from events.trading import RiskApproved, RiskRefused, Signal

from .book import CHILDREN, Book, Bracket, equity_of, mark_of
from .ledger import bracket_of
from .money import ZERO, exact
from .risk import Refusal, Wish, size_fits, standing, worth
from .sheet import Sheet
from .sizing import Entry, entry_of, size_of

_HIGHEST = 1e15
"""Far above any price; what is above it is a mistake, and would not fit in exact sums."""

_LEVELS = ("limit", "trigger", "stop", "take_profit", "trail")
_PRICES: dict[str, tuple[str, ...]] = {
    "market": (),
    "limit": ("limit",),
    "stop": ("trigger",),
    "stop-limit": ("limit", "trigger"),
}


def on_signal(sheet: Sheet, bot: str, signal: Signal, cause: str) -> None:
    """`bot` is who said it, by its subject; `cause` is the id of the decision it stands in."""
    plan = sheet.rules.bots.get(bot)
    if plan is None or signal.bot != bot:
        return _refuse(sheet, signal, cause, Refusal("unknown-bot", f"no bot {signal.bot!r} trades on this account"))
    if problem := _problem(signal, plan):
        return _refuse(sheet, signal, cause, Refusal("bad-signal", problem))
    book, side = sheet.book_of(bot), _sign(signal.target)
    superseded = sheet.cancel_all(bot, "superseded", "entry")
    if book.position and _sign(book.position) != side:
        sheet.close(bot)
    elif book.position:
        return _resize(sheet, plan, signal, cause, superseded)
    if side:
        _enter(sheet, plan, signal, cause, ZERO)
    return None


def _sign(value: float | Decimal) -> int:
    return (value > 0) - (value < 0)


def _problem(signal: Signal, plan: BotPlan) -> str:
    """What makes a signal unusable, or nothing."""
    if (signal.venue, signal.symbol) != (plan.venue, plan.symbol):
        return f"{signal.venue} {signal.symbol} is not what this bot trades"
    if not -1 <= signal.target <= 1:
        return f"a target of {signal.target!r} is not within -1 and 1"
    if signal.order not in _PRICES:
        return f"{signal.order!r} is no way to enter"
    needed = _PRICES[signal.order]
    for name in _LEVELS:
        price = getattr(signal, name)
        if price is None:
            if name in needed and signal.target:
                return f"a {signal.order} order needs a {name}"
        elif not (isfinite(price) and 0 < price < _HIGHEST):
            return f"{price!r} is no {name}"
    return ""


def _resize(sheet: Sheet, plan: BotPlan, signal: Signal, cause: str, superseded: bool) -> None:
    """The bot wants to stay on its side: more, less, or the same with another bracket."""
    bot, book = plan.name, sheet.book_of(plan.name)
    exits = sheet.orders(bot, "exit")
    if any(order.triggered for order in sheet.orders(bot, *CHILDREN)):
        return _refuse(sheet, signal, cause, Refusal("stopped", "the bracket is closing this position"))
    wanted, held = abs(exact(signal.target)), abs(book.target)
    heading = abs(book.position) - sum((order.leaves for order in exits), ZERO)
    if exits and sheet.state.restricted and (wanted > held or not heading):
        return _refuse(sheet, signal, cause, Refusal("restricted", "the position is being left"))
    if wanted != held or not heading:
        sheet.cancel_all(bot, "superseded", "exit")
        heading = heading or abs(book.position)
    if wanted < held:
        lot = sheet.rules.symbols[sheet.rules.keys[bot]].lot
        surplus = abs(book.position) - heading * wanted // (held * lot) * lot
        if surplus > 0:
            sheet.reduce(bot, surplus)
    elif wanted > held or superseded:
        return _enter(sheet, plan, signal, cause, abs(book.position))
    return _rebracket(sheet, plan, signal, cause)


def _rebracket(sheet: Sheet, plan: BotPlan, signal: Signal, cause: str) -> None:
    """A bot that stays where it is may move its exits; what it does not name stays as it is."""
    key = sheet.rules.keys[plan.name]
    asked = bracket_of(signal, sheet.rules.symbols[key])
    if not asked:
        return None
    now = {order.role: order for order in sheet.orders(plan.name, *CHILDREN)}
    stop, target, trail = now.get("stop-loss"), now.get("take-profit"), now.get("trailing")
    old = Bracket(
        None if stop is None else stop.trigger,
        None if target is None else target.limit,
        None if trail is None else trail.trail,
    )
    new = Bracket(
        old.stop if asked.stop is None else asked.stop,
        old.take_profit if asked.take_profit is None else asked.take_profit,
        old.trail if asked.trail is None else asked.trail,
    )
    if new == old:
        return None
    mark = mark_of(sheet.state, key)
    entry = Entry("buy" if signal.target > 0 else "sell", "market", None, None, mark)
    if (refusal := worth(sheet.rules, entry, new)) is not None and refusal.reason == "bracket":
        return _refuse(sheet, signal, cause, refusal)
    return sheet.protect(plan.name, new, cause, mark)


def _enter(sheet: Sheet, plan: BotPlan, signal: Signal, cause: str, held: Decimal) -> None:
    """Asks risk for what is missing to the size wanted, and places the entry."""
    rules, state, key = sheet.rules, sheet.state, sheet.rules.keys[plan.name]
    symbol = rules.symbols[key]
    entry, bracket = entry_of(signal, symbol, mark_of(state, key)), bracket_of(signal, symbol)
    refusal = _first(sheet, plan, signal, entry, bracket)
    if refusal is None:
        size = _size(sheet, plan, signal, entry, bracket)
        wish = Wish(plan.name, key, entry, bracket, size - held, held)
        refusal = size_fits(rules, state, wish)
    if refusal is not None:
        return _refuse(sheet, signal, cause, refusal)
    qty = None if plan.sizing.method == "all-in" else wish.qty
    sheet.emit(
        RiskApproved(sheet.account, plan.name, signal.venue, signal.symbol, sheet.ts, cause, qty),
    )
    return sheet.place(plan.name, entry.side, entry.kind, "entry", qty, limit=entry.limit, trigger=entry.trigger)


def _first(sheet: Sheet, plan: BotPlan, signal: Signal, entry: Entry, bracket: Bracket) -> Refusal | None:
    book: Book = sheet.book_of(plan.name)
    if entry.price <= 0 or mark_of(sheet.state, sheet.rules.keys[plan.name]) <= 0:
        return Refusal("no-price", "no price has been seen to reckon with")
    if plan.sizing.method == "risk" and bracket.stop is None and bracket.trail is None:
        return Refusal("no-stop", "sizing by risk needs a stop or a trail")
    return standing(sheet.rules, sheet.state, book, signal) or worth(sheet.rules, entry, bracket)


def _size(sheet: Sheet, plan: BotPlan, signal: Signal, entry: Entry, bracket: Bracket) -> Decimal:
    distance = bracket.trail if bracket.stop is None else abs(entry.price - bracket.stop)
    equity, lot = equity_of(sheet.rules, sheet.state), sheet.rules.symbols[sheet.rules.keys[plan.name]].lot
    return size_of(plan.sizing, abs(exact(signal.target)), entry.price, distance, equity, lot)


def _refuse(sheet: Sheet, signal: Signal, cause: str, refusal: Refusal) -> None:
    sheet.emit(
        RiskRefused(
            sheet.account,
            signal.bot,
            signal.venue,
            signal.symbol,
            sheet.ts,
            cause,
            refusal.reason,
            refusal.detail,
        )
    )
