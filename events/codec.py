"""Facts to bytes and back: JSON, so that the NATS CLI shows readable text. Consumers know only the newest version."""

from __future__ import annotations

import difflib
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, Union

import msgspec
from msgspec import Meta

from .candlebytes import candle_bytes
from .catalogue import FACTS
from .control import Unreadable
from .decision import Decision, digest_of
from .fact import Fact, tag
from .market import Candle, Trade
from .tickbytes import trade_bytes
from .tradebytes import decision_words

SAID_MAX = 1_000
"""Characters of what is said against bytes that are no fact: their own words stand beside it in full."""
ID_MAX = 64
"""Characters of an id: ours have half of it, and each message that follows from one repeats it."""
_VERSION_DIGITS = 6
_NAME_MAX = 100  # far above any name of ours; comparing takes time with the square of it

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the fields of one version (without `type`) into those of the next."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("actor-claimed", 1): lambda fields: {**fields, "version": ""},
    ("stop-session", 1): lambda fields: {**fields, "orders": ""},
}
"""By (kind, version) of what it reads; the result is that kind at version + 1."""


_SINGLE: Mapping[type[Fact], Callable[[str, str, int, Any], bytes]] = {Candle: candle_bytes, Trade: trade_bytes}


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def legible(said: str) -> str:
    """A sentence that may quote anything: without control characters, which no table takes, and of bounded length."""
    if len(said) <= SAID_MAX and said.isprintable():
        return said
    return said.translate(_CONTROLS) if len(said) <= SAID_MAX else f"{said[:SAID_MAX].translate(_CONTROLS)}..."


class MalformedFact(ValueError):
    """Bytes that are no decision of known facts; the message says which tag or field is wrong."""

    def __init__(self, said: str) -> None:
        super().__init__(legible(said))


class Upcast(Decision, frozen=True, gc=False):
    """A decision with facts of an older version; `before`: how they all stand on the tape. Equal by what it says."""

    before: tuple[Any, ...] = ()

    def __eq__(self, other: object) -> bool:
        names = Decision.__struct_fields__
        return isinstance(other, Decision) and all(getattr(self, name) == getattr(other, name) for name in names)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


