"""The files of a file tape: segments named by their first sequence, one writer, any number of readers."""

from __future__ import annotations

import fcntl
import logging
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal
from zlib import crc32

import msgspec

from events.tape import TapeDamaged, TapeError

from .records import SEGMENT_MARK, Record, Torn, packed, records

log = logging.getLogger(__name__)

Fsync = Literal["always", "interval", "close"]

_SUFFIX = ".segment"
_INDEX = ".index"
_BUFFER_BYTES = 1 << 20


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a record stands: in the segment that begins with sequence `first`, at byte `offset`."""

    seq: int
    first: int
    offset: int


class Cursor(msgspec.Struct):
    """A reader's position: sequence `seq` comes next, at `offset` of the segment `first` or beyond its end."""

    seq: int
    first: int
    offset: int = 0


class Index(msgspec.Struct, frozen=True, array_like=True):
    """The last record of every actor up to the end of a finished segment: its size and its last sequence."""

    size: int
    end: int
    last: dict[str, Place]


class Cut(msgspec.Struct, frozen=True):
    """A torn end that was cut back at opening: where, how many bytes, and the file that keeps them."""

    segment: str
    offset: int
    size: int
    kept: str


class SegmentLog:
    """Appends records and finds them again. `end` is the last sequence, `last` the last place of every actor.

    The writer is fenced by a lock on the file `lock`. Raises TapeError where another one holds it, or when writing
    has failed, and TapeDamaged, with segment and byte, where stored bytes are not what was appended.
    """

    def __init__(self, folder: Path, *, write: bool, fsync: Fsync, segment_bytes: int) -> None:
        self.folder = folder
        self.last: dict[str, Place] = {}
        self.end = 0
        self.cut: Cut | None = None
        self._fsync, self._segment_bytes = fsync, segment_bytes
        self._buffer = bytearray()
        self._fd: int | None = None
        self._failed: OSError | None = None
        self._firsts: list[int] = []
        self._scanned = Cursor(1, 1)
        self._lock = _locked(folder) if write else None
        try:
            self._recall()
            self.refresh()
            if write:
                self._begin_writing()
        except BaseException:
            self.close()
            raise

    def append(self, actor: str, path: bytes, data: bytes, epoch: int, known_at: int) -> Place:
        """Adds a record, as durable as `fsync` says, and returns its place."""
        if self._fd is None or self._failed is not None:
            raise TapeError(f"the tape {self.folder} is not open for writing: {self._failed or 'it is closed'}")
        record = packed(self.end + 1, epoch, known_at, path, data)
        if self._scanned.offset + len(record) > self._segment_bytes and self._scanned.offset > len(SEGMENT_MARK):
            self._roll()
        place = Place(self.end + 1, self._firsts[-1], self._scanned.offset)
        self._buffer += record
        if self._fsync != "close" or len(self._buffer) >= _BUFFER_BYTES:
            self.flush()
        if self._fsync == "always":
            self.sync()
        self._scanned.offset += len(record)
        self._scanned.seq += 1
        self.end += 1
        self.last[actor] = place
        return place

    def flush(self) -> None:
        """Hands the buffer to the operating system."""
        if self._fd is None or not self._buffer:
            return
        size = os.fstat(self._fd).st_size
        try:
            done = 0
            while done < len(self._buffer):
                done += os.write(self._fd, memoryview(self._buffer)[done:])
        except OSError as error:
            self._fail(error, size)
        self._buffer.clear()

    def sync(self) -> None:
        """Everything appended is on disk afterwards."""
        self.flush()
        if self._fd is not None:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._fail(error, None)

    def _fail(self, error: OSError, size: int | None) -> None:
        # What reached the disk is unknown now. Whoever opens the tape again finds out; this writer is done.
        self._failed = error
        if self._fd is not None and size is not None:
            os.ftruncate(self._fd, size)
        raise TapeError(
            f"writing to the tape {self.folder} failed: {error}; free the disk and open it again"
        ) from error

    def _begin_writing(self) -> None:
        if not self._firsts:
            self._create(1)
            return
        path = self._path(self._firsts[-1])
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        size = os.fstat(self._fd).st_size
        if size > self._scanned.offset:
            self._cut_back(path, self._fd, size)
        if self._scanned.offset == 0:
            os.write(self._fd, SEGMENT_MARK)
            self._scanned.offset = len(SEGMENT_MARK)

    def _cut_back(self, path: Path, fd: int, size: int) -> None:
        offset = self._scanned.offset
        kept = next(p for n in range(1 << 20) if not (p := path.with_suffix(f".{offset}-{n}.torn")).exists())
        with path.open("rb") as source, kept.open("xb") as target:
            source.seek(offset)
            target.write(source.read())
            target.flush()
            os.fsync(target.fileno())
        os.ftruncate(fd, offset)
        os.fsync(fd)
        self.cut = Cut(str(path), offset, size - offset, str(kept))
        log.warning("%s: cut back %d unfinished bytes at %d; they are in %s", path, size - offset, offset, kept)

    def _roll(self) -> None:
        self.sync()
        save_index(self._path(self._firsts[-1]), Index(self._scanned.offset, self.end, self.last))
        if self._fd is not None:
            os.close(self._fd)
        self._create(self.end + 1)

    def _create(self, first: int) -> None:
        self._fd = os.open(self._path(first), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(self._fd, SEGMENT_MARK)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)  # the name of the new file, too, has to survive a power cut
        os.close(folder)
        self._firsts.append(first)
        self._scanned = Cursor(first, first, len(SEGMENT_MARK))

    def close(self) -> None:
        """Syncs and lets go of the lock."""
        try:
            if self._failed is None:
                self.sync()
        finally:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def refresh(self) -> None:
        """Takes in what was appended since: the writer's buffer, or what another process wrote."""
        if self._fd is not None:
            self.flush()
            return
        self._list()
        try:
            for record in self._onwards(self._scanned, None):
                self.end = record.seq
                actor = record.path.rpartition(b".")[0].decode()
                self.last[actor] = Place(record.seq, self._scanned.first, record.offset)
        except Torn as torn:
            self._scanned.offset = torn.offset
            if self._scanned.first != self._firsts[-1]:
                raise TapeDamaged(f"{self._path(self._scanned.first)} ends within a record at {torn.offset}") from torn

    def cursor(self, after: int) -> Cursor:
        """Before the record that follows `after`, or at the beginning of its segment."""
        place = bisect_right(self._firsts, after + 1) - 1
        first = self._firsts[place] if place >= 0 else 1
        return Cursor(first, first)

    def records(self, cursor: Cursor, until: int) -> Iterator[Record]:
        """From the cursor, which moves along, to the sequence `until`, which is on the tape."""
        try:
            yield from self._onwards(cursor, until)
        except Torn as torn:
            raise TapeDamaged(f"{self._path(cursor.first)} ends within a record at {torn.offset}") from torn
        if cursor.seq <= until:
            raise TapeDamaged(f"the tape {self.folder} ends at {cursor.seq - 1}, not at {until}")

    def chunk(self, cursor: Cursor, size: int) -> bytes:
        """Bytes from the cursor on, unchecked; fewer at the end of its segment."""
        with self._path(cursor.first).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, cursor.offset)

    def at(self, place: Place) -> Record:
        self.refresh()
        return next(self.records(Cursor(place.seq, place.first, place.offset), place.seq))

    def _onwards(self, cursor: Cursor, until: int | None) -> Iterator[Record]:
        while self._firsts and (until is None or cursor.seq <= until):
            path = self._path(cursor.first)
            for record in scan(path, cursor.offset, cursor.seq):
                cursor.offset, cursor.seq = record.end, record.seq + 1
                yield record
                if record.seq == until:
                    return
            place = bisect_right(self._firsts, cursor.first)
            if place == len(self._firsts):
                cursor.offset = max(cursor.offset, len(SEGMENT_MARK))
                return
            if self._firsts[place] != cursor.seq:
                raise TapeDamaged(
                    f"{path} ends with {cursor.seq - 1}, but the next segment begins at {self._firsts[place]}"
                )
            cursor.first, cursor.offset = self._firsts[place], 0

    def _list(self) -> None:
        found = sorted(self.folder.glob(f"*{_SUFFIX}"))
        for path in found:
            if not (path.stem.isascii() and path.stem.isdecimal()):
                raise TapeDamaged(f"{path} is not named like a segment of a tape")
        self._firsts = [int(path.stem) for path in found]
        if self._firsts and self._firsts[0] != 1:
            raise TapeDamaged(f"the first segment of the tape {self.folder} is missing: it begins at {self._firsts[0]}")

    def _recall(self) -> None:
        """Starts after the newest finished segment with a usable index, so that opening scans little."""
        self._list()
        for first, following in zip(reversed(self._firsts[:-1]), reversed(self._firsts[1:]), strict=True):
            index = load_index(self._path(first))
            if index is not None and index.end + 1 == following:
                self.last, self.end = dict(index.last), index.end
                self._scanned = Cursor(following, following)
                return

    def _path(self, first: int) -> Path:
        return self.folder / f"{first:020d}{_SUFFIX}"


