"""Streaming indicators, one update per closed candle, equal to TA-Lib's values: see the README here."""

from actors.indicators.averages import EMA, SMA, WMA, LinearRegressionSlope
from actors.indicators.base import Indicator, State
from actors.indicators.channel import Donchian, FastStochastic, Highest, Lowest, Stochastic
from actors.indicators.momentum import MACD, MOM, ROC, RSI
from actors.indicators.trend import ADX, CCI
from actors.indicators.volatility import ATR, Bollinger, StdDev, TrueRange
from actors.indicators.volume import OBV, RollingVWAP, SessionVWAP

__all__ = [
    "ADX",
    "ATR",
    "CCI",
    "EMA",
    "MACD",
    "MOM",
    "OBV",
    "ROC",
    "RSI",
    "SMA",
    "WMA",
    "Bollinger",
    "Donchian",
    "FastStochastic",
    "Highest",
    "Indicator",
    "LinearRegressionSlope",
    "Lowest",
    "RollingVWAP",
    "SessionVWAP",
    "State",
    "StdDev",
    "Stochastic",
    "TrueRange",
]
