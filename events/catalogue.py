"""The catalogue: every fact that may stand on a tape, in its newest version."""

from __future__ import annotations

from . import control, market, trading
from .fact import Fact, tag


def _facts_of(module: object) -> list[type[Fact]]:
    found = [f for f in vars(module).values() if isinstance(f, type) and issubclass(f, Fact) and f is not Fact]
    return sorted(found, key=tag)


FACTS: tuple[type[Fact], ...] = tuple(
    fact for module in (market, trading, control) for fact in _facts_of(module) if fact is not control.Unreadable
)
