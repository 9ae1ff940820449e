"""A tape in files: append-only segments with checksums, for one machine without a bus, and for backtests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from events import subjects
from events.codec import Codec, MalformedFact
from events.decision import Decision, Recorded
from events.patterns import PatternIndex
from events.tape import EVERYTHING, LostRace, TapeError

from .pages import Page, pages
from .records import Record
from .scan import worth_it
from .segments import Cursor, Cut, Fsync, Place, SegmentLog

log = logging.getLogger(__name__)

_SEGMENT_BYTES = 64 << 20
_POLL_S = 0.05  # how often a reader looks whether another process has written
_BREATHE = 512  # entries after which a reader lets the loop serve others


class FileTape:
    """Opens or creates the tape in `<directory>/<name>/`; with `write`, as its only writer.

    `fsync` names how durable an acknowledged append is:

    - `always`: synced to disk before `append` returns; survives a power cut.
    - `interval`: handed to the operating system at once and synced `interval_s` later at most; survives a crash of
      this process, while a power cut or a crash of the machine may take what the last `interval_s` brought.
    - `close`: kept in a buffer of 1 MiB, written when that is full, something is read, or the tape is closed; a crash
      may take the buffer. For backtests, which can run again.

    `clock` gives `known_at` in µs UTC. Raises TapeError where another writer is at work, TapeDamaged for damaged files.
    """

    def __init__(
        self,
        directory: Path | str,
        name: str = "main",
        *,
        write: bool = True,
        fsync: Fsync = "interval",
        interval_s: float = 1.0,
        segment_bytes: int = _SEGMENT_BYTES,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.name = subjects.token(name)
        self.folder = Path(directory) / name
        if write:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif not self.folder.is_dir():
            raise TapeError(f"there is no tape in {self.folder}")
        self._write, self._fsync, self._interval_s, self._clock = write, fsync, interval_s, clock
        self._log = SegmentLog(self.folder, write=write, fsync=fsync, segment_bytes=segment_bytes)
        self._codec = Codec()
        self._last_keys: dict[str, tuple[tuple[str, int], int]] = {}
        self._sync_due: asyncio.TimerHandle | None = None
        self._grown = asyncio.Event()

    @property
    def cut(self) -> Cut | None:
        """What was cut back when the tape was opened, if its end was torn."""
        return self._log.cut

    def put(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> Recorded:
        """`append` without a loop to await on, and so without the timer of `fsync="interval"`."""
        last = self._log.last.get(actor)
        if last is not None and self._key_of(actor, last) == (decision.key, epoch):
            return self._entry(self._log.at(last))
        found = last.seq if last is not None else 0
        if found != expected:
            raise LostRace(actor, expected, found)
        known_at = self._clock()
        path = f"{actor}.{decision.kind}".encode()
        place = self._log.append(actor, path, self._codec.encode(decision), epoch, known_at)
        self._last_keys[actor] = (decision.key, epoch)
        self._grown.set()
        return Recorded(place.seq, actor, decision, known_at, epoch)

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        """As the port says, and as durable as `fsync` says."""
        seq = self.put(actor, decision, expected=expected, epoch=epoch).seq
        if self._fsync == "interval" and self._sync_due is None:
            self._sync_due = asyncio.get_running_loop().call_later(self._interval_s, self._sync)
        return seq

    async def last(self, actor: str) -> Recorded | None:
        self._log.refresh()
        place = self._log.last.get(actor)
        return None if place is None else self._entry(self._log.at(place))

    async def entry(self, seq: int) -> Recorded | None:
        self._log.refresh()
        if not 0 < seq <= self._log.end:
            return None
        return next(self._entry(one) for one in self._log.records(self._log.cursor(seq - 1), seq) if one.seq == seq)

    async def end(self) -> int:
        self._log.refresh()
        return self._log.end

    async def last_match(self, pattern: str) -> int:
        """As the port says; it reads the whole tape."""
        return max((entry.seq for entry in self.scan([pattern])), default=0)

    def scan(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> Iterator[Recorded]:
        """`read` without a loop to await on."""
        self._log.refresh()
        return self._scan(self._log.cursor(after), patterns, after)

    def _scan(self, cursor: Cursor, patterns: Sequence[str], after: int) -> Iterator[Recorded]:
        wanted = PatternIndex((pattern, True) for pattern in patterns)
        for record in self._log.records(cursor, self._log.end):
            if record.seq > after:
                actor, kind = _split(record.path)
                if wanted.find(actor, kind):
                    yield self._entry(record)

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        for count, entry in enumerate(self.scan(patterns, after=after), 1):
            yield entry
            if count % _BREATHE == 0:
                await asyncio.sleep(0)

    async def pages(self, *, after: int = 0, columns: bool | None = None) -> AsyncIterator[Page]:
        """What `read` gives of everything, many entries at a time and in a third of the time.

        With `columns` what can come as such does; by itself, where there is much to come.
        """
        self._log.refresh()
        columns = worth_it(self._log.end - after) if columns is None else columns
        for page in pages(self._log, after, self._known, columns=columns):
            yield page

    async def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        """As the port says. A tape that another process writes is looked at every 50 ms."""
        cursor: Cursor | None = None
        count = 0
        while True:
            self._log.refresh()
            if cursor is None and self._log.end > after:
                cursor = self._log.cursor(after)
            if cursor is not None:
                for entry in self._scan(cursor, patterns, after):
                    yield entry
                    count += 1
                    if count % _BREATHE == 0:
                        await asyncio.sleep(0)
            if not self._write:
                await asyncio.sleep(_POLL_S)
            elif self._log.end <= (after if cursor is None else cursor.seq - 1):
                self._grown.clear()
                await self._grown.wait()

    async def close(self) -> None:
        """Everything appended is synced to disk, and the tape is free for another writer."""
        if self._sync_due is not None:
            self._sync_due.cancel()
            self._sync_due = None
        self._log.close()

    def _sync(self) -> None:
        self._sync_due = None
        try:
            self._log.sync()
        except TapeError as error:  # nobody awaits a timer: the log keeps the error and refuses the next append
            log.error("%s", error)

    def _key_of(self, actor: str, last: Place) -> tuple[tuple[str, int], int]:
        if actor not in self._last_keys:
            entry = self._entry(self._log.at(last))
            self._last_keys[actor] = (entry.decision.key, entry.epoch)
        return self._last_keys[actor]

    def _entry(self, record: Record) -> Recorded:
        return self._known(record.seq, record.epoch, record.known_at, record.path, record.data)

    def _known(self, seq: int, epoch: int, known_at: int, path: bytes, data: bytes) -> Recorded:
        try:
            decision = self._codec.decode(data)
        except MalformedFact:
            decision = self._codec.decode_or_unreadable(f"{self.name}.{path.decode()}", data)
        return Recorded(seq, _split(path)[0], decision, known_at, epoch)


@lru_cache(maxsize=65_536)
def _split(path: bytes) -> tuple[str, str]:
    actor, _, kind = path.decode().rpartition(".")
    return actor, kind
