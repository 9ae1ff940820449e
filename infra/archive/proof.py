"""The messages of an archive in order, each proven by the chain, or the first that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.tapes.stored import Stored

from .chain import linked
from .model import ArchiveDamaged, Part
from .parquet import Row, batches, short, told_of
from .place import Place

Proven = tuple[Stored, bytes]
"""A message and the chain's head after it."""


def proven(place: Place, parts: list[Part]) -> Iterator[list[Proven]]:
    """Some thousand at a time. Raises ArchiveDamaged, with the first sequence that is not as it was sealed."""
    for part in parts:
        with place.fetched(part) as (path, hashed):
            yield from _of_part(part, path, f"{place}/{part.file}")
            if hashed != part.hash:
                raise ArchiveDamaged(
                    f"{place}/{part.file} is not the file that was sealed, though every message in it is", part.first
                )


def _of_part(part: Part, path: Path, where: str) -> Iterator[list[Proven]]:
    head, following = bytes.fromhex(part.before), part.first
    penultimate = head
    subjects: dict[str, tuple[int, int]] = {}
    first_at = last_at = 0
    try:
        for rows in batches(path):
            good: list[Proven] = []
            for row in rows:
                message = row.message
                before, head = head, linked(head, message)
                if trouble := _wrong(row, following, head):
                    raise ArchiveDamaged(f"{where}: message {following:,} {trouble}", following)
                if following == part.first:
                    first_at = message.known_at
                penultimate, last_at = before, message.known_at
                subjects[message.path] = (subjects.get(message.path, (0, 0))[0] + 1, following)
                following += 1
                good.append((message, head))
            yield good
    except ArchiveDamaged as error:
        if error.seq:
            raise
        raise ArchiveDamaged(f"{where}: message {following:,} or one soon after it: {error}", following) from error
    if following != part.last + 1:
        missing = min(following, part.last + 1)
        raise ArchiveDamaged(f"{where} ends with {following - 1:,}, not with {part.last:,}", missing)
    if head.hex() != part.head or penultimate.hex() != part.penultimate:
        raise ArchiveDamaged(
            f"{where} and its manifest are not of one sealing: the heads of {part.first:,} to {part.last:,} differ",
            part.first,
        )
    if subjects != part.subjects or (first_at, last_at) != (part.first_at, part.last_at):
        raise ArchiveDamaged(f"{where}: its manifest counts other messages than there are", part.first)


def _wrong(row: Row, expected: int, head: bytes) -> str:
    message = row.message
    if message.seq != expected:
        return f"is not there; {message.seq:,} stands in its place"
    if short(head) != row.link:
        return "is not as it was sealed"
    if row.told != told_of(message.body):
        return "has columns that its body does not say"
    return ""
