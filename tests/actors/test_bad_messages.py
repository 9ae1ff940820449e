"""What a message may hold, and how far ahead of the clock it may be: what is refused leaves no trace but quarantine."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from actors.account import AccountDecider
from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from actors.symbol import SymbolDecider
from events import block, subjects
from events.block import Columns
from events.codec import Codec
from events.control import Quarantined
from events.decision import Recorded, derived
from events.fact import Fact
from events.market import Candle, CandleBlock, FeedHeartbeat, FeedInterrupted, FeedOpened, Quote, Trade
from events.trading import Fill, Signal
from tests.actors.account_driver import FREE, IDEAL, START, SYMBOL, VENUE, Account
from tests.actors.symbols import MINUTE, T0, S, V, entry, of, plan, step

SECOND = 1_000_000
MESSAGE_MAX = 1_048_576  # the server's limit


def known(one: Recorded, at: int) -> Recorded:
    return msgspec.structs.replace(one, known_at=at)


def candle(ts: int, close: float = 100.0) -> Candle:
    return Candle(V, S, "1m", ts, close, close, close, close, 1.0, 1)


def trade(ts: int, name: str, price: float = 100.0) -> Trade:
    return Trade(V, S, ts, price, 1.0, "", name)


def history(*stamps: int) -> CandleBlock:
    flat = np.full(len(stamps), 100.0)
    return next(block.pack(V, S, "1m", Columns(np.array(stamps, np.int64), flat, flat, flat, flat, flat)))


FUTURE: dict[str, tuple[str, Fact]] = {
    "a candle": ("candles", candle(T0 + 60 * MINUTE)),
    "a trade": ("trades", trade(T0 + 60 * MINUTE, "1")),
    "a heartbeat": ("trades", FeedHeartbeat(V, S, T0 + 60 * MINUTE)),
    "a stream that is complete from then on": ("trades", FeedOpened(V, S, T0, T0 + 60 * MINUTE)),
    "a break": ("trades", FeedInterrupted(V, S, T0 + 60 * MINUTE, "?")),
    "history": ("candles", history(T0 + 60 * MINUTE)),
}


@pytest.mark.parametrize("what", FUTURE)
@pytest.mark.parametrize("empty", ["flat", "omit"])
def test_what_is_from_the_future_settles_nothing(what: str, empty: str) -> None:
    source, fact = FUTURE[what]
    decider = SymbolDecider(plan(source=source, empty=empty))
    state = decider.initial()
    for one in (FeedOpened(V, S, T0, T0), FeedHeartbeat(V, S, T0 + MINUTE), candle(T0 + MINUTE)):
        step(decider, state, known(entry(1, one), T0 + MINUTE))
    before = Codec()._encode(state)
    (said,) = step(decider, state, known(entry(2, fact), T0 + 58 * MINUTE))
    assert isinstance(said, Quarantined)
    assert said.reason in ("ahead", "rows")
    assert str(T0 + 58 * MINUTE) not in said.detail  # two runs of one history have other clocks
    state.stream.notes = []
    assert Codec()._encode(state) == before


@pytest.mark.parametrize(
    ("ahead", "known_at"), [(60, T0 + 59 * MINUTE), (None, T0), (60, T0 + 10_000_000 * MINUTE), (60, 0)]
)
def test_a_stamp_within_the_bound_or_behind_the_clock_counts(ahead: int | None, known_at: int) -> None:
    """Recorded history lies far behind the clock; where time is simulated, the plan sets no bound."""
    decider = SymbolDecider(plan(ahead=ahead))
    one = known(entry(1, candle(T0 + 60 * MINUTE)), known_at)
    assert step(decider, decider.initial(), one) == one.decision.facts


CROWDS: dict[str, tuple[Fact, ...]] = {
    "facts": tuple(candle(T0 + n * MINUTE) for n in range(1_001)),
    "rows": tuple(history(*(T0 + (k * 2_000 + n) * MINUTE for n in range(2_000))) for k in range(3)),
    "rows said of one block": (msgspec.structs.replace(history(T0), rows=4_001),),
    "text": tuple(Trade("x" * 70_000, S, T0, 1.0, 1.0) for _ in range(2)),
}


@pytest.mark.parametrize("source", ["candles", "trades"])
@pytest.mark.parametrize("crowd", CROWDS)
def test_a_message_that_could_not_be_answered_in_one_is_refused_whole(crowd: str, source: str) -> None:
    decider = SymbolDecider(plan(source=source, timeframes=("5m", "1h")))
    state = decider.initial()
    whole = entry(1, *CROWDS[crowd])
    before = Codec()._encode(state)
    if source == "candles" and crowd == "text":
        assert not decider.hears(whole)  # trades, where bars come as such
    else:
        (said,) = step(decider, state, whole)
        assert isinstance(said, Quarantined)
        assert said.reason == "too-large"
    assert Codec()._encode(state) == before


@pytest.mark.parametrize("source", ["candles", "trades"])
@pytest.mark.parametrize(
    "fact",
    [Trade("é" * 60, S, T0, 1.0, 1.0, "", "\x00" * 20), candle(T0 + 1), Candle("\x01" * 60, S, "1m", T0, 1, 1, 1, 1, 1),
     candle(T0 + MINUTE, -1.0)],
)  # fmt: skip
def test_the_answer_to_the_fullest_message_fits_a_message(source: str, fact: Fact) -> None:
    decider = SymbolDecider(plan(source=source, timeframes=("5m", "15m", "30m", "1h", "4h", "1d", "1w")))
    whole = entry(1, *(fact for _ in range(1_000)))
    said = step(decider, decider.initial(), whole)
    assert not said or len(Codec().encode(derived(decider.actor, whole, said))) < MESSAGE_MAX


@pytest.mark.parametrize("text", ["x", "\x00", "é", "😀", '"'])
def test_one_fact_of_the_longest_text_has_an_answer_that_fits(text: str) -> None:
    long = text * (900_000 // len(text.encode()))
    for fact in (Candle(long, S, "1m", T0, 1, 1, 1, 1, 1), Candle(V, S, long, T0, 1, 1, 1, 1, 1)):
        whole = entry(1, fact)
        decider = SymbolDecider(plan())
        (said,) = step(decider, decider.initial(), whole)
        assert isinstance(said, Quarantined)
        assert said.detail.isprintable()
        assert len(Codec().encode(derived(decider.actor, whole, (said,)))) < MESSAGE_MAX


def test_ids_that_are_remembered_are_short() -> None:
    decider = SymbolDecider(plan(source="trades"))
    state = decider.initial()
    (said,) = step(decider, state, entry(1, trade(T0, "9" * 129)))
    assert isinstance(said, Quarantined)
    assert said.reason == "too-large"
    assert not state.stream.ids
    assert not of(step(decider, state, entry(2, trade(T0, "9" * 128))), Quarantined)


def test_quotes_of_any_number_are_nobodys_business() -> None:
    decider = SymbolDecider(plan())
    assert not decider.hears(entry(1, *(Quote(V, S, T0, 1.0, 1.0, 1.0, 1.0) for _ in range(5_000))))


def ticking() -> Account:
    symbol = SymbolPlan(venue=VENUE, symbol=SYMBOL, source="trades")
    bot = BotPlan(name="bot", venue=VENUE, symbol=SYMBOL, sizing=Sizing(method="quantity", value=Decimal(1)))
    return Account(AccountDecider(AccountPlan(fees=FREE, fills=IDEAL), (symbol,), (bot,)))


def told(account: Account, ts: int, *named: tuple[int, str], price: float = 100.0) -> tuple[Fact, ...]:
    facts = (Trade(VENUE, SYMBOL, at, price, 1.0, "", name) for at, name in named)
    return account.tell(subjects.feed(VENUE, SYMBOL), ts, *facts)


def wish(account: Account, ts: int) -> None:
    account.tell(subjects.bot("bot"), ts, Signal("bot", VENUE, SYMBOL, ts, 1.0, 100.0))


@pytest.mark.parametrize("again", [(START, "1"), (START - 1, "0"), (START - SECOND, "")])
def test_a_trade_that_comes_again_or_late_fills_nothing(again: tuple[int, str]) -> None:
    account = ticking()
    told(account, START, (START, "1"))
    wish(account, START)
    price = account.state.markets[subjects.market(VENUE, SYMBOL)].price
    assert told(account, START, again, price=50.0) == ()
    assert not account.every(Fill)
    assert account.state.markets[subjects.market(VENUE, SYMBOL)].price == price
    told(account, START + 1, again, (START, "2"), (START, "1"), price=101.0)
    assert [fill.price for fill in account.every(Fill)] == [Decimal(101)]


def test_accounts_do_not_hear_a_crowd_either() -> None:
    account = ticking()
    told(account, START, *((START + n, str(n)) for n in range(1_001)))
    assert not account.turns


@pytest.mark.parametrize("price", [5e-324, 1e-300, 9e-16, 0.0, -1.0])
def test_a_price_too_small_for_exact_money_is_none(price: float) -> None:
    """One such low in a bar would stop every account with an order: its sums do not fit."""
    low = msgspec.structs.replace(candle(T0 + MINUTE), low=price)
    for source, fact in (("candles", low), ("trades", trade(T0, "1", price)), ("candles", history(T0))):
        if isinstance(fact, CandleBlock):
            fact = msgspec.structs.replace(fact, low=np.array([price]).tobytes())
        decider = SymbolDecider(plan(source=source))
        (said,) = step(decider, decider.initial(), entry(1, fact))
        assert isinstance(said, Quarantined)
        assert said.reason == "price" or "price 1" in said.detail
