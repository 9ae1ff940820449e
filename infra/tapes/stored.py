"""A message as a stream keeps it, for what copies and compares tapes byte by byte."""

from __future__ import annotations

from typing import NamedTuple

from .client import Delivery
from .reader import Made, epoch_of, known_at_of


class Stored(NamedTuple):
    """`path` is the subject without the tape, `<actor>.<kind>`; `known_at` µs UTC; `body` as it was appended."""

    seq: int
    path: str
    epoch: int
    known_at: int
    body: bytes


def stored(restored: int) -> Made[Stored]:
    """For a reader of a stream that was restored up to this sequence."""

    def made(seq: int, actor: str, message: Delivery, appended_at: int) -> Stored:
        if seq <= restored:
            appended_at = known_at_of(message.headers, appended_at)
        path = message.subject.partition(".")[2]
        return Stored(seq, path, epoch_of(message.headers), appended_at, message.data)

    return made
