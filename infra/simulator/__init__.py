"""A seeded exchange that needs no network: prices, trades, books and outages follow from a number and the time."""

from .exchange import candle, columns
from .feed import resume, source, stream
from .pairs import PAIRS, VENUE
from .plan import default_plan, symbols
from .settings import SimulatorSettings

__all__ = [
    "PAIRS",
    "VENUE",
    "SimulatorSettings",
    "candle",
    "columns",
    "default_plan",
    "resume",
    "source",
    "stream",
    "symbols",
]
