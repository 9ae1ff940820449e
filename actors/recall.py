"""What a process knows before it deals with anything: its actors' snapshots, where the tape bears them out, and their
own messages since."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing

from actors.seat import Seat
from actors.snapshot import Place, Snapshots, Unfit, restore, thawed
from actors.upkeep import SnapshotGone
from events.decision import Recorded
from events.tape import Tape

BREATHE = 1_000  # messages, some milliseconds

log = logging.getLogger("tickertape.snapshots")


async def restored(seat: Seat, snapshots: Snapshots, tape: Tape) -> Recorded | None:
    """Makes the seat what its newest usable snapshot says; the actor's last message, or None where there was none."""
    for snapshot in snapshots.load(seat.actor):
        last = await tape.last(seat.actor)
        try:
            if last is None or not await _stands_on(tape, snapshot.place, last):
                raise Unfit(f"the tape does not hold what it was made of, up to {snapshot.place.seq}")
            restore(seat, snapshot)
        except Unfit as problem:
            log.warning("%s: a snapshot is not used: %s", seat.actor, problem)
            snapshots.drop(snapshot.place)
            continue
        seat.version, seat.said, seat.epoch = last.seq, last.decision.id, last.epoch
        return last
    return None


async def _stands_on(tape: Tape, place: Place, last: Recorded) -> bool:
    """Whether the tape is the one that the snapshot was made of, and not shorter than it was then."""
    if last.seq < place.version:
        return False
    seen = await tape.entry(place.seq)
    if seen is None or (seen.decision.id, seen.known_at) != (place.seen, place.known_at):
        return False
    own = last if last.seq == place.version else await tape.entry(place.version)
    return own is not None and (own.actor, own.decision.id) == (place.actor, place.said)


async def pass_over(seat: Seat, tape: Tape, end: int) -> None:
    """Where there was nothing to hear up to `end`, the server need not look for it in all that others said."""
    newest = [await tape.last_match(pattern) for pattern in seat.decider.inbox]
    if max(newest, default=0) <= seat.at:
        seat.at = end


async def passed(tape: Tape, patterns: Iterable[str], after: int, far: int) -> Recorded | None:
    """The tape's last message, where nothing under the patterns has come since `after`, `far` or more before it."""
    end = await tape.end()
    if end - after < far or max([await tape.last_match(pattern) for pattern in patterns], default=0) > after:
        return None
    return await tape.entry(end)


def wake(seat: Seat, snapshots: Snapshots, seq: int) -> None:
    """Gives a resting actor its state back, for an entry at `seq` waits for it. Raises SnapshotGone."""
    for snapshot in snapshots.load(seat.actor):
        if snapshot.place.version == seat.version and seat.at <= snapshot.place.seq < seq:
            try:
                seat.state = thawed(snapshot.body)
                return
            except Unfit:
                continue
    raise SnapshotGone(f"{seat.actor} rests, and its snapshot is gone: its process starts again from the tape")


async def recall(
    seats: Sequence[Seat], last: Mapping[str, Recorded], tape: Tape, breathe: Callable[[], Awaitable[None]]
) -> None:
    """Reads the actors' own messages that their states do not hold. `last`: that of each restored actor.

    `breathe` is awaited now and then.
    """
    fresh = [seat for seat in seats if seat.actor not in last]
    if fresh:
        await _read_own(fresh, {}, tape, 0, breathe)
    news = [seat for seat in seats if seat.actor in last and last[seat.actor].seq > seat.at]
    if news:
        until = {seat.actor: last[seat.actor].seq for seat in news}
        await _read_own(news, until, tape, min(seat.at for seat in news), breathe)


async def _read_own(
    seats: Sequence[Seat], until: dict[str, int], tape: Tape, after: int, breathe: Callable[[], Awaitable[None]]
) -> None:
    """Ends when each has reached `until`; where that is empty, at the tape's end."""
    by_actor, count = {seat.actor: seat for seat in seats}, 0
    reading = tape.read([f"{actor}.>" for actor in by_actor], after=after)
    async with aclosing(reading) as stored:  # type: ignore[type-var]
        async for own in stored:
            by_actor[own.actor].recall(own)
            if own.seq == until.get(own.actor):
                del until[own.actor]
                if not until:
                    return
            count += 1
            if count % BREATHE == 0:
                await breathe()
