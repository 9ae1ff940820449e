"""Facts that no table can hold are known here, one by one, and not only when the database refuses a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec

from events.fact import Fact

_DIGITS_MAX = 1000  # far above any money, far below the limits of the type numeric
_HARMLESS = ("float", "bytes", "bool")


def check(fact: Fact) -> None:
    """Raises ValueError for text with a zero byte, integers beyond 64 bits and numbers beyond 1,000 digits."""
    for value in _doubtful(type(fact))(fact):
        kind = type(value)
        if kind is str:
            if "\0" in value:
                raise ValueError("text with a zero byte")
        elif kind is int:
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} does not fit in 64 bits")
        elif kind is Decimal:
            if not -_DIGITS_MAX < value.adjusted() < _DIGITS_MAX:
                raise ValueError(f"a number with an exponent of {value.adjusted()}")
        elif kind in (dict, tuple) and b"\\u0000" in msgspec.json.encode(value):
            raise ValueError("text with a zero byte")


@cache
def _doubtful(fact: type[Fact]) -> Callable[[Fact], tuple[Any, ...]]:
    names = [
        field.name for field in msgspec.structs.fields(fact) if getattr(field.type, "__name__", "") not in _HARMLESS
    ]
    if len(names) < 2:
        return lambda fact: tuple(getattr(fact, name) for name in names)
    return attrgetter(*names)
