"""Whole recorded tapes as files: one line of JSON a message, as it stood on the tape, compressed."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import msgspec

from events import subjects
from events.codec import Codec
from events.decision import Recorded
from events.memory import MemoryTape

FOLDER = Path(__file__).parents[1] / "golden" / "histories"


class Line(msgspec.Struct, frozen=True, array_like=True):
    """`body`: the bytes as Latin-1, for there is garbage among them."""

    seq: int
    actor: str
    kind: str
    known_at: int
    epoch: int
    body: str


class About(msgspec.Struct, frozen=True):
    """What a history was found to be when it was recorded."""

    entries: int
    decisions: int
    digest: str


_about = FOLDER / "histories.json"


def names() -> list[str]:
    return sorted(about())


def about() -> dict[str, About]:
    return msgspec.json.decode(_about.read_bytes(), type=dict[str, About]) if _about.exists() else {}


def write(name: str, lines: Iterable[Line], told: About) -> None:
    """Bytes of a history never change; another one gets a name of its own."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.jsonl.gz"
    if path.exists():
        raise FileExistsError(f"{path} is recorded already: give the new history a name of its own")
    whole = b"\n".join(map(msgspec.json.encode, lines))
    path.write_bytes(gzip.compress(whole, 9, mtime=0))
    _about.write_bytes(msgspec.json.format(msgspec.json.encode({**about(), name: told}, order="sorted")) + b"\n")


def read(name: str) -> list[Line]:
    whole = gzip.decompress((FOLDER / f"{name}.jsonl.gz").read_bytes())
    return [msgspec.json.decode(line, type=Line) for line in whole.split(b"\n")]


@lru_cache
def entries(name: str) -> tuple[Recorded, ...]:
    codec = Codec()
    return tuple(_entry(line, codec) for line in read(name))


def _entry(line: Line, codec: Codec) -> Recorded:
    subject = subjects.subject("main", line.actor, line.kind)
    decision = codec.decode_or_unreadable(subject, line.body.encode("latin-1"))
    return Recorded(line.seq, line.actor, decision, line.known_at, line.epoch)


def line(entry: Recorded, body: bytes) -> Line:
    decision = entry.decision
    return Line(entry.seq, entry.actor, decision.kind, entry.known_at, entry.epoch, body.decode("latin-1"))


class HistoryTape(MemoryTape):
    """A tape in memory that begins with a recorded history."""

    def __init__(self, found: Iterable[Recorded]) -> None:
        super().__init__()
        self.entries = list(found)
        self._last = {entry.actor: entry for entry in self.entries}
