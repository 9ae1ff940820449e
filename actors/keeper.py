"""When which actor of a process is to have a snapshot: the oldest first, a few at a time, so that nothing waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence

import msgspec

from actors.seat import Seat
from actors.snapshot import Place, Snapshot, Snapshots, Unfit, frozen, place_of
from events.decision import Recorded

log = logging.getLogger("tickertape.snapshots")

EVERY_S = 30.0  # at live rates a restart then reads some thousand entries, in a fraction of a second
EVERY_ENTRIES = 5_000  # of the process's inbox: a quarter of a second of reading, or a second on a busy machine
BUDGET_S = 0.002  # of the loop at a time: less than what an append takes under load

PASSIVE = object()
"""The state of an actor that has none in memory: its snapshot holds it."""


class _Kept(msgspec.Struct):
    """Of one seat: at which sequence, entry of its process and time the last snapshot was made; since when it has heard
    nothing, as `at` says."""

    seat: Seat
    key: str
    seq: int
    dealt: int
    when: float
    at: int
    since: float


class Batch(msgspec.Struct):
    """To be stored: new snapshots, and places that older ones stand for from then on. Who may rest after that."""

    snapshots: list[Snapshot]
    moved: list[Place]
    idle: list[tuple[Seat, int]]

    def __bool__(self) -> bool:
        return bool(self.snapshots or self.moved or self.idle)


class Keeper:
    """`passivate_s` 0: nobody rests."""

    def __init__(
        self, seats: Sequence[Seat], snapshots: Snapshots, clock: Callable[[], float], passivate_s: float = 0.0
    ) -> None:
        self._clock, self._passivate_s = clock, passivate_s
        self._every_s = min(EVERY_S, passivate_s) if passivate_s else EVERY_S
        now = clock()
        self._dealt, self._quiet_since = 0, now
        keys = [(seat, snapshots.key(seat.actor)) for seat in seats]
        # In the order of their last snapshots, so that looking for who is due ends at the first who is not.
        self._kept = {seat.actor: _Kept(seat, key, seat.at, 0, now, seat.at, now) for seat, key in keys if key}

    def take(self, entry: Recorded, dealt: int, owing: Container[str], *, every: bool = False) -> Batch:
        """Snapshots after `entry`, the `dealt`th of this process. `owing`: actors with decisions not on the tape yet.

        As many as the budget allows of those that are due; with `every` all that are behind.
        """
        batch, now = Batch([], [], []), self._clock()
        for actor, kept in list(self._kept.items()):
            if not every and now - kept.when < self._every_s and dealt - kept.dealt < EVERY_ENTRIES:
                break
            if actor in owing:
                continue
            if kept.seq < entry.seq:
                self._add(batch, kept, entry, now)
                kept.seq = entry.seq
            self._look_for_idleness(batch, kept, now)
            kept.dealt, kept.when = dealt, now
            del self._kept[actor]
            if kept.key:
                self._kept[actor] = kept
            if not every and self._clock() - now > BUDGET_S:
                break
        return batch

    def quiet(self, dealt: int) -> bool:
        """Whether, since it last said so, the process has dealt with nothing for as long as snapshots are apart."""
        now = self._clock()
        if dealt == self._dealt and now - self._quiet_since < self._every_s:
            return False
        found, self._dealt, self._quiet_since = dealt == self._dealt, dealt, now
        return found

    def _add(self, batch: Batch, kept: _Kept, entry: Recorded, now: float) -> None:
        seat = kept.seat
        place = place_of(seat, entry, kept.key)
        if seat.state is PASSIVE:
            batch.moved.append(place)
            return
        try:
            batch.snapshots.append(Snapshot(place, frozen(seat.state)))
        except Unfit as problem:
            log.warning("%s has no snapshots, and its restarts read the whole tape: %s", seat.actor, problem)
            kept.key = ""

    def _look_for_idleness(self, batch: Batch, kept: _Kept, now: float) -> None:
        seat = kept.seat
        if seat.at != kept.at:
            kept.at, kept.since = seat.at, now
        elif self._passivate_s and now - kept.since >= self._passivate_s and kept.key and seat.state is not PASSIVE:
            batch.idle.append((seat, seat.at))
