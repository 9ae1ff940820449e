"""Snapshots: what an actor has become by a place on the tape, kept so that a restart need not read all before it.

A snapshot is a cache. It is used only where it is whole, was made by the very code and configuration that runs now
(that is for the store to know), and where the tape still holds the messages it rests on.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
import numpy as np

from actors.seat import Seat
from events.decision import Recorded

MARK = b"tickertape snapshot 1\n"
_SUM = 16  # bytes of BLAKE2b over all that follows it
_HEAD = 4  # bytes of the header's size, little-endian


class Unfit(Exception):
    """A snapshot that cannot be used, or a state of which none can be made; the message says why."""


class Place(msgspec.Struct, frozen=True):
    """Where an actor stood: every entry up to `seq` dealt with, every decision that they caused on the tape.

    `seen` is the id of the message at `seq` and `known_at` its append time: on another tape, or one that lost its end,
    another message stands there. `version` is the sequence of the actor's last message and `said` its id. `answer` is
    the sequence of what the message at `seq` caused, 0 if nothing. `claimant` and `since` as the seat has them. `key`:
    who could use it.
    """

    actor: str
    key: str
    seq: int
    seen: str
    known_at: int
    version: int
    said: str
    answer: int
    claimant: str
    since: int


class Snapshot(msgspec.Struct, frozen=True):
    """A place, and the state there in bytes that only `thawed` understands."""

    place: Place
    body: bytes


class Snapshots(Protocol):
    """Where snapshots are kept. It may lose any of them at any time."""

    def key(self, actor: str) -> str:
        """Names code and configuration; '' for an actor that is to have no snapshots."""

    def load(self, actor: str) -> Iterable[Snapshot]:
        """The snapshots of this actor that are whole and of its key, newest first. Raises nothing."""

    async def save(self, snapshots: Sequence[Snapshot], moved: Sequence[Place]) -> None:
        """Keeps snapshots, and forgets those before the last few; `moved`: what is kept of these actors stands for a
        later place too, for they heard nothing in between. Without stopping the loop. Raises OSError where it cannot.
        """

    def drop(self, place: Place) -> None:
        """Forgets one that turned out to be of no use."""


def place_of(seat: Seat, entry: Recorded, key: str) -> Place:
    """Where a seat stands that owes no decision, when `entry` was the last one its process dealt with."""
    assert entry.seq >= seat.at, f"{seat.actor} is at {seat.at}, further than {entry.seq}"
    cause, at = seat.answered
    answer = at if cause == entry.seq else 0
    return Place(
        seat.actor, key, entry.seq, entry.decision.id, entry.known_at, seat.version, seat.said, answer, seat.claimant,
        seat.since,
    )  # fmt: skip


def restore(seat: Seat, snapshot: Snapshot) -> None:
    """Makes the seat what it was. Raises Unfit."""
    seat.state = thawed(snapshot.body)
    place = snapshot.place
    seat.at, seat.version, seat.said = place.seq, place.version, place.said
    seat.answered = (place.seq, place.answer) if place.answer else (0, 0)
    seat.claimant, seat.since = place.claimant, place.since


def frozen(state: Any) -> bytes:
    """A state in bytes. Raises Unfit where it cannot be taken apart and put together again as it was."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.dispatch_table = _TABLE
    try:
        pickler.dump(state)
    except Unfit:
        raise
    except Exception as error:  # whatever a strategy's own objects raise when they are taken apart
        raise Unfit(f"{type(error).__name__}: {error}") from error
    return file.getvalue()


def thawed(body: bytes) -> Any:
    """The state again. Raises Unfit. Bytes from a stranger could run code: they never come from the tape or the bus."""
    try:
        return pickle.loads(body)
    except Exception as error:  # a class that is gone, a constructor that refuses, anything a strategy's objects do
        raise Unfit(f"{type(error).__name__}: {error}") from error


def _own_array(array: np.ndarray[Any, Any]) -> Any:
    if isinstance(array.base, np.ndarray):
        # Two arrays over one memory would come back as two: what is written to one would not be in the other.
        raise Unfit("it holds an array that is a view of another one: keep a copy of it instead")
    return array.__reduce__()  # not protocol 5, which brings it back as a view


_TABLE = {**copyreg.dispatch_table, np.ndarray: _own_array}


def packed(snapshot: Snapshot) -> bytes:
    """Mark, checksum, size of the header, header, body."""
    head = msgspec.json.encode(snapshot.place)
    rest = len(head).to_bytes(_HEAD, "little") + head + snapshot.body
    return MARK + blake2b(rest, digest_size=_SUM).digest() + rest


def unpacked(data: bytes) -> Snapshot:
    """Raises Unfit where the bytes are not what was packed."""
    start = len(MARK) + _SUM
    rest = data[start:]
    if not data.startswith(MARK) or blake2b(rest, digest_size=_SUM).digest() != data[len(MARK) : start]:
        raise Unfit("it is torn or was changed")
    end = _HEAD + int.from_bytes(rest[:_HEAD], "little")
    try:
        place = msgspec.json.decode(rest[_HEAD:end], type=Place)
    except msgspec.DecodeError as error:
        raise Unfit(f"its header is of another kind: {error}") from error
    return Snapshot(place, rest[end:])
