"""Facts that no table can hold are known here, one by one, and not only when the database refuses a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, get_args

import msgspec

from events.fact import Fact

_DIGITS_MAX = 1000  # far above any money, far below the limits of the type numeric
_INT_MAX = 2**63
_HARMLESS = frozenset((float, bytes, bool, NoneType, ...))


def check(fact: Fact) -> None:
    """Raises ValueError for text with a zero byte, integers beyond 64 bits and numbers beyond 1,000 digits."""
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        kind = type(value)
        if kind is str:
            if "\0" in value:
                raise ValueError("text with a zero byte")
        elif kind is int:
            if not -_INT_MAX <= value < _INT_MAX:
                raise ValueError(f"{value} does not fit in 64 bits")
        elif kind is Decimal:
            if not -_DIGITS_MAX < value.adjusted() < _DIGITS_MAX:
                raise ValueError(f"a number with an exponent of {value.adjusted()}")
        elif kind in (dict, tuple) and b"\\u0000" in msgspec.json.encode(value):
            raise ValueError("text with a zero byte")


@cache
def doubtful(kind: type[Fact]) -> Callable[[Any], bool]:
    """Says quickly of facts of a type whether `check` has to look at one."""
    texts, integers, numbers, lists, others = _by_type(kind)
    if others:
        return lambda fact: True

    def doubt(fact: Any) -> bool:
        if "\0" in "".join(texts(fact)):
            return True
        for integer in integers(fact):
            if integer is not None and not -_INT_MAX <= integer < _INT_MAX:
                return True
        if numbers is not None:
            for number in numbers(fact):
                if number is not None and not -_DIGITS_MAX < number.adjusted() < _DIGITS_MAX:
                    return True
        return any("\0" in "".join(items) for items in lists(fact))

    return doubt


_Getter = Callable[[Any], tuple[Any, ...]]
_TYPES: tuple[Any, ...] = (str, int, Decimal, tuple[str, ...])


def _by_type(kind: type[Fact]) -> tuple[_Getter, _Getter, _Getter | None, _Getter, list[str]]:
    """How to get all text, integers, numbers and lists of text of a fact; and the fields that are none of these."""
    names: dict[Any, list[str]] = {one: [] for one in _TYPES}
    others: list[str] = []
    for field in msgspec.structs.fields(kind):
        one = _optional(field.type)
        if one in names:
            names[one].append(field.name)
        elif not _leaves(one) <= _HARMLESS:
            others.append(field.name)
    texts, integers, numbers, lists = (_getter(names[one]) for one in _TYPES)
    return texts, integers, numbers if names[Decimal] else None, lists, others


def _optional(annotation: Any) -> Any:
    """What a number is when it is not None."""
    found = set(get_args(annotation)) - {NoneType}
    return found.pop() if found in ({int}, {Decimal}) else annotation


def _leaves(annotation: Any) -> set[Any]:
    parts = get_args(annotation)
    return set().union(*map(_leaves, parts)) if parts else {annotation}


def _getter(names: list[str]) -> _Getter:
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda fact: ()
    get = attrgetter(*names)
    return lambda fact: (get(fact),)
