"""Moving averages of one series, and the slope through it.

Windows are summed without ever subtracting: the sum over the last n inputs is a running sum over the current
block of n, plus a suffix sum over the end of the block before it (the two-stack queue). Nothing can drift, an
outlier is gone when it has left the window, and the cost is O(1) amortised: one pass over n inputs every n
updates.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from actors import kernels
from actors.indicators.base import NAN, Indicator, check_period, refuse


class SMA(Indicator[float]):
    """Simple moving average of the last `period` inputs."""

    __slots__ = ("_block", "_period", "_prefix", "_suffix")
    _fields = ("_block", "_prefix", "_suffix")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period, NAN)
        self._period = period
        self._block: list[float] = []
        self._prefix = 0.0
        # _suffix[-1] is the sum over the part of the last block that is still in the window.
        self._suffix = [0.0] * period

    def update(self, x: float) -> float:
        """Add one input; the average, in the input's unit."""
        if x - x != 0.0:
            refuse(x=x)
        suffix = self._suffix
        self._prefix = prefix = self._prefix + x
        self._block.append(x)
        total = suffix.pop() + prefix
        if not suffix:
            self._turn()
        elif not self.ready:
            return NAN
        self.value = value = total / self._period
        return value

    def _turn(self) -> None:
        block = self._block
        self._suffix = list(accumulate(reversed(block[1:]), initial=0.0))
        block.clear()
        self._prefix = 0.0
        self.ready = True


class EMA(Indicator[float]):
    """Exponential moving average, k = 2 / (period + 1), seeded with the SMA of the first `period`."""

    __slots__ = ("_count", "_k", "_period", "_seed")
    _fields = ("_count", "_seed")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period, NAN)
        self._period = period
        self._k = 2.0 / (period + 1)
        self._count = 0
        self._seed = 0.0

    def update(self, x: float) -> float:
        """Add one input; the average, in the input's unit."""
        if x - x != 0.0:
            refuse(x=x)
        if self.ready:
            value = self.value
            self.value = value = (x - value) * self._k + value
            return value
        self._count += 1
        self._seed += x
        if self._count == self._period:
            self.value = self._seed / self._period
            self.ready = True
        return self.value

    def _run(self, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        (x,) = columns
        seed = 0 if self.ready else min(len(x), self._period - self._count)
        if not np.isfinite(x).all():
            refuse(x=float(x[~np.isfinite(x)][0]))
        out = np.empty(len(x))
        out[:seed] = [self.update(one) for one in x[:seed].tolist()]
        if seed < len(x):
            kernels.ema(x[seed:], self._k, self.value, out[seed:])
            self.value = float(out[-1])
        return out


class _Weighted(Indicator[float]):
    """Sums over the last n inputs x_1 (oldest) to x_n: plain, and weighted by 1..n."""

    __slots__ = ("_block", "_period", "_prefix", "_ramp", "_ramps", "_sums")
    _fields = ("_block", "_prefix", "_ramp", "_ramps", "_sums")

    def __init__(self, period: int, least: int) -> None:
        super().__init__((check_period("period", period, least),), period, NAN)
        self._period = period
        self._block: list[float] = []
        self._prefix = 0.0
        self._ramp = 0.0
        self._sums = [0.0] * period
        self._ramps = [0.0] * period

    def _push(self, x: float) -> tuple[float, float]:
        if x - x != 0.0:
            refuse(x=x)
        block, ramps = self._block, self._ramps
        block.append(x)
        self._prefix = prefix = self._prefix + x
        self._ramp = ramp = self._ramp + len(block) * x
        plain = self._sums.pop() + prefix
        # The current block's weights begin where those of what is left of the last block end.
        weighted = ramps.pop() + (ramp + len(ramps) * prefix)
        if not ramps:
            self._sums = list(accumulate(reversed(block[1:]), initial=0.0))
            # One more older input raises every weight by one: add the plain sum.
            self._ramps = list(accumulate(self._sums))
            block.clear()
            self._prefix = self._ramp = 0.0
            self.ready = True
        return plain, weighted


class WMA(_Weighted):
    """Linearly weighted moving average: the latest of `period` inputs weighs `period`, the oldest 1."""

    __slots__ = ("_divider",)

    def __init__(self, period: int) -> None:
        super().__init__(period, 1)
        self._divider = period * (period + 1) / 2

    def update(self, x: float) -> float:
        """Add one input; the average, in the input's unit."""
        weighted = self._push(x)[1]
        if self.ready:
            self.value = weighted / self._divider
        return self.value


class LinearRegressionSlope(_Weighted):
    """Slope of the least-squares line through the last `period` inputs (TA-Lib LINEARREG_SLOPE)."""

    __slots__ = ("_middle", "_spread")

    def __init__(self, period: int) -> None:
        super().__init__(period, 2)
        self._middle = (period + 1) / 2
        self._spread = period * (period * period - 1) / 12

    def update(self, x: float) -> float:
        """Add one input; the slope, in the input's unit per update."""
        plain, weighted = self._push(x)
        if self.ready:
            self.value = (weighted - self._middle * plain) / self._spread
        return self.value
