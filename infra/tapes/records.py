"""The bytes of a file tape: a segment is a mark and then records, each with checksums over its head and its body.

A record is a head of 44 bytes and the body, little-endian:

    mark 4 | size of path 2, zero 2 | size of data 4 | crc32 of path and data 4 | sequence 8 | epoch 8 | known_at 8 |
    crc32 of the head so far 4 | path `<actor>.<kind>` | data, the decision as the codec wrote it

The head has a checksum of its own, so that a size can be trusted and a torn end be told from damage.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from events.tape import TapeDamaged

SEGMENT_MARK = b"tickertape/1\r\n\x1a\n"
RECORD_MARK = b"\xf5rec"
_HEAD = struct.Struct("<4sHHIIQQq")
_CRC = struct.Struct("<I")
HEAD_SIZE = _HEAD.size + _CRC.size
_CHUNK = 1 << 20


class Record(NamedTuple):
    """One record; `end` is the offset of the next one. `path` and `data` as appended, checked."""

    seq: int
    epoch: int
    known_at: int
    path: bytes
    data: bytes
    offset: int
    end: int


class Torn(Exception):
    """What stands at `offset` is the beginning of a record whose rest was never written."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def packed(seq: int, epoch: int, known_at: int, path: bytes, data: bytes) -> bytes:
    """The bytes of a record. Raises ValueError where a size does not fit its field."""
    crc = zlib.crc32(data, zlib.crc32(path))
    try:
        head = _HEAD.pack(RECORD_MARK, len(path), 0, len(data), crc, seq, epoch, known_at)
    except struct.error as error:
        raise ValueError(f"this decision cannot be written to a file tape: {error}") from error
    return b"".join((head, _CRC.pack(zlib.crc32(head)), path, data))


def records(file: Path, fd: int, offset: int, size: int) -> Iterator[Record]:
    """The records between `offset` and `size`. Raises Torn at an unfinished end, TapeDamaged elsewhere."""
    unpack, crc32 = _HEAD.unpack_from, zlib.crc32
    chunk, start = b"", offset
    while offset < size:
        place = offset - start
        if len(chunk) - place < HEAD_SIZE:
            chunk, start, place = os.pread(fd, min(_CHUNK, size - offset), offset), offset, 0
            if len(chunk) < HEAD_SIZE:
                raise Torn(offset)
        mark, path_size, _, data_size, crc, seq, epoch, known_at = unpack(chunk, place)
        if mark != RECORD_MARK or crc32(chunk[place : place + _HEAD.size]) != _stored_crc(chunk, place):
            if not any(_all(fd, offset, size)):
                raise Torn(offset)  # zeros to the end: the file had grown, but its blocks were never written
            raise TapeDamaged(f"{file}: the record at byte {offset} has a damaged head")
        end = offset + HEAD_SIZE + path_size + data_size
        if end > size:
            raise Torn(offset)
        if len(chunk) < end - start:
            chunk, start, place = os.pread(fd, max(_CHUNK, end - offset), offset), offset, 0
        body = chunk[place + HEAD_SIZE : place + HEAD_SIZE + path_size + data_size]
        if crc32(body) != crc:
            if end == size and body[-1:] == b"\0":
                raise Torn(offset)  # its last block was never written: a decision ends with a bracket
            raise TapeDamaged(f"{file}: record {seq} at byte {offset} does not have the checksum it was written with")
        yield Record(seq, epoch, known_at, body[:path_size], body[path_size:], offset, end)
        offset = end


def _stored_crc(chunk: bytes, place: int) -> int:
    found: int = _CRC.unpack_from(chunk, place + _HEAD.size)[0]
    return found


def _all(fd: int, offset: int, size: int) -> Iterator[bool]:
    while offset < size:
        chunk = os.pread(fd, min(_CHUNK, size - offset), offset)
        yield chunk.count(0) != len(chunk)
        offset += max(len(chunk), 1)
