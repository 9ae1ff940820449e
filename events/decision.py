"""What one message on a tape holds: the facts one actor derived from one cause."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from .fact import Fact, kind

ID_FACTOR = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2**128 over the golden ratio
_MASK = 2**128 - 1


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`cause` is the tape sequence of the trigger (0: from outside), `by` its id, `ts` the event time in µs."""

    id: str
    cause: int
    by: str
    ts: int
    facts: tuple[Fact, ...]

    @property
    def kind(self) -> str:
        """The kind of the last fact: the last token of the subject."""
        return _kind_of(type(self.facts[-1]))

    @property
    def key(self) -> tuple[str, int]:
        """What tells an append tried again from a new one: the same words heard twice have the same id."""
        return self.id, self.cause


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A decision as it stands on the tape: `known_at` is its append time in µs, `epoch` that of its writer."""

    seq: int
    actor: str
    decision: Decision
    known_at: int = 0
    epoch: int = 0


_kind_of = lru_cache(maxsize=None)(kind)


def derived(actor: str, cause: Recorded, facts: tuple[Fact, ...]) -> Decision:
    """What `actor` decided because of `cause`. Its id names actor and cause, so it can be decided only once."""
    decision = cause.decision
    by = decision.id
    return Decision(id_after(actor, by), cause.seq, by, decision.ts, facts)


def id_after(actor: str, by: str) -> str:
    """The id of what `actor` decides because of the message `by`: 32 hex digits.

    As numbers below 2**128 it is `by` times ID_FACTOR plus the hash of the actor's name. The factor is odd, so the map
    is one to one: two causes never give an actor the same id. Whole columns of ids can be worked out in the same way,
    which a hash of texts would not allow.
    """
    try:
        number = int(by, 16)
    except ValueError:
        number = -1
    if number < 0 or len(by) != 32:
        number = int(digest_of(by.encode()), 16)  # an id that a stranger made up
    return f"{number * ID_FACTOR + number_of(actor) & _MASK:032x}"


@lru_cache(maxsize=65_536)
def number_of(actor: str) -> int:
    return int(digest_of(actor.encode()), 16)


def digest_of(data: bytes) -> str:
    """128 bits of BLAKE2b in hex: the form of every id."""
    return blake2b(data, digest_size=16).hexdigest()
