"""Rolling extremes and what is measured against them: Highest, Lowest, Donchian, Stochastic.

The extremes use the two-stack queue of `averages` with max and min for the sum; it gives the same answers as
a monotonic deque at the same cost (O(1) amortised), and its snapshot has the same form as an average's.
"""

from itertools import accumulate

from actors.indicators.averages import SMA
from actors.indicators.base import INF, NAN, ROUNDING, Indicator, check_period, refuse


class Highest(Indicator[float]):
    """Greatest of the last `period` inputs."""

    __slots__ = ("_block", "_prefix", "_suffix")
    _fields = ("_block", "_prefix", "_suffix")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period, NAN)
        self._block: list[float] = []
        self._prefix = NAN
        self._suffix = [NAN] * period

    def update(self, x: float) -> float:
        """Add one input; the greatest in the window."""
        if x - x != 0.0:
            refuse(x=x)
        suffix = self._suffix
        self._block.append(x)
        best = self._prefix
        # Comparisons with NaN (nothing there yet) are false: each one below then takes the new input.
        if not best >= x:
            self._prefix = best = x
        older = suffix.pop()
        if older > best:
            best = older
        if not suffix:
            self._suffix = [NAN, *accumulate(reversed(self._block[1:]), max)]
            self._block.clear()
            self._prefix = NAN
            self.ready = True
        if self.ready:
            self.value = best
            return best
        return NAN


class Lowest(Indicator[float]):
    """Least of the last `period` inputs."""

    __slots__ = ("_block", "_prefix", "_suffix")
    _fields = ("_block", "_prefix", "_suffix")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period, NAN)
        self._block: list[float] = []
        self._prefix = NAN
        self._suffix = [NAN] * period

    def update(self, x: float) -> float:
        """Add one input; the least in the window."""
        if x - x != 0.0:
            refuse(x=x)
        suffix = self._suffix
        self._block.append(x)
        best = self._prefix
        if not best <= x:
            self._prefix = best = x
        older = suffix.pop()
        if older < best:
            best = older
        if not suffix:
            self._suffix = [NAN, *accumulate(reversed(self._block[1:]), min)]
            self._block.clear()
            self._prefix = NAN
            self.ready = True
        if self.ready:
            self.value = best
            return best
        return NAN


class Donchian(Indicator[tuple[float, float, float]]):
    """Donchian channel: `value` is (upper, middle, lower): extremes of `period` candles, their midpoint."""

    __slots__ = ("_high", "_low")
    _fields = ("_high", "_low")

    def __init__(self, period: int = 20) -> None:
        super().__init__((check_period("period", period),), period, (NAN, NAN, NAN))
        self._high = Highest(period)
        self._low = Lowest(period)

    def update(self, high: float, low: float) -> tuple[float, float, float]:
        """Add one candle; (upper, middle, lower), in price units. The window includes this candle."""
        if not -INF < low <= high < INF:
            refuse(high=high, low=low)
        upper, lower = self._high.update(high), self._low.update(low)
        self.value = value = (upper, (upper + lower) / 2.0, lower)
        self.ready = self._high.ready
        return value

    @property
    def upper(self) -> float:
        return self.value[0]

    @property
    def middle(self) -> float:
        return self.value[1]

    @property
    def lower(self) -> float:
        return self.value[2]


class FastStochastic(Indicator[tuple[float, float]]):
    """Fast stochastic: `value` is (K, D), K = 100 * (close - lowest) / (highest - lowest), D its SMA.

    K is 0 where the window has no span but rounding (TA-Lib STOCHF). Both appear together, when D is known.
    """

    __slots__ = ("_d", "_high", "_low")
    _fields = ("_d", "_high", "_low")

    def __init__(self, k: int = 5, d: int = 3) -> None:
        check_period("k", k)
        super().__init__((k, check_period("d", d)), k + d - 1, (NAN, NAN))
        self._high = Highest(k)
        self._low = Lowest(k)
        self._d = SMA(d)

    def update(self, high: float, low: float, close: float) -> tuple[float, float]:
        """Add one candle; (K, D) in percent."""
        if not (-INF < low <= high < INF and -INF < close < INF):
            refuse(high=high, low=low, close=close)
        bottom = self._low.update(low)
        top = self._high.update(high)
        if self._high.ready:
            span = top - bottom
            k = (close - bottom) / (span / 100.0) if span > ROUNDING * (abs(top) + abs(bottom)) else 0.0
            d = self._d.update(k)
            if self._d.ready:
                self.value = (k, d)
                self.ready = True
        return self.value

    @property
    def k(self) -> float:
        return self.value[0]

    @property
    def d(self) -> float:
        return self.value[1]


class Stochastic(Indicator[tuple[float, float]]):
    """Slow stochastic: `value` is (K, D), K = SMA of the fast K over `slow_k`, D = SMA of K over `slow_d`.

    The defaults are TA-Lib STOCH's. Both appear together, when D is known.
    """

    __slots__ = ("_d", "_fast")
    _fields = ("_d", "_fast")

    def __init__(self, fast_k: int = 5, slow_k: int = 3, slow_d: int = 3) -> None:
        check_period("fast_k", fast_k)
        check_period("slow_k", slow_k)
        check_period("slow_d", slow_d)
        super().__init__((fast_k, slow_k, slow_d), fast_k + slow_k + slow_d - 2, (NAN, NAN))
        self._fast = FastStochastic(fast_k, slow_k)
        self._d = SMA(slow_d)

    def update(self, high: float, low: float, close: float) -> tuple[float, float]:
        """Add one candle; (K, D) in percent."""
        k = self._fast.update(high, low, close)[1]
        if self._fast.ready:
            d = self._d.update(k)
            if self._d.ready:
                self.value = (k, d)
                self.ready = True
        return self.value

    @property
    def k(self) -> float:
        return self.value[0]

    @property
    def d(self) -> float:
        return self.value[1]
