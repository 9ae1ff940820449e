"""Momentum of one series: RSI, MACD, rate of change."""

from actors.indicators.base import NAN, Indicator, check_period, refuse


class RSI(Indicator[float]):
    """Wilder's relative strength index, 0 to 100: averages seeded with the SMA of the first `period` changes.

    With neither gains nor losses in memory (a constant series) the value is 0, as in TA-Lib.
    """

    __slots__ = ("_count", "_gain", "_keep", "_last", "_loss", "_period")
    _fields = ("_count", "_gain", "_last", "_loss")

    def __init__(self, period: int = 14) -> None:
        super().__init__((check_period("period", period),), period + 1, NAN)
        self._period = period
        self._keep = period - 1
        self._count = 0
        self._last = self._gain = self._loss = 0.0

    def update(self, x: float) -> float:
        """Add one input; the index in percent."""
        if x - x != 0.0:
            refuse(x=x)
        if not self.ready:
            return self._warm(x)
        change = x - self._last
        self._last = x
        period, keep = self._period, self._keep
        if change < 0.0:
            self._gain = gain = self._gain * keep / period
            self._loss = loss = (self._loss * keep - change) / period
        else:
            self._gain = gain = (self._gain * keep + change) / period
            self._loss = loss = self._loss * keep / period
        both = gain + loss
        self.value = value = 100.0 * (gain / both) if both != 0.0 else 0.0
        return value

    def _warm(self, x: float) -> float:
        change = x - self._last if self._count else 0.0
        self._last = x
        if change < 0.0:
            self._loss -= change
        else:
            self._gain += change
        self._count += 1
        if self._count == self.warmup:
            self._gain /= self._period
            self._loss /= self._period
            both = self._gain + self._loss
            self.value = 100.0 * (self._gain / both) if both != 0.0 else 0.0
            self.ready = True
        return self.value


class MACD(Indicator[tuple[float, float, float]]):
    """Moving average convergence/divergence: `value` is (line, signal, histogram), line = fast - slow EMA.

    As in TA-Lib the fast EMA is seeded with the SMA of the last `fast` of the first `slow` inputs, so that
    both EMAs begin on the same candle, and the signal with the SMA of the first `signal` lines. All three
    lines appear together, when the signal is known.
    """

    __slots__ = ("_count", "_fast", "_k_fast", "_k_signal", "_k_slow", "_signal", "_slow")
    _fields = ("_count", "_fast", "_signal", "_slow")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        check_period("fast", fast)
        check_period("signal", signal)
        if check_period("slow", slow) <= fast:
            raise ValueError(f"slow must be greater than fast, got fast={fast}, slow={slow}")
        super().__init__((fast, slow, signal), slow + signal - 1, (NAN, NAN, NAN))
        self._k_fast, self._k_slow, self._k_signal = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (signal + 1)
        self._count = 0
        self._fast = self._slow = self._signal = 0.0

    def update(self, x: float) -> tuple[float, float, float]:
        """Add one input; (line, signal, histogram), in the input's unit."""
        if x - x != 0.0:
            refuse(x=x)
        if not self.ready:
            return self._warm(x)
        fast, slow, signal = self._fast, self._slow, self._signal
        self._fast = fast = (x - fast) * self._k_fast + fast
        self._slow = slow = (x - slow) * self._k_slow + slow
        line = fast - slow
        self._signal = signal = (line - signal) * self._k_signal + signal
        self.value = value = (line, signal, line - signal)
        return value

    def _warm(self, x: float) -> tuple[float, float, float]:
        n_fast, n_slow, n_signal = (int(n) for n in self.params)
        self._count = count = self._count + 1
        if count <= n_slow:
            self._slow += x
            self._fast += x if count > n_slow - n_fast else 0.0
            if count < n_slow:
                return self.value
            self._slow /= n_slow
            self._fast /= n_fast
        else:
            self._fast = (x - self._fast) * self._k_fast + self._fast
            self._slow = (x - self._slow) * self._k_slow + self._slow
        line = self._fast - self._slow
        self._signal += line
        if count == self.warmup:
            self._signal /= n_signal
            self.value = (line, self._signal, line - self._signal)
            self.ready = True
        return self.value

    @property
    def line(self) -> float:
        return self.value[0]

    @property
    def signal(self) -> float:
        return self.value[1]

    @property
    def histogram(self) -> float:
        return self.value[2]


class _Lag(Indicator[float]):
    """A ring of the last `period` inputs: `_swap` gives the input `period` updates ago."""

    __slots__ = ("_at", "_ring")
    _fields = ("_at", "_ring")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period + 1, NAN)
        self._ring: list[float] = []
        self._at = 0

    def _swap(self, x: float) -> float:
        if x - x != 0.0:
            refuse(x=x)
        ring = self._ring
        if not self.ready:
            if len(ring) < self.params[0]:
                ring.append(x)
                return NAN
            self.ready = True
        at = self._at
        old, ring[at] = ring[at], x
        self._at = at + 1 if at + 1 < len(ring) else 0
        return old


class MOM(_Lag):
    """Change over `period` updates: x - x[period ago]."""

    __slots__ = ()

    def update(self, x: float) -> float:
        """Add one input; the change, in the input's unit."""
        self.value = value = x - self._swap(x)
        return value


class ROC(_Lag):
    """Change over `period` updates in percent: 100 * (x / x[period ago] - 1); 0 if that was 0 (TA-Lib)."""

    __slots__ = ()

    def update(self, x: float) -> float:
        """Add one input; the change in percent."""
        old = self._swap(x)
        self.value = value = (x / old - 1.0) * 100.0 if old != 0.0 else 0.0
        return value
