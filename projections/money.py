"""The views of money: round trips, open positions, accounts and their equity. All sums are exact."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from events.control import AccountOpened, TradingReleased, TradingRestricted
from events.decision import Recorded
from events.market import Candle
from events.timeframe import MINUTE
from events.trading import Fill

from .orders import READ
from .rows import FIRST, LAST, Row, Rows, moment
from .state import ZERO, Account, Holder, Market, MarketKey, Position, State


def opened(state: State, rows: Rows, entry: Recorded, n: int, fact: AccountOpened) -> None:
    moment(fact.ts)
    cash = Decimal(fact.cash)
    if not cash.is_finite():
        raise ValueError(f"an account cannot hold {fact.cash}")
    account = state.accounts[fact.account] = Account(fact.ts, fact.currency, cash, cash, peak=cash)
    _put_equity(rows, entry, fact.account, account, fact.ts)


def restricted(state: State, rows: Rows, entry: Recorded, n: int, fact: TradingRestricted | TradingReleased) -> None:
    moment(fact.ts)
    account = state.accounts.get(fact.account)
    if account is None:
        raise ValueError(f"account {fact.account!r} was never opened")
    account.restricted = fact.level if isinstance(fact, TradingRestricted) else ""
    rows.accounts[fact.account,] = (_account_row, (fact.account, account, fact.ts, entry.seq))


def marked(state: State, rows: Rows, entry: Recorded, n: int, fact: Candle) -> None:
    """The newest close is the mark of its market. Late bars, which nobody could have traded on, mark nothing."""
    if not FIRST <= fact.ts <= LAST:
        moment(fact.ts)
    key = (fact.venue, fact.symbol)
    market = state.markets.get(key) or _market(state, rows, key)
    if fact.ts < market.ts:
        return
    if not isfinite(fact.close):
        raise ValueError(f"{fact.close} is no price")
    market.ts = fact.ts
    if not market.positions:
        rows.marks[key] = fact.close
        return
    mark, before = Decimal(repr(fact.close)), _mark(rows, key, market)
    market.mark = mark
    if before is None or mark == before:
        return
    touched = {}
    for holder, position in market.positions.items():
        account = touched[holder[0]] = state.accounts[holder[0]]
        account.held += position.qty * (mark - before)
        _put_position(rows, entry, holder, key, position, mark, fact.ts)
    for name, account in touched.items():
        _put_equity(rows, entry, name, account, fact.ts)


def filled(state: State, rows: Rows, entry: Recorded, n: int, fact: Fill) -> None:
    """The fill says what the position and the cash are after it; the round trip is added up here."""
    moment(fact.ts)
    key, holder = (fact.venue, fact.symbol), (fact.account, fact.bot)
    market, account = _market(state, rows, key), state.accounts.get(fact.account)
    if account is None:
        account = state.accounts[fact.account] = Account(fact.ts, "", fact.cash, fact.cash, peak=fact.cash)
    before_it = _mark(rows, key, market)
    mark = market.mark = fact.price if before_it is None else before_it
    position = market.positions.get(holder)
    before, after = position.qty if position is not None else ZERO, fact.position
    account.cash = fact.cash
    account.held += (after - before) * mark
    closing, fee = fact.qty, fact.fee
    if position is not None and before * after < 0:  # through zero: one round trip ends, the next one begins
        closing = abs(before)
        fee = (fact.fee * closing / fact.qty).quantize(fact.fee)
    if position is not None and (abs(after) < abs(before) or before * after < 0):
        _exit(position, closing, fee, fact)
        if not after or before * after < 0:
            _put_trade(rows, entry, n, position, before > 0, fact)
            del market.positions[holder]
            position = None
    if after and (position is None or abs(after) > abs(before)):
        position = position or market.positions.setdefault(holder, Position(fact.ts, fact.role))
        crossed = before * after < 0
        _enter(position, fact.qty - closing if crossed else fact.qty, fact.fee - fee if crossed else fact.fee, fact)
    if position is None:
        rows.drop("positions", (*holder, *key))
    else:
        position.qty, position.average = after, fact.average
        _put_position(rows, entry, holder, key, position, mark, fact.ts)
    _put_equity(rows, entry, fact.account, account, fact.ts)


def marked_at_once(state: State, rows: Rows, key: MarketKey, ts: int, close: float) -> None:
    """After candles of a market in which nobody holds anything: the newest close time, and the last close of that."""
    market = _market(state, rows, key)
    if ts >= market.ts:
        market.ts, rows.marks[key] = ts, close


def settle_marks(state: State, rows: Rows) -> None:
    for key in list(rows.marks):
        _mark(rows, key, state.markets[key])
    if rows.new_markets:  # what is saved must not depend on who came first
        state.markets = dict(sorted(state.markets.items()))


def _mark(rows: Rows, key: MarketKey, market: Market) -> Decimal | None:
    """While nobody holds a position, closes come and go: only one that is asked for is made a Decimal."""
    close = rows.marks.pop(key, None)
    if close is not None:
        market.mark = Decimal(repr(close))
    return market.mark


def _enter(position: Position, qty: Decimal, fee: Decimal, fact: Fill) -> None:
    position.entered += qty
    position.entered_value += qty * fact.price
    position.fees += fee
    position.fills += 1


def _exit(position: Position, qty: Decimal, fee: Decimal, fact: Fill) -> None:
    position.exited += qty
    position.exited_value += qty * fact.price
    position.realized += fact.realized
    position.fees += fee
    position.fills += 1


def _market(state: State, rows: Rows, key: MarketKey) -> Market:
    market = state.markets.get(key)
    if market is None:
        market = state.markets[key] = Market()
        rows.new_markets = True
    return market


def _put_trade(rows: Rows, entry: Recorded, n: int, trip: Position, long: bool, fact: Fill) -> None:
    pnl = trip.realized - trip.fees
    rows.add(
        "trades",
        entry.seq,
        n,
        fact.account,
        fact.bot,
        fact.venue,
        fact.symbol,
        "long" if long else "short",
        trip.entered,
        moment(trip.opened),
        READ.divide(trip.entered_value, trip.entered),
        trip.role,
        moment(fact.ts),
        READ.divide(trip.exited_value, trip.exited),
        fact.role,
        trip.fills,
        trip.realized,
        trip.fees,
        pnl,
        float(READ.divide(pnl, trip.entered_value)) if trip.entered_value else 0.0,
        fact.ts - trip.opened,
        moment(entry.known_at),
    )


def _put_position(
    rows: Rows, entry: Recorded, holder: Holder, key: MarketKey, position: Position, mark: Decimal, ts: int
) -> None:
    place = holder + key
    rows.positions[place] = (_position_row, (place, position, mark, ts, entry.seq))


def _position_row(key: Row, position: Position, mark: Decimal, ts: int, seq: int) -> Row:
    unrealized = READ.plus(position.qty * (mark - position.average))
    what = (position.qty, position.average, mark, unrealized, position.fees)
    return (*key, *what, moment(position.opened), moment(ts), seq)


def _put_equity(rows: Rows, entry: Recorded, name: str, account: Account, ts: int) -> None:
    equity = account.cash + account.held
    if equity > account.peak:
        account.peak = equity
    key = (name, moment(-(-ts // MINUTE) * MINUTE))
    rows.equity[key] = (_equity_row, (key, account.cash, equity, account.peak, entry.seq))
    rows.accounts[name,] = (_account_row, (name, account, ts, entry.seq))


def _equity_row(key: Row, cash: Decimal, equity: Decimal, peak: Decimal, seq: int) -> Row:
    fall = float(peak - equity) / float(peak) if peak > 0 else 0.0
    return (*key, cash, equity, peak, fall, seq)


def _account_row(name: str, account: Account, ts: int, seq: int) -> Row:
    money = (account.initial, account.cash, account.equity, account.peak)
    return (name, account.currency, moment(account.opened), *money, account.restricted, moment(ts), seq)
