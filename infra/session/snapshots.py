"""Snapshots in a folder of this machine, and places for recoveries: `<data_dir>/snapshots/<tape>/<actor>/<seq>.snap`.

Whoever can write there can run code as this user when a snapshot is read, as with the strategies' own files: the folder
is the user's alone, and is not used where it is not.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.decider import Decider
from actors.snapshot import Place, Snapshot, Unfit, packed, unpacked
from actors.upkeep import Upkeep
from infra.session.snapshotkey import key_of

log = logging.getLogger("tickertape.snapshots")

KEPT = 2  # of each actor: the newest may be torn, or be of an end that the tape has lost

_numbers = itertools.count()


class Folder:
    """Snapshots of some actors of one tape. Files are renamed into place but not synced: a torn one is not used."""

    def __init__(self, folder: Path, keys: dict[str, str]) -> None:
        self._folder, self._keys = folder, keys
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def key(self, actor: str) -> str:
        return self._keys.get(actor, "")

    def load(self, actor: str) -> Iterator[Snapshot]:
        if not _private(self._folder):
            log.warning("snapshots in %s are not used: others than this user may have written them", self._folder)
            return
        for path in _newest(self._folder / actor):
            try:
                snapshot = unpacked(path.read_bytes())
            except (OSError, Unfit) as problem:
                log.warning("snapshot %s is not used: %s", path, problem)
                _unlink(path)
                continue
            place = snapshot.place
            if (place.actor, place.key) != (actor, self.key(actor)):
                log.info("snapshot %s is of another version or configuration, and is dropped", path)
                _unlink(path)
                continue
            yield snapshot

    async def save(self, snapshots: Sequence[Snapshot], moved: Sequence[Place]) -> None:
        await asyncio.to_thread(self._save, snapshots, moved)

    def _save(self, snapshots: Sequence[Snapshot], moved: Sequence[Place]) -> None:
        for snapshot in (*snapshots, *self._moved(moved)):
            folder = self._folder / snapshot.place.actor
            path = folder / f"{snapshot.place.seq:020d}.snap"
            fresh = folder / f"{os.getpid()}-{next(_numbers)}.tmp"
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                fresh.write_bytes(packed(snapshot))
                fresh.replace(path)
            except OSError:
                _unlink(fresh)
                raise
            for old in _newest(folder)[KEPT:]:
                _unlink(old)

    def _moved(self, places: Sequence[Place]) -> Iterator[Snapshot]:
        for place in places:
            for snapshot in itertools.islice(self.load(place.actor), 1):
                if snapshot.place.version == place.version:
                    yield Snapshot(place, snapshot.body)

    def drop(self, place: Place) -> None:
        _unlink(self._folder / place.actor / f"{place.seq:020d}.snap")


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.snap"), reverse=True)


def _private(folder: Path) -> bool:
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


class Places:
    """So many recoveries at once on this machine, over all its processes: a place is a locked file, which comes free
    when its holder dies, however it dies."""

    def __init__(self, folder: Path, number: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths = [folder / f"recovery-{place}.lock" for place in range(number)]
        self._held: int | None = None

    def enter(self) -> bool:
        for path in self._paths:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                continue
            self._held = file
            return True
        return False

    def leave(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            os.close(held)


def folder_of(data_dir: Path, tape: str) -> Path:
    return data_dir / "snapshots" / tape


def upkeep(folder: Path, recoveries: int, passivate_s: float, deciders: Iterable[Decider[Any]]) -> Upkeep:
    """What a process is given, made inside it."""
    keys = {decider.actor: key_of(decider) for decider in deciders}
    return Upkeep(Folder(folder, keys), Places(folder, recoveries), passivate_s)


def keeping(data_dir: Path, tape: str, recoveries: int, passivate_s: float) -> Callable[[Sequence[Any]], Upkeep]:
    """As `upkeep`, to be sent to a process."""
    return partial(upkeep, folder_of(data_dir.resolve(), tape), recoveries, passivate_s)
