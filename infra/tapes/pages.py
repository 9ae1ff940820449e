"""A whole file tape in large bites: what is as it should be is taken in one flat loop, all else by `records`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from zlib import crc32

import numpy as np

from events.decision import Recorded
from events.scanned import Scanned

from .records import HEAD_SIZE, RECORD_MARK
from .scan import scanned
from .segments import SegmentLog

_HEAD = struct.Struct("<4sHHIIQQqI")
_SUMMED = HEAD_SIZE - 4  # the head's checksum is over what is before it
_BITE = 256 << 10  # bytes: some hundred messages, a few milliseconds
_LARGE_BITE = 8 << 20  # the same for columns
_MARK = np.frombuffer(RECORD_MARK, np.uint8)

Known = Callable[[int, int, int, bytes, bytes], Recorded]
"""Of sequence, epoch, known_at, path and data."""
Page = list[Recorded] | Scanned


def pages(log: SegmentLog, after: int, known: Known, *, columns: bool = False) -> Iterator[Page]:
    """All that is stored behind `after` now, in order; with `columns` as such.

    Raises as `SegmentLog.records`, which is asked wherever a bite does not begin with a whole and sound record.
    """
    until, cursor = log.end, log.cursor(after)
    while after < until and cursor.seq <= until:
        # A segment's own mark comes first.
        chunk = log.chunk(cursor, _LARGE_BITE if columns else _BITE) if cursor.offset else b""
        page, count, size = (_columns if columns else _entries)(chunk, cursor.seq, until, after, known)
        if size:
            cursor.seq, cursor.offset = cursor.seq + count, cursor.offset + size
        else:
            slowly = log.records(cursor, cursor.seq)
            page = [known(r.seq, r.epoch, r.known_at, r.path, r.data) for r in slowly if r.seq > after]
        if page:
            yield page


def _columns(chunk: bytes, seq: int, until: int, after: int, known: Known) -> tuple[Page, int, int]:
    """As `_entries`."""
    from .scankernels import frames  # it loads numba

    found = np.empty((len(chunk) // HEAD_SIZE + 1, 6), np.int64)
    count, size = frames(np.frombuffer(chunk, np.uint8), _MARK, HEAD_SIZE, seq, until, found)
    skipped = max(0, after + 1 - seq)
    epoch, known_at, path, data, end, entities = np.ascontiguousarray(found[skipped:count].T)
    if not len(path):
        return [], count, size

    def entry(place: int) -> Recorded:
        where = int(path[place]), int(data[place]), int(end[place])
        named, body = chunk[where[0] : where[1]], chunk[where[1] : where[2]]
        return known(seq + skipped + place, int(epoch[place]), int(known_at[place]), named, body)

    seqs = np.arange(seq + skipped, seq + count, dtype=np.int64)
    return scanned(chunk, data, end, entities, seqs, known_at, entry), count, size


def _entries(chunk: bytes, seq: int, until: int, after: int, known: Known) -> tuple[Page, int, int]:
    """The entries up to the first that is not whole and sound; how many records these are, and how many bytes."""
    unpack, place, size, page, first = _HEAD.unpack_from, 0, len(chunk), list[Recorded](), seq
    while seq <= until and place + HEAD_SIZE <= size:
        mark, path_size, _, data_size, crc, at, epoch, known_at, head_crc = unpack(chunk, place)
        path = place + HEAD_SIZE
        data = path + path_size
        end = data + data_size
        if mark != RECORD_MARK or at != seq or end > size or crc32(chunk[place : place + _SUMMED]) != head_crc:
            break
        if crc32(chunk[path:end]) != crc:
            break
        if seq > after:
            page.append(known(seq, epoch, known_at, chunk[path:data], chunk[data:end]))
        place, seq = end, seq + 1
    return page, seq - first, place
