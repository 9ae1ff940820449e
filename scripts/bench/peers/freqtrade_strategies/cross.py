"""The common work as a strategy of freqtrade, which loads it from its folder by the name of the class."""

from __future__ import annotations

from typing import Any, ClassVar

from freqtrade.strategy import IStrategy

FAST, SLOW = 10, 20


class Cross(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1m"
    startup_candle_count = SLOW
    minimal_roi: ClassVar[dict[str, float]] = {"0": 1_000.0}
    stoploss = -0.99
    """Neither is ever reached."""

    def populate_indicators(self, dataframe: Any, metadata: Any) -> Any:
        for name, span in (("fast", FAST), ("slow", SLOW)):
            dataframe[name] = dataframe.close.ewm(span=span, adjust=False).mean()
        return dataframe

    def populate_entry_trend(self, dataframe: Any, metadata: Any) -> Any:
        gap = dataframe.fast - dataframe.slow
        dataframe.loc[(gap > 0) & (gap.shift() <= 0), "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: Any, metadata: Any) -> Any:
        gap = dataframe.fast - dataframe.slow
        dataframe.loc[(gap < 0) & (gap.shift() >= 0), "exit_long"] = 1
        return dataframe

    def custom_stake_amount(self, current_rate: float, **others: Any) -> float:
        return current_rate  # one unit
