"""Volume: on-balance volume and volume-weighted average prices."""

from itertools import accumulate
from typing import NoReturn

from actors.indicators.base import INF, NAN, Indicator, check_period


class OBV(Indicator[float]):
    """Granville's on-balance volume: it begins with the first candle's volume (TA-Lib), and never forgets."""

    __slots__ = ("_close",)
    _fields = ("_close",)

    def __init__(self) -> None:
        super().__init__((), 1, NAN)
        self._close = 0.0

    def update(self, close: float, volume: float) -> float:
        """Add one candle; the balance, in the volume's unit."""
        if not (-INF < close < INF and 0.0 <= volume < INF):
            refuse_volume(close=close, volume=volume)
        before, self._close = self._close, close
        if not self.ready:
            self.ready = True
            self.value = volume
        elif close > before:
            self.value += volume
        elif close < before:
            self.value -= volume
        return self.value


class SessionVWAP(Indicator[float]):
    """Volume-weighted average price since the session began; NaN, not ready, while it has no volume."""

    __slots__ = ("_session", "_value_traded", "_volume")
    _fields = ("_session", "_value_traded", "_volume")

    def __init__(self) -> None:
        super().__init__((), 1, NAN)
        self._session: int | None = None
        self._value_traded = self._volume = 0.0

    def update(self, price: float, volume: float, session: int) -> float:
        """Add one candle or trade; the average price.

        price: usually the typical price (H + L + C) / 3. session: any integer that is the same throughout a
        session, such as the day number of the candle's open time; a change starts afresh.
        """
        if not (-INF < price < INF and 0.0 <= volume < INF):
            refuse_volume(price=price, volume=volume)
        if session != self._session:
            self._session = session
            self._value_traded = self._volume = 0.0
            self.value = NAN
            self.ready = False
        self._value_traded += price * volume
        self._volume += volume
        if self._volume > 0.0:
            self.ready = True
            self.value = self._value_traded / self._volume
        return self.value


class RollingVWAP(Indicator[float]):
    """Volume-weighted average price of the last `period` candles; kept through a window without volume."""

    __slots__ = ("_block", "_prefix_value", "_prefix_volume", "_values", "_volumes", "_weights")
    _fields = ("_block", "_prefix_value", "_prefix_volume", "_values", "_volumes", "_weights")

    def __init__(self, period: int) -> None:
        super().__init__((check_period("period", period),), period, NAN)
        self._block: list[float] = []
        self._weights: list[float] = []
        self._prefix_value = self._prefix_volume = 0.0
        self._values = [0.0] * period
        self._volumes = [0.0] * period

    def update(self, price: float, volume: float) -> float:
        """Add one candle; the average price, NaN if no volume has been seen by the end of the warm-up."""
        if not (-INF < price < INF and 0.0 <= volume < INF):
            refuse_volume(price=price, volume=volume)
        self._block.append(price * volume)
        self._weights.append(volume)
        self._prefix_value += price * volume
        self._prefix_volume += volume
        value = self._values.pop() + self._prefix_value
        total = self._volumes.pop() + self._prefix_volume
        if not self._values:
            self._values = list(accumulate(reversed(self._block[1:]), initial=0.0))
            self._volumes = list(accumulate(reversed(self._weights[1:]), initial=0.0))
            self._block.clear()
            self._weights.clear()
            self._prefix_value = self._prefix_volume = 0.0
            self.ready = True
        if self.ready and total > 0.0:
            self.value = value / total
        return self.value


def refuse_volume(**inputs: float) -> NoReturn:
    """Raise the ValueError that names the inputs a volume indicator does not accept."""
    got = ", ".join(f"{name}={value!r}" for name, value in inputs.items())
    raise ValueError(f"inputs must be finite, and volume not negative: {got}")
