"""The views of intentions and orders: signals, risk verdicts, orders with their latest state, fills."""

from __future__ import annotations

from decimal import Context, Decimal

from events.decision import Recorded
from events.trading import (
    Fill,
    OrderAmended,
    OrderCancelled,
    OrderPlaced,
    OrderRejected,
    OrderTriggered,
    RiskApproved,
    RiskRefused,
    Signal,
)

from .rows import Row, Rows, moment
from .state import Order, State

READ = Context(prec=28)
"""Averages and other quotients are for reading only: 28 significant digits."""

_ENDS = {OrderCancelled: "cancelled", OrderRejected: "rejected"}


def signal(state: State, rows: Rows, entry: Recorded, n: int, fact: Signal) -> None:
    rows.add(
        "signals",
        entry.seq,
        n,
        entry.decision.id,
        fact.bot,
        fact.venue,
        fact.symbol,
        moment(fact.ts),
        fact.target,
        fact.price,
        fact.order,
        fact.limit,
        fact.trigger,
        fact.stop,
        fact.take_profit,
        fact.trail,
        fact.confidence,
        list(fact.reasons),
        moment(entry.known_at),
    )


def verdict(state: State, rows: Rows, entry: Recorded, n: int, fact: RiskApproved | RiskRefused) -> None:
    what: tuple[bool, Decimal | None, str, str]
    what = (True, fact.qty, "", "") if isinstance(fact, RiskApproved) else (False, None, fact.reason, fact.detail)
    where = (fact.account, fact.bot, fact.venue, fact.symbol)
    rows.add("risk", entry.seq, n, *where, moment(fact.ts), fact.signal, *what, moment(entry.known_at))


def placed(state: State, rows: Rows, entry: Recorded, n: int, fact: OrderPlaced) -> None:
    moment(fact.ts)  # refused before it is remembered
    order = state.orders[fact.account, fact.order] = Order(
        fact.account,
        fact.order,
        fact.bot,
        fact.venue,
        fact.symbol,
        fact.ts,
        fact.side,
        fact.kind,
        fact.role,
        fact.qty,
        fact.limit,
        fact.trigger,
        fact.trail,
        fact.reduce_only,
        fact.parent,
    )
    _put(rows, entry, order, fact.ts)


def triggered(state: State, rows: Rows, entry: Recorded, n: int, fact: OrderTriggered) -> None:
    order = _open(state, fact)
    order.status = "triggered"
    _put(rows, entry, order, fact.ts)


def amended(state: State, rows: Rows, entry: Recorded, n: int, fact: OrderAmended) -> None:
    order = _open(state, fact)
    order.qty, order.trigger = fact.qty, fact.trigger
    _put(rows, entry, order, fact.ts, fact.reason)


def ended(state: State, rows: Rows, entry: Recorded, n: int, fact: OrderCancelled | OrderRejected) -> None:
    order = _open(state, fact)
    order.status = _ENDS[type(fact)]
    _put(rows, entry, order, fact.ts, fact.reason)
    del state.orders[order.account, order.order]


def filled(state: State, rows: Rows, entry: Recorded, n: int, fact: Fill) -> None:
    order = _open(state, fact)
    order.filled += fact.qty
    order.value += fact.qty * fact.price
    order.qty = order.filled + fact.leaves
    order.status = "partial" if fact.leaves else "filled"
    _put(rows, entry, order, fact.ts)
    if not fact.leaves:
        del state.orders[order.account, order.order]


def fill(state: State, rows: Rows, entry: Recorded, n: int, fact: Fill) -> None:
    rows.add(
        "fills",
        entry.seq,
        n,
        fact.fill,
        fact.order,
        fact.account,
        fact.bot,
        fact.venue,
        fact.symbol,
        moment(fact.ts),
        fact.side,
        fact.role,
        fact.qty,
        fact.price,
        fact.fee,
        fact.liquidity,
        fact.realized,
        fact.position,
        fact.average,
        fact.cash,
        fact.leaves,
        moment(entry.known_at),
    )


def _open(state: State, fact: OrderTriggered | OrderAmended | OrderCancelled | OrderRejected | Fill) -> Order:
    moment(fact.ts)
    order = state.orders.get((fact.account, fact.order))
    if order is None:
        raise ValueError(f"no order {fact.order!r} of account {fact.account!r} is open")
    return order


def _put(rows: Rows, entry: Recorded, order: Order, ts: int, reason: str = "") -> None:
    rows.orders[order.account, order.order] = (_row, (order, ts, reason, entry.seq))


def _row(order: Order, ts: int, reason: str, seq: int) -> Row:
    return (
        order.account,
        order.order,
        order.bot,
        order.venue,
        order.symbol,
        moment(order.ts),
        order.side,
        order.kind,
        order.role,
        order.qty,
        order.limit,
        order.trigger,
        order.trail,
        order.reduce_only,
        order.parent,
        order.filled,
        None if order.qty is None else order.qty - order.filled,
        READ.divide(order.value, order.filled) if order.filled else None,
        order.status,
        reason,
        moment(ts),
        seq,
    )
