"""What one message on a tape holds: the facts one actor derived from one cause."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from .fact import Fact, kind


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cause` is the tape sequence of the trigger (0: from outside), `by` its id, `ts` the event time in µs."""

    id: str
    cause: int
    by: str
    ts: int
    facts: tuple[Fact, ...]

    @property
    def kind(self) -> str:
        """The kind of the last fact: the last token of the subject."""
        return kind(self.facts[-1])

    @property
    def key(self) -> tuple[str, int]:
        """What tells an append tried again from a new one: the same words heard twice have the same id."""
        return self.id, self.cause


class Recorded(msgspec.Struct, frozen=True):
    """A decision as it stands on the tape: `known_at` is its append time in µs, `epoch` that of its writer."""

    seq: int
    actor: str
    decision: Decision
    known_at: int = 0
    epoch: int = 0


def derived(actor: str, cause: Recorded, facts: tuple[Fact, ...]) -> Decision:
    """What `actor` decided because of `cause`. Its id names actor and cause, so it can be decided only once."""
    by = cause.decision.id
    return Decision(digest_of(f"{actor}<{by}".encode()), cause.seq, by, cause.decision.ts, facts)


def digest_of(data: bytes) -> str:
    """128 bits of BLAKE2b in hex: the form of every id."""
    return blake2b(data, digest_size=16).hexdigest()
