"""The fast ways of a backtest against the true one: same decisions, same ids, same places, same states, same digest."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from actors.express import Express
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Limits, Plan, Sizing, SymbolPlan
from actors.strategies import Strategy, Target
from actors.stretch import Stretch
from events import subjects
from events.block import Columns
from events.decision import Decision
from infra.backtest import data
from infra.backtest.data import MarketFile
from infra.backtest.engine import backtest, closing_last, messages, play
from infra.backtest.parity import ParityError, assert_parity, cut
from infra.backtest.parts import fits, parts
from infra.backtest.shared import Shared
from tests.infra.columnar import DiceInColumns

MINUTE = 60_000_000
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes too long for many hundreds of smaller ones
START = 1_700_000_000_000_000 // MINUTE * MINUTE


def walk(seed: int, rows: int, *, gaps: bool = False, garbage: bool = False, counts: bool = False) -> Columns:
    """A random walk on the cent; `gaps`: some minutes are missing; `garbage`: rows that no symbol accepts, late ones,
    jumps and bars that came again."""
    random = np.random.default_rng(seed)
    steps = np.round(random.normal(0, 0.2, rows), 2)
    close = np.round(np.maximum(100 + np.cumsum(steps), 1), 2)
    start = np.concatenate(([100.0], close[:-1]))
    high = np.round(np.maximum(start, close) + np.abs(np.round(random.normal(0, 0.1, rows), 2)), 2)
    low = np.round(np.maximum(np.minimum(start, close) - np.abs(np.round(random.normal(0, 0.1, rows), 2)), 0.5), 2)
    volume = np.round(random.exponential(3, rows), 3)
    ts = START + MINUTE * (1 + np.arange(rows))
    if gaps:
        ts = ts + MINUTE * np.cumsum(random.random(rows) < 0.03)
    if garbage:
        high = np.where(random.random(rows) < 0.02, low / 2, high)
        volume = np.where(random.random(rows) < 0.02, np.nan, volume)
        again = np.flatnonzero(random.random(rows) < 0.03)
        ts[again[again > 0]] = ts[again[again > 0] - 1]
        leap = random.random(rows) < 0.01
        close, high = np.where(leap, close * 3, close), np.where(leap, close * 3, high)
    count = random.integers(0, 50, rows) if counts else None
    return Columns(ts, start, high, low, close, volume, count)


def plan(bots: list[dict], symbols: int = 1, **account: object) -> Plan:
    return Plan(
        symbols=tuple(SymbolPlan(venue="sim", symbol=f"S{n}-USD") for n in range(symbols)),
        bots=tuple(
            BotPlan(name=f"b{n}", venue="sim", symbol=f"S{n % symbols}-USD", **one) for n, one in enumerate(bots)
        ),
        accounts=(AccountPlan(**account),),
    )


def feed(number: int) -> str:
    return subjects.feed("sim", f"S{number}-USD")


DICE = "tests.infra.columnar:DiceInColumns"


@pytest.mark.parametrize(
    ("strategy", "params"),
    [
        ("ema-cross", {"fast": 5, "slow": 13}),
        ("ema-cross", {"fast": 5, "slow": 13, "short": True, "stop_atr": 1.5, "target_atr": 2.0}),
        ("momentum", {}),
        ("breakout", {"short": True}),
    ],
)
def test_every_shipped_strategy(strategy: str, params: dict) -> None:
    assert len(assert_parity(strategy, walk(1, 1_500, gaps=True, counts=True), params=params)) == 32


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    often=st.integers(1, 30),
    order=st.sampled_from(["market", "limit", "stop"]),
    brackets=st.booleans(),
    fussy=st.booleans(),
    gaps=st.booleans(),
    garbage=st.booleans(),
    sizing=st.sampled_from([("quantity", "3"), ("fraction", "0.4"), ("all-in", "1")]),
    taker=st.sampled_from(["0", "0.001"]),
    slippage=st.sampled_from(["0", "0.0003"]),
    participation=st.sampled_from([None, "0.1", "1"]),
    window=st.sampled_from([1, 7, 100, 5000]),
)
def test_random_strategies_brackets_gaps_and_fees(
    seed: int, often: int, order: str, brackets: bool, fussy: bool, gaps: bool, garbage: bool,
    sizing: tuple[str, str], taker: str, slippage: str, participation: str | None, window: int,
) -> None:  # fmt: skip
    params = {"seed": seed, "often": often, "order": order, "brackets": brackets, "fussy": fussy}
    account = AccountPlan(
        fees=Fees(maker=Decimal("0.0001"), taker=Decimal(taker)),
        fills=FillModel(
            slippage=Decimal(slippage), participation=None if participation is None else Decimal(participation)
        ),
    )
    assert_parity(
        DICE,
        walk(seed, 250, gaps=gaps, garbage=garbage),
        params=params,
        sizing=Sizing(method=sizing[0], value=Decimal(sizing[1])),
        account=account,
        windows=(window,),
    )


@settings(max_examples=15, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6), symbols=st.integers(1, 3), window=st.sampled_from([1, 13, 900]), limited=st.booleans()
)
def test_many_bots_on_many_symbols_share_an_account(seed: int, symbols: int, window: int, limited: bool) -> None:
    """Bots with and without a column form, some on the same symbol, with limits that bind."""
    limits = Limits(daily_loss=Decimal("0.02"), positions=2, cooldown=600) if limited else Limits()
    bots = [
        {"strategy": DICE, "params": {"seed": seed, "often": 4}},
        {"strategy": "tests.infra.columnar:Dice", "params": {"seed": seed + 1, "often": 6, "fussy": True}},
        {"strategy": DICE, "params": {"seed": seed + 2, "order": "limit"}, "sizing": Sizing(value=Decimal("0.5"))},
        {"strategy": "ema-cross", "params": {"fast": 3, "slow": 8}, "sizing": Sizing(value=Decimal("0.7"))},
    ]
    candles = {feed(n): walk(seed + n, 150, gaps=n == 1, garbage=n == 2) for n in range(symbols)}
    assert_parity(plan(bots, symbols, limits=limits), candles, windows=(window,))


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from([
        ("tests.infra.columnar:PlainDice", {}), ("tests.infra.columnar:Watchful", {"odd": 3}),
        ("tests.infra.columnar:Watchful", {"odd": 1000}),
    ]),
    often=st.sampled_from([1, 2, 4, 20]),
    gaps=st.booleans(),
    garbage=st.booleans(),
    sizing=st.sampled_from([("quantity", "1"), ("quantity", "2.345678"), ("fraction", "0.1"), ("fraction", "0.93")]),
    cash=st.sampled_from(["100000", "350.5", "1000.123456789"]),
    taker=st.sampled_from(["0", "0.00075", "-0.0001"]),
    slippage=st.sampled_from(["0", "0.0003"]),
    participation=st.sampled_from([None, "0.5"]),
    window=st.sampled_from([30, 400]),
)  # fmt: skip
def test_plain_trading_in_stretches(
    seed: int, strategy: tuple[str, dict], often: int, gaps: bool, garbage: bool, sizing: tuple[str, str],
    cash: str, taker: str, slippage: str, participation: str | None, window: int,
) -> None:  # fmt: skip
    """Long, flat or short at market with a fixed quantity: what is dealt with in columns from signal to fill, money
    that runs out, bars with too little volume and wishes that are not plain in between."""
    account = AccountPlan(
        cash=Decimal(cash),
        fees=Fees(taker=Decimal(taker)),
        fills=FillModel(slippage=Decimal(slippage), participation=participation and Decimal(participation)),
    )
    assert_parity(
        strategy[0],
        walk(seed, 400, gaps=gaps, garbage=garbage),
        params={"seed": seed, "often": often, **strategy[1]},
        sizing=Sizing(method=sizing[0], value=Decimal(sizing[1])),
        account=account,
        windows=(window,),
    )


@pytest.mark.parametrize("places", [3, 5, 7])
@pytest.mark.parametrize("cash", ["1000", "1e9", "1e12"])
@pytest.mark.parametrize("often", [20, 200])
def test_sizes_of_numbers_with_many_digits(places: int, cash: str, often: int) -> None:
    """Few signals at round prices amid closes with more decimals; quantities and money too large for columns."""
    rows = walk(places, 400)
    prices = (np.round(getattr(rows, name) * 0.0113, places) for name in ("open", "high", "low", "close"))
    fine = Columns(rows.ts, *prices, rows.volume)
    account = AccountPlan(
        cash=Decimal(cash), fees=Fees(taker=Decimal("0.0000123")), fills=FillModel(participation=None)
    )
    for strategy in ("PlainDice", "Watchful"):
        assert_parity(
            f"tests.infra.columnar:{strategy}", fine, params={"seed": places, "often": often}, account=account,
            sizing=Sizing(method="fraction", value=Decimal("0.333")), windows=(400,),
        )  # fmt: skip


def test_most_of_plain_trading_goes_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0

    def count(loop: Express, stretch: Stretch) -> None:
        nonlocal rows
        rows += stretch.end - stretch.first
        told(loop, stretch)

    told = Express._stretched
    monkeypatch.setattr(Express, "_stretched", count)
    whole = plan([{"strategy": "ema-cross", "params": {"fast": 3, "slow": 8, "short": True},
                   "sizing": Sizing(method="quantity", value=Decimal(1))}],
                 fills=FillModel(participation=None))  # fmt: skip
    for columns in (False, True):
        rows = 0
        play(whole, cut({feed(0): walk(2, 5000)}, 1000), columns=columns)
        assert rows > 4900


class Forgetful(DiceInColumns):
    """Its column form wants something else than it says candle by candle."""

    def on_columns(self, rows: Columns) -> object:
        found = super().on_columns(rows)
        found.target[len(rows) // 2] = 0.25
        found.reasons = None
        return found


class Unlike(DiceInColumns):
    """Its column form does not remember what it was shown."""

    def on_columns(self, rows: Columns) -> object:
        found = super().on_columns(rows)
        self.shown = 0
        return found


@pytest.mark.parametrize(("name", "said"), [("Forgetful", "in columns.*decision"), ("Unlike", "at the end bot.parity")])
def test_a_column_form_that_differs_is_found(name: str, said: str) -> None:
    with pytest.raises(ParityError, match=f"(?s){said}"):
        assert_parity(f"{__name__}:{name}", walk(3, 300), params={"seed": 3})


class Short(Strategy):
    def on_candle(self, candle: object, position: object) -> Target | None:
        return None

    def on_columns(self, rows: Columns) -> object:
        from actors.strategies.columns import Wishes

        return Wishes(np.full(len(rows) - 1, np.nan))


def test_a_column_form_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="on_columns answered 99 rows of `target` to 100 candles"):
        assert_parity(f"{__name__}:Short", walk(4, 100), windows=(65_536,))


class Knows(Strategy):
    """Long on every tenth candle, flat five later; it says which rows these are."""

    def __init__(self, told: str = "all") -> None:
        self.told, self.shown = told, 0

    def on_candle(self, candle: object, position: object) -> Target | None:
        self.shown += 1
        return {1: Target(1.0), 6: Target(0.0)}.get(self.shown % 10)

    def on_columns(self, rows: Columns) -> object:
        from actors.strategies.columns import Wishes

        place = (self.shown + 1 + np.arange(len(rows))) % 10
        self.shown += len(rows)
        target = np.where(place == 1, 1.0, np.where(place == 6, 0.0, np.nan))
        known = np.flatnonzero(target == target)
        other = {"half": known[::2], "turned": known[::-1], "none": known + 1, "list": known.tolist()}
        return Wishes(target, rows=other.get(self.told, known))


def test_rows_that_a_strategy_knows_are_taken_at_their_word() -> None:
    name, data = f"{__name__}:Knows", walk(5, 300)
    assert assert_parity(name, data)
    assert assert_parity(name, data, params={"told": "list"})
    with pytest.raises(ParityError):
        assert_parity(name, data, params={"told": "half"})
    for told in ("turned", "none"):
        with pytest.raises(ValueError, match="`rows` that are not in order, or have no target"):
            assert_parity(name, data, params={"told": told})


def file(columns: Columns, symbol: str = "S0-USD") -> MarketFile:
    return MarketFile("f.csv", "0", "sim", symbol, "1m", columns, None, None, None, SimpleNamespace(first_ts=0), ())


def ids(stream: Iterable[tuple[int, str, Decision]]) -> list[tuple[int, str, str]]:
    """A message's id stands for its content; contents with NaN equal nothing."""
    return [(ts, actor, message.id) for ts, actor, message in stream]


