"""How far prices move: true range, ATR, standard deviation, Bollinger bands."""

from math import sqrt

from actors.indicators.base import INF, NAN, Indicator, check_period, refuse


class TrueRange(Indicator[float]):
    """Wilder's true range: the span of the candle and the close before it. Ready on the second candle."""

    __slots__ = ("_close", "_count")
    _fields = ("_close", "_count")

    def __init__(self) -> None:
        super().__init__((), 2, NAN)
        self._close = 0.0
        self._count = 0

    def update(self, high: float, low: float, close: float) -> float:
        """Add one candle; the range, in price units."""
        if not (-INF < low <= high < INF and -INF < close < INF):
            refuse(high=high, low=low, close=close)
        before, self._close = self._close, close
        if self._count == 0:
            self._count = 1
            return NAN
        self.ready = True
        self.value = value = (high if high > before else before) - (low if low < before else before)
        return value


class ATR(Indicator[float]):
    """Wilder's average true range, seeded with the SMA of the first `period` true ranges (TA-Lib)."""

    __slots__ = ("_close", "_count", "_keep", "_period", "_seed")
    _fields = ("_close", "_count", "_seed")

    def __init__(self, period: int = 14) -> None:
        super().__init__((check_period("period", period),), period + 1, NAN)
        self._period = period
        self._keep = period - 1
        self._close = 0.0
        self._count = 0
        self._seed = 0.0

    def update(self, high: float, low: float, close: float) -> float:
        """Add one candle; the average range, in price units."""
        if not (-INF < low <= high < INF and -INF < close < INF):
            refuse(high=high, low=low, close=close)
        before = self._close
        self._close = close
        if self.ready:
            span = (high if high > before else before) - (low if low < before else before)
            self.value = value = (self.value * self._keep + span) / self._period
            return value
        if self._count:
            self._seed += (high if high > before else before) - (low if low < before else before)
        self._count += 1
        if self._count == self.warmup:
            self.value = self._seed / self._period
            self.ready = True
        return self.value


class _Moments(Indicator[float]):
    """Mean and squared deviations over a window, without subtraction of sums.

    The two-stack queue again (see `averages`), holding means and sums of squared deviations instead of sums:
    inputs are added by Welford's recurrence and the two parts joined by the rule of Chan, Golub and LeVeque
    (1979). A constant window has a deviation of exactly 0.
    """

    __slots__ = ("_block", "_m2", "_m2s", "_mean", "_means", "_period")
    _fields = ("_block", "_m2", "_m2s", "_mean", "_means")

    def __init__(self, period: int) -> None:
        super().__init__((period,), period, NAN)
        self._period = period
        self._block: list[float] = []
        self._mean = self._m2 = 0.0
        self._means = [0.0] * period
        self._m2s = [0.0] * period

    def push(self, x: float) -> tuple[float, float]:
        """Add one input; (mean, population standard deviation), meaningless until `ready`."""
        if x - x != 0.0:
            refuse(x=x)
        period, means, block = self._period, self._means, self._block
        block.append(x)
        count = len(block)
        delta = x - self._mean
        self._mean = mean = self._mean + delta / count
        self._m2 = m2 = self._m2 + delta * (x - mean)
        older = period - count
        delta = means.pop() - mean
        m2 += self._m2s.pop() + delta * delta * (count * older / period)
        mean += delta * older / period
        if not older:
            self._turn()
        return mean, sqrt(m2 / period)

    def _turn(self) -> None:
        mean = m2 = 0.0
        means, m2s = [mean], [m2]
        for count, x in enumerate(reversed(self._block[1:]), start=1):
            delta = x - mean
            mean += delta / count
            m2 += delta * (x - mean)
            means.append(mean)
            m2s.append(m2)
        self._means, self._m2s = means, m2s
        self._block.clear()
        self._mean = self._m2 = 0.0
        self.ready = True


class StdDev(_Moments):
    """Population standard deviation of the last `period` inputs (divided by n, as TA-Lib STDDEV)."""

    __slots__ = ()

    def __init__(self, period: int = 5) -> None:
        super().__init__(check_period("period", period))

    def update(self, x: float) -> float:
        """Add one input; the deviation, in the input's unit."""
        deviation = self.push(x)[1]
        if self.ready:
            self.value = deviation
        return self.value


class Bollinger(Indicator[tuple[float, float, float]]):
    """Bollinger bands: `value` is (upper, middle, lower), SMA and `deviations` population deviations."""

    __slots__ = ("_deviations", "_moments")
    _fields = ("_moments",)

    def __init__(self, period: int = 20, deviations: float = 2.0) -> None:
        if not 0.0 < deviations < INF:
            raise ValueError(f"deviations must be finite and above 0, got {deviations!r}")
        super().__init__((check_period("period", period), deviations), period, (NAN, NAN, NAN))
        self._moments = _Moments(period)
        self._deviations = deviations

    def update(self, x: float) -> tuple[float, float, float]:
        """Add one input; (upper, middle, lower), in the input's unit."""
        middle, deviation = self._moments.push(x)
        if self._moments.ready:
            width = deviation * self._deviations
            self.value = (middle + width, middle, middle - width)
            self.ready = True
        return self.value

    @property
    def upper(self) -> float:
        return self.value[0]

    @property
    def middle(self) -> float:
        return self.value[1]

    @property
    def lower(self) -> float:
        return self.value[2]
