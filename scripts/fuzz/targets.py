"""What is tried on bytes that a search makes up: each either takes them or says in its own way that it does not."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from events import subjects
from events.codec import Codec, MalformedFact
from events.control import Unreadable
from events.decision import Recorded
from events.tape import TapeDamaged
from infra.config import ConfigError, load
from infra.importers import ImportError_, read
from infra.tapes.client import Delivery, _Stream
from infra.tapes.reader import epoch_of
from infra.tapes.records import SEGMENT_MARK, Torn, records
from projections.plain import check

NOW = 1_780_000_000_000_000
_codec = Codec()


def codec(data: bytes) -> None:
    """Any bytes are a decision or Unreadable, and what was read can be written, hashed and read again."""
    decision = _codec.decode_or_unreadable("main.feed.x.y.candle", data)
    if isinstance(decision.facts[0], Unreadable):
        return
    _codec.content_id("feed.x.y", decision)
    _codec.canonical("feed.x.y", decision)
    again = _codec.decode(_codec.encode(decision))
    assert again == decision
    Recorded(1, "feed.x.y", decision)


def fact(data: bytes) -> None:
    try:
        found = _codec.fact(data)
    except MalformedFact:
        return
    assert _codec.fact(_codec._encode(found)) == found


def framing(data: bytes) -> None:
    """The file tape's records: whole ones, a torn end, or damage that is named."""
    with tempfile.TemporaryFile() as file:
        file.write(SEGMENT_MARK + data)
        file.flush()
        size = len(SEGMENT_MARK) + len(data)
        try:
            for one in records(Path("x"), file.fileno(), len(SEGMENT_MARK), size):
                assert one.offset < one.end <= size
        except (Torn, TapeDamaged):
            pass


def _as_file(data: bytes, names: tuple[str, ...], take: Callable[[Path], object], refused: type[Exception]) -> None:
    """The first byte chooses the name."""
    if not data:
        return
    handle, name = tempfile.mkstemp(names[data[0] % len(names)])
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data[1:])
        take(Path(name))
    except refused:
        pass
    finally:
        os.unlink(name)


def importers(data: bytes) -> None:
    names = ("x.csv", "x.json", "BTCUSDT-1m.csv", "x.txt", "x.csv.gz", "x.zip", "x.jsonl")
    _as_file(data, names, lambda path: read(path, now=NOW), ImportError_)


def config(data: bytes) -> None:
    _as_file(data, ("x.toml", "x.json"), load, ConfigError)


def addresses(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    actor, kind = subjects.split(text)
    subjects.matches(text, actor, kind)
    with contextlib.suppress(ValueError):
        assert subjects.token(text) == text
    assert 0 <= epoch_of(data) < 2**63
    assert 0 <= epoch_of(b"NATS/1.0\r\n" + data) < 2**63


def deliveries(data: bytes) -> None:
    """Whatever a stranger calls his subject, his message comes through, and the next one too."""
    subject = data.translate(None, b" \t\r\n") or b"x"
    seen: list[Delivery] = []
    _Stream(None, {1: seen.append}).take(b"MSG " + subject + b" 1 r 2\r\nhi\r\nMSG y 1 0\r\n\r\n")
    assert [one.data for one in seen] == [b"hi", b""]
    actor, kind = subjects.split(seen[0].subject)
    subjects.matches("feed.*.>", actor, kind)
    check(_codec.decode_or_unreadable(seen[0].subject, b"?").facts[0])


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": codec, "fact": fact, "framing": framing, "importers": importers, "config": config, "addresses": addresses,
    "deliveries": deliveries,
}  # fmt: skip
