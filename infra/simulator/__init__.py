"""A seeded exchange that needs no network: prices, trades, books and outages follow from a number and the time."""

from .settings import SimulatorSettings

__all__ = ["SimulatorSettings"]
