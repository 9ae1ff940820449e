"""Appending under an epoch: what strangers write beside it is passed over, a later epoch ends it."""

from __future__ import annotations

import logging

from events.decision import Decision
from events.tape import LostRace, Tape

log = logging.getLogger("tickertape.session")

RACES_MAX = 100  # of one message: a stranger that writes faster than this, for so long, is left to a person


class Writer:
    """Appends as one actor that decides nothing, such as a feed: `epoch` is that of the session it belongs to.

    `version` is the sequence of the actor's last message as far as this writer knows. Whoever takes over claims first,
    with a later epoch: the next append here then finds another version than it expects, reads what came between, and
    raises LostRace.
    """

    def __init__(self, tape: Tape, actor: str, epoch: int, version: int) -> None:
        self.actor, self.epoch, self.version = actor, epoch, version
        self._tape = tape

    async def append(self, decision: Decision) -> int:
        """The sequence. Raises LostRace where a later epoch has begun."""
        for _ in range(RACES_MAX):
            try:
                self.version = await self._tape.append(self.actor, decision, expected=self.version, epoch=self.epoch)
                return self.version
            except LostRace as race:
                lost = race
                await self._read_up(race)
        raise lost

    async def _read_up(self, race: LostRace) -> None:
        async for entry in self._tape.read([f"{self.actor}.>"], after=self.version):
            if entry.epoch > self.epoch:
                raise race
            self.version = entry.seq
        log.warning("a stranger writes as %s: %s", self.actor, str(race).removesuffix("; this one stops"))
