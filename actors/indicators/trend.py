"""Direction and its strength: ADX with its directional indicators, CCI."""

from actors.indicators.base import INF, NAN, ROUNDING, Indicator, check_period, refuse


class ADX(Indicator[tuple[float, float, float]]):
    """Wilder's average directional index: `value` is (ADX, +DI, -DI), each 0 to 100.

    Wilder's sums over period - 1 candles seed the directional movement; the SMA of the first `period` DX
    seeds the ADX (TA-Lib). The directional indicators are there from candle `warmup_di` = period + 1 on,
    the ADX and `ready` from candle 2 * period.
    """

    __slots__ = ("_adx", "_close", "_count", "_down", "_high", "_keep", "_low", "_period", "_range", "_up")
    _fields = ("_adx", "_close", "_count", "_down", "_high", "_low", "_range", "_up")

    def __init__(self, period: int = 14) -> None:
        super().__init__((check_period("period", period, 2),), 2 * period, (NAN, NAN, NAN))
        self._period = period
        self._keep = period - 1
        self._count = 0
        self._high = self._low = self._close = 0.0
        self._up = self._down = self._range = self._adx = 0.0

    @property
    def warmup_di(self) -> int:
        return self._period + 1

    @property
    def adx(self) -> float:
        return self.value[0]

    @property
    def plus_di(self) -> float:
        return self.value[1]

    @property
    def minus_di(self) -> float:
        return self.value[2]

    def update(self, high: float, low: float, close: float) -> tuple[float, float, float]:
        """Add one candle; (ADX, +DI, -DI) in percent."""
        if not (-INF < low <= high < INF and -INF < close < INF):
            refuse(high=high, low=low, close=close)
        up, down, before = high - self._high, self._low - low, self._close
        self._high, self._low, self._close = high, low, close
        count = self._count
        if count < 2 * self._period:
            self._count = count + 1
            if count == 0:
                return self.value
        span = (high if high > before else before) - (low if low < before else before)
        if count >= self._period:
            self._up -= self._up / self._period
            self._down -= self._down / self._period
            self._range -= self._range / self._period
        self._range += span
        if down > 0.0 and up < down:
            self._down += down
        elif up > 0.0 and up > down:
            self._up += up
        if count >= self._period:
            self._index(count)
        return self.value

    def _index(self, count: int) -> None:
        period, true_range = self._period, self._range
        plus = minus = 0.0
        strength = -1.0
        if true_range != 0.0:
            plus = 100.0 * (self._up / true_range)
            minus = 100.0 * (self._down / true_range)
            if plus + minus != 0.0:
                strength = 100.0 * (abs(minus - plus) / (plus + minus))
        # A candle without direction adds nothing to the seed, and leaves a running ADX as it is.
        if self.ready:
            if strength >= 0.0:
                self._adx = (self._adx * self._keep + strength) / period
        else:
            self._adx += max(strength, 0.0)
            if count == 2 * period - 1:
                self._adx /= period
                self.ready = True
        self.value = (self._adx if self.ready else NAN, plus, minus)


class CCI(Indicator[float]):
    """Lambert's commodity channel index of the typical price (H + L + C) / 3.

    0 where the price is at the mean, or the window constant, but for rounding (TA-Lib). The mean deviation is
    about a mean that moves with every candle, so an update costs O(period).
    """

    __slots__ = ("_at", "_period", "_ring")
    _fields = ("_at", "_ring")

    def __init__(self, period: int = 14) -> None:
        super().__init__((check_period("period", period, 2),), period, NAN)
        self._period = period
        self._ring = [0.0] * period
        self._at = 0

    def update(self, high: float, low: float, close: float) -> float:
        """Add one candle; the index, without unit."""
        if not (-INF < low <= high < INF and -INF < close < INF):
            refuse(high=high, low=low, close=close)
        period, ring = self._period, self._ring
        ring[self._at] = typical = (high + low + close) / 3
        self._at += 1
        if self._at == period:
            self._at = 0
            self.ready = True
        if self.ready:
            # Plain loops in ring order: sum() rounds differently from Python 3.12 on.
            mean = 0.0
            for x in ring:
                mean += x
            mean /= period
            spread = 0.0
            for x in ring:
                spread += abs(x - mean)
            off = typical - mean
            spread /= period
            noise = ROUNDING * abs(mean)
            self.value = off / (0.015 * spread) if abs(off) > noise and spread > noise else 0.0
        return self.value