class Codec:
    """Encodes and decodes decisions. Unknown tags and fields are errors that name them and the nearest known one."""

    def __init__(
        self, facts: Iterable[type[Fact]] = FACTS, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS
    ) -> None:
        self._newest = {tag(fact): fact for fact in facts}
        self._upcasters = upcasters
        self._encode = msgspec.json.Encoder(decimal_format="string").encode

    # Decoders know every fact, which takes a while to learn; a backtest of files reads none.

    @cached_property
    def _union(self) -> Any:
        return Union[tuple(self._newest.values())]  # noqa: UP007 - built at run time

    @cached_property
    def _shape(self) -> type[msgspec.Struct]:
        several: Any = tuple
        seq, micros = Annotated[int, Meta(ge=0, le=2**63 - 1)], Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
        named = Annotated[str, Meta(max_length=ID_MAX)]
        fields = [("id", named), ("cause", seq), ("by", named), ("ts", micros), ("facts", several[self._union, ...])]
        return msgspec.defstruct("DecisionOnTape", fields, forbid_unknown_fields=True, frozen=True)

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(self._shape).decode

    @cached_property
    def _fact(self) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(self._union).decode

    def encode(self, decision: Decision) -> bytes:
        return self._encode(decision)

    def canonical(self, actor: str, decision: Decision) -> bytes:
        """What is hashed: no tape sequence and no append time, which differ between runs of one history.

        A single candle or trade, which is most of what there is, and plain trading have forms of fixed width, so that
        columns of them can be hashed at once (`bulk`, `tickbulk`, `tradebytes`); everything else is JSON.
        """
        facts = decision.facts
        form = _SINGLE.get(type(facts[0])) if len(facts) == 1 else None
        if form is not None:
            try:
                return form(actor, decision.by, decision.ts, facts[0])
            except (ValueError, OverflowError, struct.error):
                pass  # a stranger's id, or numbers beyond 64 bits, which no symbol accepts
        elif (words := decision_words(actor, decision)) is not None:
            return words
        return self._encode((actor, decision.by, decision.ts, facts))

    def decode(self, data: bytes) -> Decision:
        """Raises MalformedFact with a sentence that names what is wrong."""
        try:
            found: Any = self._decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            found = self._decode_slowly(data, error)
        if not found.facts:
            raise MalformedFact("a decision without facts")
        if not found.id or not (found.id.isascii() and found.id.isprintable()):
            raise MalformedFact("a decision without an id of letters and digits")  # what follows from it names it
        if isinstance(found, Upcast):
            return found
        return Decision(found.id, found.cause, found.by, found.ts, found.facts)

    def content_id(self, actor: str, decision: Decision) -> str:
        """The id of a message without a cause, by its content; of an older version's by the content that it had."""
        if isinstance(decision, Upcast):
            return digest_of(self._encode((actor, "", decision.ts, decision.before)))
        return digest_of(self.canonical(actor, Decision("", 0, "", decision.ts, decision.facts)))

    def decode_or_unreadable(self, subject: str, data: bytes) -> Decision:
        """As `decode`, but bytes that are no decision become the fact Unreadable, so that an actor can say so."""
        try:
            return self.decode(data)
        except MalformedFact as error:
            return unreadable(subject, str(error), data)

    def fact(self, data: bytes) -> Fact:
        """One bare fact, upcast to its newest version. Raises MalformedFact."""
        return self._current(self._loads(data))

    def _decode_slowly(self, data: bytes, first: Exception) -> Any:
        raw = self._loads(data)
        if not isinstance(raw, dict) or not isinstance(raw.get("facts"), list):
            raise MalformedFact(f"not a decision: {first}") from first
        facts = tuple(self._current(one) for one in raw["facts"])
        try:
            head: Any = msgspec.convert({**raw, "facts": []}, self._shape)
        except msgspec.ValidationError as error:
            raise MalformedFact(str(error)) from error
        return Upcast(head.id, head.cause, head.by, head.ts, facts, tuple(raw["facts"]))

    @staticmethod
    def _loads(data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedFact(f"not JSON: {error}") from error

    def _current(self, raw: Any) -> Fact:
        if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
            raise MalformedFact(f"not a fact, for it has no `type`: {str(raw)[:200]}")
        while raw["type"] not in self._newest:
            raw = self._upcast(raw)
        fact = self._newest[raw["type"]]
        if unknown := set(raw) - {"type", *fact.__struct_fields__}:
            name = min(unknown)
            raise MalformedFact(f"{raw['type']} has no field `{name}`{_nearest(name, fact.__struct_fields__)}")
        try:
            return self._fact(msgspec.json.encode(raw))  # type: ignore[no-any-return]
        except msgspec.MsgspecError as error:
            raise MalformedFact(f"{raw['type']}: {error}") from error

    def _upcast(self, raw: dict[str, Any]) -> dict[str, Any]:
        kind, _, version = raw["type"].partition("/")
        known = version.isdecimal() and len(version) <= _VERSION_DIGITS
        upcast = self._upcasters.get((kind, int(version))) if known else None
        if upcast is None:
            raise MalformedFact(f"no fact has the tag `{raw['type']}`{_nearest(raw['type'], self._newest)}")
        fields = upcast({name: value for name, value in raw.items() if name != "type"})
        return {"type": f"{kind}/{int(version) + 1}", **fields}


def unreadable(subject: str, reason: str, data: bytes) -> Decision:
    """What stands for bytes that are no decision."""
    return Decision(digest_of(data), 0, "", 0, (Unreadable(legible(subject), reason, data),))


def _nearest(name: str, known: Iterable[str]) -> str:
    return _closest(name[:_NAME_MAX], tuple(known))


@lru_cache(maxsize=1024)
def _closest(name: str, known: tuple[str, ...]) -> str:
    """Whoever says what nobody knows says it again and again."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest known one is `{found[0]}`" if found else ""
