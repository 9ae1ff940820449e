"""The fast ways of a backtest against the true one: same decisions, same ids, same places, same states, same digest."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Limits, Plan, Sizing, SymbolPlan
from actors.strategies import Strategy, Target
from events import subjects
from events.block import Columns
from infra.backtest.parity import ParityError, assert_parity
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
    assert len(assert_parity(strategy, walk(1, 2_500, gaps=True, counts=True), params=params)) == 32


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
    data = {feed(n): walk(seed + n, 150, gaps=n == 1, garbage=n == 2) for n in range(symbols)}
    assert_parity(plan(bots, symbols, limits=limits), data, windows=(window,))


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