@pytest.mark.parametrize("rows", [1, 50, 10_000])
@pytest.mark.parametrize("close_last", [False, True])
def test_files_in_windows_say_what_the_stream_says(rows: int, close_last: bool) -> None:
    """Files that overlap, that repeat rows and that differ in rows, of several instruments."""
    one, two = walk(5, 300), walk(6, 200, gaps=True, garbage=True)
    twisted = walk(5, 120)[slice(60, None)]
    twisted.close[5] += 0.01
    files = [file(one), file(one[slice(100, 180)]), file(twisted), file(two, "S1-USD")]
    plain = plan([], 2)
    assert fits(plain, files)
    expected = list(data.stream(files))
    if close_last:
        expected = list(closing_last(plain, expected))
    found: list[tuple[int, str, Decision]] = []
    for part in parts(plain, files, rows=rows, close_last=close_last):
        found += [part] if isinstance(part, tuple) else messages(plain, [part])
    assert ids(found) == ids(expected)
    part = ids(data.stream(files, start=START + 20 * MINUTE, end=START + 90 * MINUTE))
    bounded = parts(plain, files, start=START + 20 * MINUTE, end=START + 90 * MINUTE, rows=rows)
    assert ids(message for one in bounded for message in messages(plain, [one])) == part


def test_what_does_not_fit_columns_is_known() -> None:
    rows = walk(7, 10)
    assert not fits(plan([], 1), [file(rows, "S9-USD")])
    five = plan([], 1)
    five = Plan(symbols=(SymbolPlan(venue="sim", symbol="S0-USD", base="5m"),), accounts=five.accounts)
    assert not fits(five, [file(rows)])


