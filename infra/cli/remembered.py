"""An overview that goes on from where it was left: a cache beside the actors' snapshots, by the same rules."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from actors.snapshot import Place, Snapshot, Unfit, frozen, thawed
from events.decision import Recorded
from infra.cli import overview as module
from infra.cli.overview import Overview
from infra.session.snapshotkey import key_of_code
from infra.session.snapshots import Folder, folder_of
from infra.tapes.jetstream import JetStreamTape

READ = ("market.>", "bot.>", "account.>", "command.>", "session.>", "supervisor.>", "quarantine.>", "venue.>")
"""All that is decided or commanded; what feeds said is in it where it counts."""
WORTH = 5_000  # entries that are read in a tenth of a second: not worth a file
EVERY = 50_000  # entries between two copies while a session runs
_NAME = "screen"

log = logging.getLogger("tickertape.screen")


class Remembered:
    """`overview` is what the tape says up to the last entry given to `add`. `before`: where it went on from."""

    def __init__(self, tape: JetStreamTape, data_dir: Path) -> None:
        self.overview = Overview()
        self.before = 0
        self._tape = tape
        self._store = Folder(folder_of(data_dir.resolve(), tape.name), {_NAME: key_of_code(module.__name__)})
        self._newest: Recorded | None = None
        self._kept = 0

    async def read(self, progress: Callable[[int], None] | None = None) -> Overview:
        """Up to the end of what is stored now."""
        await self._recall()
        async for entry in self._tape.read(READ, after=self.overview.at):
            self._take(entry)
            if progress is not None and entry.seq % 1000 == 0:
                progress(entry.seq)
        if self._kept + WORTH < self.overview.at:
            await self.keep()
        return self.overview

    async def follow(self) -> None:
        """Goes on for ever."""
        async for entry in self._tape.follow(READ, after=self.overview.at):
            self._take(entry)
            if self._kept + EVERY < self.overview.at:
                await self.keep()

    async def keep(self) -> None:
        """Writes a copy. One that cannot be written is said and does without: it saves time, nothing else."""
        entry = self._newest
        if entry is None or entry.seq == self._kept:
            return
        self._kept = entry.seq
        place = Place(
            _NAME, self._store.key(_NAME), entry.seq, entry.decision.id, entry.known_at, entry.seq, "", 0, "", 0
        )
        try:
            await self._store.save((Snapshot(place, frozen(self.overview)),), ())
        except (OSError, Unfit) as problem:
            log.warning("what the screen shows is not kept for the next start: %s", problem)

    async def _recall(self) -> None:
        for snapshot in self._store.load(_NAME):
            place = snapshot.place
            found = await self._tape.entry(place.seq)
            if found is not None and (found.decision.id, found.known_at) == (place.seen, place.known_at):
                try:
                    self.overview = thawed(snapshot.body)
                except Unfit as problem:
                    log.warning("what the screen showed is read again: %s", problem)
                else:
                    self.before = self._kept = place.seq
                    return
            self._store.drop(place)

    def _take(self, entry: Recorded) -> None:
        self.overview.add(entry)
        self._newest = entry
