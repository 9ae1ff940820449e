"""What indicators made of columns is worked out once, and is what they would make of them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from actors.indicators import ATR, EMA, MACD, SMA
from actors.indicators.base import Indicator
from actors.strategies import Strategy
from actors.strategies.base import Position, Target
from actors.strategies.columns import Wishes
from events.block import Columns
from events.market import Candle
from infra.backtest.engine import play
from infra.backtest.memory import Memory, remembering
from infra.backtest.shared import Shared
from tests.infra.test_backtest_parity import feed, plan, walk

MAKERS: list[tuple[Callable[[], Indicator[Any]], tuple[str, ...]]] = [
    (lambda: EMA(5), ("close",)),
    (lambda: SMA(7), ("close",)),
    (lambda: MACD(3, 6, 4), ("close",)),
    (lambda: ATR(5), ("high", "low", "close")),
]


def vouched(rows: Columns, limit: int = 1 << 20) -> Memory:
    memory = Memory(limit)
    for name in ("open", "high", "low", "close", "volume"):
        memory.vouch(getattr(rows, name))
    return memory


@pytest.mark.parametrize(("make", "names"), MAKERS)
def test_remembered_is_what_would_be_worked_out_again(
    make: Callable[[], Indicator[Any]], names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Window after window, from whatever state; afterwards the indicator goes on as if it had done the work."""
    rows = walk(5, 400)
    windows = [rows[:3], rows[3:200], rows[200:]]  # the first one is shorter than any warm-up
    alone, first, second = make(), make(), make()
    memory = vouched(rows)
    kind, work, done = type(alone), type(alone)._run, 0

    def counted(self: Any, *columns: Any) -> Any:
        nonlocal done
        done += 1
        return work(self, *columns)

    monkeypatch.setattr(kind, "_run", counted)
    for window in windows:
        columns = [getattr(window, name) for name in names]
        expected = alone.run(*columns)
        with remembering(memory):
            found = [one.run(*(column[:] for column in columns)) for one in (first, second)]
        for one in found:
            np.testing.assert_array_equal(one.view(np.int64), expected.view(np.int64))
        assert first.state() == second.state() == alone.state()
    assert done == 2 * len(windows)  # alone and first, not second
    assert second.update(*(100.0 for _ in names)) == alone.update(*(100.0 for _ in names))


def test_nothing_else_counts_as_the_same() -> None:
    rows = walk(5, 100)
    memory = vouched(rows)
    with remembering(memory):
        one = EMA(5).run(rows.close)
        assert EMA(5).run(rows.close) is one
        other_state = EMA(5)
        other_state.update(7.0)
        different = [EMA(6).run(rows.close), EMA(5).run(rows.open), EMA(5).run(rows.close[1:]), SMA(5).run(rows.close),
                     EMA(5).run(rows.close[::-1]), other_state.run(rows.close)]  # fmt: skip
        for found in different:
            assert found.tobytes() != one.tobytes()
        strange = rows.close.copy()
        found = EMA(5).run(strange)
        strange[:] = 1.0  # nobody vouched for it
        assert EMA(5).run(strange)[-1] != found[-1]
    assert EMA(5).run(rows.close) is not one  # no memory any more


class Wilder(EMA):
    """A user's own, whose parameters do not say all."""

    def __init__(self, period: int, k: float) -> None:
        super().__init__(period)
        self._k = k


def test_what_users_write_is_worked_out_each_time() -> None:
    """Nobody knows whether its parameters and state are whole."""
    rows = walk(5, 100)
    with remembering(vouched(rows)):
        found = [Wilder(5, k).run(rows.close)[-1] for k in (0.5, 0.1)]
    assert found == [Wilder(5, k).run(rows.close)[-1] for k in (0.5, 0.1)]
    assert found[0] != found[1]


def test_other_bytes_at_the_same_place_are_others() -> None:
    rows = walk(5, 100)
    with remembering(vouched(rows)):
        prices = EMA(5).run(rows.close)
        assert EMA(5).run(rows.close.view(np.int64))[-1] != prices[-1]


def test_states_count_as_well() -> None:
    rows = walk(5, 100)
    memory = vouched(rows, limit=50_000)
    with remembering(memory):
        for start in range(100):
            SMA(1_000).run(rows.close[start:])
    assert len(memory._known) < 20


def test_an_indicator_that_answers_a_column_itself_leaves_it_writable() -> None:
    class Same(SMA):
        def _run(self, *columns: Any) -> Any:
            return columns[0]

    own = np.arange(5.0)
    assert not Same(3).run(own).flags.writeable
    assert own.flags.writeable


def test_the_longest_unasked_is_forgotten_first() -> None:
    rows = walk(5, 100)
    memory = vouched(rows, limit=2 * (100 * 8 + 1_200))
    with remembering(memory):
        one, two = EMA(5).run(rows.close), EMA(6).run(rows.close)
        assert EMA(5).run(rows.close) is one
        EMA(7).run(rows.close)
        assert EMA(5).run(rows.close) is one
        assert EMA(6).run(rows.close) is not two


class Scribbler(Strategy):
    """Writes into what it is shown, or into what an indicator answers."""

    def __init__(self, into: str = "close") -> None:
        self.into, self.ema = into, EMA(3)

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.ema.update(candle.close)
        return None

    def on_columns(self, candles: Columns) -> Wishes:
        found = self.ema.run(candles.close)
        into = found if self.into == "ema" else getattr(candles, self.into)
        into[0] = 1.0
        return Wishes(np.full(len(candles), np.nan))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("into", ["close", "ts", "ema"])
def test_a_strategy_cannot_write_into_what_others_see(into: str, shared: bool) -> None:
    whole = plan([{"strategy": f"{__name__}:Scribbler", "params": {"into": into}}])
    rows = walk(5, 100)
    with pytest.raises(ValueError, match="read-only"):
        play(whole, [{feed(0): rows}], shared=Shared() if shared else None)
    assert rows.close.flags.writeable  # the caller's own arrays are as they were
