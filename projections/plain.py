"""Facts that no table can hold are known here, one by one, and not only when the database refuses a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, cast, get_args

import msgspec

from events.fact import Fact

_DIGITS_MAX = 1000  # far above any money, far below the limits of the type numeric
_INT_MAX = 2**63
_NAME_MAX = 200  # characters: three in one key still fit an index, which takes 2,704 bytes
_FREE = frozenset(("detail", "reason", "source", "subject"))  # sentences and addresses, in no key
_HARMLESS = frozenset((float, bytes, bool, NoneType, ...))


def check(fact: Fact) -> None:
    """Raises ValueError for a zero byte, a name too long for a key, an integer beyond 64 bits, a number too far out."""
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        kind = type(value)
        if kind is str:
            if "\0" in value:
                raise ValueError("text with a zero byte")
            if len(value) > _NAME_MAX and name not in _FREE:
                raise ValueError(f"`{name}` has {len(value)} characters, more than {_NAME_MAX}")
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
    """Says quickly of facts of a type whether `check` has to look at one: an expression made for the type."""
    fields = msgspec.structs.fields(kind)
    names = "".join(f"{{fact.{field.name}}}" for field in fields if field.type is str and field.name not in _FREE)
    terms = [f"'\\0' in (text := f'{names}') or len(text) > NAME"] if names else []  # one look at all of them
    terms += [term for field in fields if (term := _doubt(field.name, field.type))]
    known = {"TOO_LARGE": _INT_MAX, "DIGITS": _DIGITS_MAX, "NAME": _NAME_MAX}
    return cast("Callable[[Any], bool]", eval(f"lambda fact: {' or '.join(terms) or 'False'}", known))


def _doubt(name: str, annotation: Any) -> str:
    """When a field is doubtful, in Python; '' for never."""
    value, kinds = f"fact.{name}", set(get_args(annotation)) - {NoneType}
    optional = f"{value} is not None and "
    if annotation is str:
        return f"'\\0' in {value}" if name in _FREE else ""
    if annotation is int or kinds == {int}:
        return f"({optional if kinds else ''}not -TOO_LARGE <= {value} < TOO_LARGE)"
    if annotation is Decimal or kinds == {Decimal}:
        return f"({optional if kinds else ''}not -DIGITS < {value}.adjusted() < DIGITS)"
    if annotation == tuple[str, ...]:
        return f"'\\0' in ''.join({value})"
    return "" if _leaves(annotation) <= _HARMLESS else "True"


def _leaves(annotation: Any) -> set[Any]:
    parts = get_args(annotation)
    return set().union(*map(_leaves, parts)) if parts else {annotation}
