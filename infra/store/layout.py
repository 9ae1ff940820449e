"""The file: segments one after another, each of them columns, a footer that describes them, and a seal."""

from __future__ import annotations

import os
import struct
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["candles", "trades"]

MAGIC = b"TTSTORE1"
PAGE = 512 << 10  # bytes under one checksum: 65,536 values of 8 bytes
ALIGN = 64
TRAILER = struct.Struct("<Q32s8s")
CANDLES = (("ts", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("volume", "<f8"),
           ("count", "<i8"))  # fmt: skip
TRADES = (("ts", "<i8"), ("price", "<f8"), ("qty", "<f8"), ("side", "|i1"), ("id_ends", "<i8"), ("id_text", "|u1"))
FOOTER_MAX = 64 << 20


class StoreError(Exception):
    """A store file that cannot be used: which, what is wrong with it, and what to do."""


class Series(msgspec.Struct, frozen=True):
    """What a file holds; `timeframe` None: trades."""

    venue: str
    symbol: str
    timeframe: str | None

    @property
    def kind(self) -> Kind:
        return "trades" if self.timeframe is None else "candles"


class Section(msgspec.Struct, frozen=True):
    """One column of a segment: `at` from the begin of the file, `size` in bytes, a CRC-32 for every PAGE of it."""

    name: str
    dtype: str
    at: int
    size: int
    crcs: tuple[int, ...]


class Footer(msgspec.Struct, frozen=True):
    """`digest`: BLAKE2b of the columns' bytes, in their order. `before`: the seal of the segment before, or ''.

    `first`, `last`: µs. `counted`: every candle has its number of trades.
    """

    series: Series
    rows: int
    first: int
    last: int
    counted: bool
    begin: int
    sections: tuple[Section, ...]
    digest: str
    before: str

    def section(self, name: str) -> Section:
        return next(one for one in self.sections if one.name == name)


class Segment(msgspec.Struct, frozen=True):
    """A sealed segment: it lies from `footer.begin` to `end`."""

    footer: Footer
    seal: str
    end: int


def trailer_of(footer: Footer) -> tuple[bytes, bytes]:
    """The footer as written, and what stands behind it."""
    body = msgspec.json.encode(footer)
    return body, TRAILER.pack(len(body), seal_of(body), MAGIC)


def seal_of(body: bytes) -> bytes:
    return blake2b(body, digest_size=32).digest()


def check(path: Path, section: Section, page: int, data: memoryview) -> None:
    """Raises StoreError where a page is not the one that was written."""
    if zlib.crc32(data) != section.crcs[page]:
        begin = section.at + page * PAGE
        raise StoreError(
            f"{path}: page {page} of column `{section.name}` (bytes {begin:,} to {begin + len(data):,}) is not "
            "as it was sealed: the file was changed or the disk is bad; import it again"
        )


def segments(path: Path, file: int) -> tuple[tuple[Segment, ...], int]:
    """Every sealed segment in order, and how many bytes behind the last one are torn (an append that did not end).

    Raises StoreError where the file has no sealed segment, or the chain of seals is broken.
    """
    size = os.fstat(file).st_size
    last = _sealed_before(file, size)
    if last is None:
        raise StoreError(f"{path} holds no sealed rows: it was changed, or is no store file; import it again")
    found = [last]
    while found[-1].footer.begin:
        before = _segment(file, found[-1].footer.begin)
        if before is None or before.seal != found[-1].footer.before:
            raise StoreError(
                f"{path}: the segment before byte {found[-1].footer.begin:,} is not the one that was sealed: "
                "the file was changed; import it again"
            )
        found.append(before)
    if len({one.footer.series for one in found}) > 1:
        raise StoreError(f"{path} holds segments of several series: the file was put together; import it again")
    return tuple(reversed(found)), size - last.end


def _sealed_before(file: int, size: int) -> Segment | None:
    """The last segment whose seal holds; looked for backwards, for a torn append leaves bytes behind it."""
    end = size
    step = 1 << 20
    if (exact := _segment(file, size)) is not None:
        return exact
    while end > 0:
        begin = max(0, end - step)
        data = os.pread(file, end - begin + len(MAGIC), begin)
        at = data.rfind(MAGIC)
        while at >= 0:
            if (found := _segment(file, begin + at + len(MAGIC))) is not None:
                return found
            at = data.rfind(MAGIC, 0, at)
        end = begin
    return None


def _segment(file: int, end: int) -> Segment | None:
    if end < TRAILER.size:
        return None
    length, seal, magic = TRAILER.unpack(os.pread(file, TRAILER.size, end - TRAILER.size))
    if magic != MAGIC or length > min(FOOTER_MAX, end - TRAILER.size):
        return None
    body = os.pread(file, length, end - TRAILER.size - length)
    if seal_of(body) != seal:
        return None
    try:
        return Segment(msgspec.json.decode(body, type=Footer), seal.hex(), end)
    except msgspec.DecodeError:
        return None
