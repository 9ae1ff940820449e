"""What an archive consists of: sealed parts, each with a manifest that names what came before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from events.tape import TapeError

from .chain import START


class ArchiveError(TapeError):
    """The archive cannot be had or used; the sentence says where it was looked for and what to do."""


class ArchiveDamaged(ArchiveError):
    """The archive is not what was sealed. `seq`: the first message that is not proven, 0 where none is concerned."""

    def __init__(self, sentence: str, seq: int = 0) -> None:
        super().__init__(sentence)
        self.seq = seq


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest: the messages `first` to `last` stand in `file`, of `size` bytes and the BLAKE2b `hash`.

    `before` is the chain's head before `first` (the `head` of the part before), `penultimate` that before `last`.
    `subjects`: per path (`<actor>.<kind>`) how many messages there are and the last one's sequence.
    """

    format: Literal["tickertape-archive/1"] = "tickertape-archive/1"
    tape: str
    first: int
    last: int
    first_at: int
    last_at: int
    before: str
    penultimate: str
    head: str
    file: str
    size: int
    hash: str
    subjects: dict[str, tuple[int, int]]

    @property
    def manifest(self) -> str:
        return manifest_name(self.first)


def file_name(first: int) -> str:
    return f"part-{first:020d}.parquet"


def manifest_name(first: int) -> str:
    return f"part-{first:020d}.json"


def encoded(part: Part) -> bytes:
    return msgspec.json.format(msgspec.json.encode(part, order="sorted"), indent=1) + b"\n"


def decoded(data: bytes, name: str) -> Part:
    """Raises ArchiveDamaged where a byte is not as `encoded` writes it."""
    try:
        part = msgspec.json.decode(data, type=Part)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(f"the manifest {name} cannot be read: {error}", _first_of(name)) from error
    if encoded(part) != data or part.manifest != name or part.file != file_name(part.first):
        raise ArchiveDamaged(f"the manifest {name} is not as it was written", _first_of(name))
    return part


def check_order(parts: Sequence[Part], where: str, tape: str) -> None:
    """Raises ArchiveDamaged where parts are missing, doubled, swapped, or of another tape."""
    following, head = 1, START.hex()
    for part in parts:
        if part.tape != tape:
            raise ArchiveDamaged(f"{where}: {part.manifest} is of the tape {part.tape!r}, not {tape!r}", part.first)
        if part.first != following or part.last < part.first:
            raise ArchiveDamaged(
                f"{where}: {following} should come next, but {part.manifest} holds {part.first} to {part.last}: a part "
                "is missing, or one too many is there", following,
            )  # fmt: skip
        if part.before != head:
            raise ArchiveDamaged(
                f"{where}: {part.manifest} goes on from another history than the part before it tells", part.first
            )
        following, head = part.last + 1, part.head


def _first_of(name: str) -> int:
    digits = name.removeprefix("part-").removesuffix(".json")
    return int(digits) if digits.isdecimal() else 0
