"""The contract of every indicator: warm-up, snapshots, refusals; and the plain definitions they equal."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import indicators as ind

Make = Callable[[], Any]
EPS = 2.0**-52

# How to build each indicator, and which columns of a candle it takes.
SERIES: dict[str, Make] = {
    "SMA": lambda: ind.SMA(5),
    "EMA": lambda: ind.EMA(5),
    "WMA": lambda: ind.WMA(5),
    "LinearRegressionSlope": lambda: ind.LinearRegressionSlope(5),
    "RSI": lambda: ind.RSI(5),
    "MACD": lambda: ind.MACD(3, 6, 4),
    "MOM": lambda: ind.MOM(4),
    "ROC": lambda: ind.ROC(4),
    "StdDev": lambda: ind.StdDev(5),
    "Bollinger": lambda: ind.Bollinger(5, 2.5),
    "Highest": lambda: ind.Highest(5),
    "Lowest": lambda: ind.Lowest(5),
}
CANDLES: dict[str, Make] = {
    "TrueRange": ind.TrueRange,
    "ATR": lambda: ind.ATR(4),
    "ADX": lambda: ind.ADX(4),
    "CCI": lambda: ind.CCI(5),
    "FastStochastic": lambda: ind.FastStochastic(5, 3),
    "Stochastic": lambda: ind.Stochastic(4, 3, 2),
}
VOLUMES: dict[str, Make] = {"OBV": ind.OBV, "RollingVWAP": lambda: ind.RollingVWAP(5)}
SESSIONS: dict[str, Make] = {"SessionVWAP": ind.SessionVWAP}
CHANNELS: dict[str, Make] = {"Donchian": lambda: ind.Donchian(4)}
ALL = SERIES | CANDLES | VOLUMES | SESSIONS | CHANNELS

# (high, low, close, volume); prices from tiny to large, with ties.
price = st.one_of(st.floats(1e-3, 1e6), st.integers(1, 5).map(float))
candle = st.tuples(price, price, price, st.floats(0.0, 1e6)).map(
    lambda c: (max(c[:3]), min(c[:3]), sorted(c[:3])[1], c[3])
)
candles = st.lists(candle, min_size=1, max_size=60)


def inputs(name: str, number: int, row: tuple[float, float, float, float]) -> tuple[float, ...]:
    high, low, close, volume = row
    if name in SERIES:
        return (close,)
    if name in CANDLES:
        return (high, low, close)
    if name in CHANNELS:
        return (high, low)
    return (close, volume) if name in VOLUMES else (close, volume, number // 7)


def lines(value: Any) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def test_every_exported_indicator_is_held_to_the_contract() -> None:
    assert set(ALL) == set(ind.__all__) - {"Indicator", "State"}


@pytest.mark.parametrize("name", ALL)
def test_ready_comes_with_update_number_warmup(name: str) -> None:
    indicator = ALL[name]()
    assert not hasattr(indicator, "__dict__")
    for number in range(2 * indicator.warmup + 5):
        row = (10.0 + number % 4, 8.0 - number % 3, 9.0 + number % 2, 5.0)
        got = indicator.update(*inputs(name, 0, row))
        assert repr(got) == repr(indicator.value)
        assert indicator.ready == (number + 1 >= indicator.warmup)
        assert math.isnan(lines(got)[0]) == (not indicator.ready)


@pytest.mark.parametrize("name", ALL)
@given(rows=candles, data=st.data())
# One example costs about 100 updates: 60 of them find a field missing from a snapshot at once.
@settings(max_examples=60, deadline=None)
def test_restored_is_continued_bit_for_bit(
    name: str, rows: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    one = ALL[name]()
    for number, row in enumerate(rows[:cut]):
        one.update(*inputs(name, number, row))
    snapshot = one.state()
    stored = msgspec.json.encode(snapshot)
    other = ALL[name]()
    other.update(*inputs(name, 0, (3.0, 1.0, 2.0, 1.0)))
    other.restore(msgspec.json.decode(stored))
    assert repr((other.value, other.ready)) == repr((one.value, one.ready))
    for number, row in enumerate(rows[cut:], start=cut):
        values = inputs(name, number, row)
        assert repr(one.update(*values)) == repr(other.update(*values))
    assert msgspec.json.encode(one.state()) == msgspec.json.encode(other.state())
    # Going on has not reached into the snapshot.
    assert msgspec.json.encode(snapshot) == stored


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("warm", [0, 40])
def test_input_that_is_not_finite_is_refused_and_changes_nothing(name: str, bad: float, warm: int) -> None:
    indicator = ALL[name]()
    for number in range(warm):
        indicator.update(*inputs(name, number, (10.0 + number % 4, 8.0, 9.0, 5.0)))
    before = msgspec.json.encode(indicator.state())
    good = list(inputs(name, warm, (10.0, 8.0, 9.0, 5.0)))
    for at in range(len(good) - (name in SESSIONS)):
        with pytest.raises(ValueError, match="must be finite"):
            indicator.update(*good[:at], bad, *good[at + 1 :])
    assert msgspec.json.encode(indicator.state()) == before


@pytest.mark.parametrize("name", [*CANDLES, *CHANNELS])
def test_a_high_below_its_low_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="high not below low"):
        ALL[name]().update(*inputs(name, 0, (1.0, 2.0, 1.5, 1.0)))


@pytest.mark.parametrize("name", [*VOLUMES, *SESSIONS])
def test_a_negative_volume_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="volume not negative"):
        ALL[name]().update(*inputs(name, 0, (1.0, 1.0, 1.0, -1.0)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ind.SMA(0),
        lambda: ind.EMA(-1),
        lambda: ind.EMA(2.5),  # type: ignore[arg-type]
        lambda: ind.WMA(True),
        lambda: ind.RSI(0),
        lambda: ind.ADX(1),
        lambda: ind.CCI(1),
        lambda: ind.LinearRegressionSlope(1),
        lambda: ind.MACD(26, 12, 9),
        lambda: ind.MACD(12, 26, 0),
        lambda: ind.Bollinger(20, 0.0),
        lambda: ind.Bollinger(20, math.nan),
        lambda: ind.Stochastic(5, 0, 3),
    ],
)
def test_parameters_out_of_range_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()


def test_a_snapshot_of_another_indicator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state of SMA\(5,\) offered to SMA\(6,\)"):
        ind.SMA(6).restore(ind.SMA(5).state())
    with pytest.raises(ValueError, match="state of Highest"):
        ind.Lowest(5).restore(ind.Highest(5).state())
    with pytest.raises(ValueError, match="state needs"):
        ind.EMA(5).restore({"kind": "EMA", "params": [5]})


def test_a_period_of_one() -> None:
    for make in (ind.SMA, ind.EMA, ind.WMA, ind.Highest, ind.Lowest):
        one = make(1)
        assert [one.update(x) for x in (3.0, 1.0, 2.0)] == [3.0, 1.0, 2.0]
    deviation = ind.StdDev(1)
    assert [deviation.update(x) for x in (3.0, 1.0)] == [0.0, 0.0]
    rsi = ind.RSI(1)
    assert [rsi.update(x) for x in (3.0, 4.0, 4.0, 2.0)][1:] == [100.0, 0.0, 0.0]
    atr, span = ind.ATR(1), ind.TrueRange()
    for row in ((3.0, 1.0, 2.0), (9.0, 8.0, 8.5), (5.0, 4.0, 4.5)):
        assert repr(atr.update(*row)) == repr(span.update(*row))


# 0.1 and 1300.7 have no exact binary form: sums of them round.
@pytest.mark.parametrize("level", [0.1, 1300.7, 5.0])
def test_a_constant_series(level: float) -> None:
    made = {name: make() for name, make in ALL.items()}
    for number in range(200):
        for name, indicator in made.items():
            indicator.update(*inputs(name, number, (level, level, level, 1.0)))
    for name in ("RSI", "ROC", "MOM", "StdDev", "TrueRange", "ATR", "CCI"):
        assert made[name].value == 0.0, name
    for name in ("FastStochastic", "Stochastic", "ADX"):
        assert set(made[name].value) == {0.0}, name
    for name in ("EMA", "Highest", "Lowest"):
        assert made[name].value == pytest.approx(level, rel=4 * EPS), name
    assert set(made["Donchian"].value) == {level}
    upper, middle, lower = made["Bollinger"].value
    assert upper == middle == lower == level
    assert made["OBV"].value == 1.0


numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80)
periods = st.integers(1, 12)


def windows(xs: list[float], n: int) -> list[list[float]]:
    return [xs[end - n : end] for end in range(n, len(xs) + 1)]


def run(indicator: Any, xs: list[float]) -> list[Any]:
    return [indicator.update(x) for x in xs][indicator.warmup - 1 :]


@given(numbers, periods)
def test_extremes_are_exact(xs: list[float], n: int) -> None:
    assert run(ind.Highest(n), xs) == [max(w) for w in windows(xs, n)]
    assert run(ind.Lowest(n), xs) == [min(w) for w in windows(xs, n)]


@given(numbers, periods)
def test_averages_are_within_the_rounding_of_their_own_window(xs: list[float], n: int) -> None:
    """Whatever came before the window has no effect: the bound holds only what is in it."""
    weights = range(1, n + 1)
    for w, sma, wma in zip(windows(xs, n), run(ind.SMA(n), xs), run(ind.WMA(n), xs), strict=True):
        scale = max(map(abs, w))
        assert abs(sma - math.fsum(w) / n) <= n * EPS * scale
        expected = math.fsum(k * x for k, x in zip(weights, w, strict=True)) / sum(weights)
        # Products, two sums and a join round, each by up to n ulps of the window's largest.
        assert abs(wma - expected) <= 4 * n * EPS * scale


@given(numbers, periods)
def test_deviation_is_the_two_pass_definition(xs: list[float], n: int) -> None:
    for w, got in zip(windows(xs, n), run(ind.StdDev(n), xs), strict=True):
        mean = math.fsum(w) / n
        expected = math.sqrt(math.fsum((x - mean) ** 2 for x in w) / n)
        # Welford's error grows with n times the mean in ulps, not with its square.
        assert abs(got - expected) <= 8 * n * EPS * max(map(abs, w))
        if len(set(w)) == 1:
            assert got == 0.0


@given(numbers, st.integers(2, 12))
def test_slope_is_least_squares(xs: list[float], n: int) -> None:
    offsets = [k - (n - 1) / 2 for k in range(n)]
    for w, got in zip(windows(xs, n), run(ind.LinearRegressionSlope(n), xs), strict=True):
        expected = math.fsum(map(math.prod, zip(offsets, w, strict=True))) / math.fsum(k * k for k in offsets)
        assert abs(got - expected) <= 16 * n * EPS * max(map(abs, w))


@given(candles, periods)
def test_vwap_is_value_over_volume(rows: list[tuple[float, float, float, float]], n: int) -> None:
    rolling, session = ind.RollingVWAP(n), ind.SessionVWAP()
    for end, (_, _, close, volume) in enumerate(rows, start=1):
        got = rolling.update(close, volume), session.update(close, volume, (end - 1) // 7)
        last = rows[end - n : end] if end >= n else []
        for value, window in zip(got, (last, rows[(end - 1) // 7 * 7 : end]), strict=True):
            total = math.fsum(row[3] for row in window)
            # Subnormal volumes lose digits before any sum is taken.
            if total > 1e-6:
                expected = math.fsum(row[2] * row[3] for row in window) / total
                assert value == pytest.approx(expected, rel=1e-12)


def test_an_outlier_is_gone_when_it_has_left_the_window() -> None:
    sma, deviation = ind.SMA(3), ind.StdDev(3)
    for x in (1.0, 1e18, 1.0, 2.0, 3.0):
        sma.update(x)
        deviation.update(x)
    assert sma.value == 2.0
    assert deviation.value == pytest.approx(math.sqrt(2 / 3), rel=4 * EPS)


def test_a_session_without_volume_has_no_average_price() -> None:
    vwap = ind.SessionVWAP()
    assert vwap.update(10.0, 2.0, 1) == 10.0
    assert vwap.update(13.0, 1.0, 1) == 11.0
    assert math.isnan(vwap.update(20.0, 0.0, 2))
    assert not vwap.ready
    assert vwap.update(30.0, 1.0, 2) == 30.0
