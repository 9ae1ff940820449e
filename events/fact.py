"""The base of every fact: what has happened, past tense, immutable, versioned."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """A subclass states its tag as `kind/version`; the kind is the last token of its subject.

    Facts hold plain values and never each other in a circle, so the garbage collector need not look at them.
    """


def tag(fact: Fact | type[Fact]) -> str:
    """The stable tag of a fact or its class, such as `candle/1`."""
    found = fact.__struct_config__.tag
    assert isinstance(found, str), f"{fact!r} has no tag"
    return found


def kind(fact: Fact | type[Fact]) -> str:
    """The tag without its version: `candle`."""
    return tag(fact).partition("/")[0]