def test_higher_timeframes_go_message_by_message_to_the_same_end() -> None:
    symbol = SymbolPlan(venue="sim", symbol="S0-USD", timeframes=("5m",))
    bot = BotPlan(name="b", venue="sim", symbol="S0-USD", timeframe="5m", strategy=DICE, params={"seed": 1, "often": 2})
    whole = Plan(symbols=(symbol,), bots=(bot,))
    rows = walk(8, 600, gaps=True)
    found, expected = play(whole, parts(whole, [file(rows)])), backtest(whole, data.stream([file(rows)]))
    assert found.fills
    assert (found.digest, found.entries, found.counts) == (expected.digest, expected.entries, expected.counts)
    assert (found.curves["main"].equity == expected.curves["main"].equity).all()


def test_without_a_digest_all_else_is_the_same() -> None:
    whole = plan([{"strategy": DICE, "params": {"seed": 2}}])
    rows = walk(9, 500)
    found, expected = (play(whole, parts(whole, [file(rows)]), digest=digest) for digest in (False, True))
    assert (found.digest, found.digests, len(expected.digest)) == ("", {}, 32)
    assert (found.fills, found.decisions, found.entries) == (expected.fills, expected.decisions, expected.entries)


def test_what_is_decided_between_windows_is_in_the_digest() -> None:
    whole = plan([{"strategy": DICE, "params": {"seed": 2}}])
    rows = walk(9, 200)
    first, rest = messages(whole, [{feed(0): rows[slice(0, 20)]}]), {feed(0): rows[slice(20, None)]}
    found = play(whole, [*first, rest])
    expected = backtest(whole, messages(whole, [{feed(0): rows}]))
    assert (found.digest, found.digests) == (expected.digest, expected.digests)


def test_runs_that_share_windows_come_to_what_they_come_to_alone() -> None:
    """Other parameters, other windows, another instrument's rules and rows that are not plain in between."""
    one, two = list(cut({feed(0): walk(3, 900, gaps=True, garbage=True)}, 300)), list(cut({feed(0): walk(4, 500)}, 250))
    shared = Shared()
    for calendar in ("24x7", "fx"):
        for params in ({"fast": 2, "slow": 5}, {"fast": 3, "slow": 9, "short": True}):
            whole = plan([{"strategy": "ema-cross", "params": params}])
            symbols = tuple(structs.replace(symbol, calendar=calendar) for symbol in whole.symbols)
            whole = structs.replace(whole, symbols=symbols)
            for windows in (one, two, one[:2]):
                for _ in range(2):
                    found, alone = play(whole, windows, shared=shared), play(whole, windows)
                    assert (found.digests, found.counts) == (alone.digests, alone.counts)