def scan(path: Path, offset: int, expected: int) -> Iterator[Record]:
    """The records of one segment from `offset`, of which the first must have the sequence `expected`.

    Raises Torn at an unfinished end, TapeDamaged for bytes that are not what was appended.
    """
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise TapeDamaged(f"{path} is missing") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if offset == 0:
            head = os.pread(file.fileno(), len(SEGMENT_MARK), 0)
            if head != SEGMENT_MARK:
                if size <= len(SEGMENT_MARK) and (SEGMENT_MARK.startswith(head) or not any(head)):
                    raise Torn(0)
                raise TapeDamaged(f"{path} does not begin like a segment of a tape (byte 0)")
            offset = len(SEGMENT_MARK)
        for record in records(path, file.fileno(), offset, size):
            if record.seq != expected:
                raise TapeDamaged(f"{path}: the record at byte {record.offset} is {record.seq}, not {expected}")
            expected += 1
            yield record


def save_index(segment: Path, index: Index) -> None:
    """A cache of what a scan of a finished segment finds; deleting it costs only the time of that scan."""
    body = msgspec.json.encode(index)
    fresh = segment.with_suffix(".tmp")
    fresh.write_bytes(b"%08x %b" % (crc32(body), body))
    fresh.replace(segment.with_suffix(_INDEX))


def load_index(segment: Path) -> Index | None:
    """None where there is none, or none that fits the segment."""
    try:
        checksum, _, body = segment.with_suffix(_INDEX).read_bytes().partition(b" ")
        if int(checksum, 16) != crc32(body):
            return None
        index = msgspec.json.decode(body, type=Index)
        return index if index.size == segment.stat().st_size else None
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None


def _locked(folder: Path) -> BinaryIO:
    file = (folder / "lock").open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace") or "?"
        file.close()
        raise TapeError(
            f"the tape {folder} is being written by process {owner}; it takes one writer at a time"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file
