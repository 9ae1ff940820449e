"""`tape export`, `check`, `restore` and `retain`: the tape's archive."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import folder, looking, now, reached, session_pid, tape_of
from infra.cli.screen import pairs
from infra.cli.values import clock, duration

if TYPE_CHECKING:
    from infra.archive.place import Place
    from infra.config import Config


async def export(context: Context, archive: str | None) -> int:
    from infra.archive import export as exporting

    config = context.config()
    place = _place(config, archive)
    with _alone(config):
        async with looking(config, "archivist") as (tape, _):
            with context.screen.progress("sealing", await tape.end()) as advance:
                done = await exporting.export(tape, place, advance)
    rows = [
        ("archive", str(place)),
        ("sealed now", f"{done.messages:,} messages in {done.parts:,} parts" if done.parts else "nothing new"),
        ("up to", f"{done.last:,}"),
        ("head", done.head),
    ]
    said = f"Keep the head somewhere else: `tape check --head {done.head[:8]}...` proves later that nothing is missing."
    value = {"tape": config.tape, "archive": str(place), **msgspec.to_builtins(done)}
    context.screen.result(value, pairs(rows), *([said] if done.parts else []))
    return Exit.FINE


async def check(context: Context, archive: str | None, head: str | None, alone: bool) -> int:
    from infra.archive.check import check as checked
    from infra.archive.model import ArchiveDamaged

    config, screen = context.config(), context.screen
    place = _place(config, archive)
    try:
        if alone:
            with screen.progress("checking", None) as advance:
                found = await checked(place, None, advance, head=head)
        else:
            async with looking(config) as (tape, _):
                with screen.progress("checking", await tape.end()) as advance:
                    found = await checked(place, tape, advance, head=head)
    except ArchiveDamaged as error:
        value = {"tape": config.tape, "archive": str(place), "same": False, "first": error.seq, "reason": str(error)}
        screen.result(value, f"DIFFERENT: {error}")
        return Exit.DIFFERENCE
    rows = [
        ("archive", str(place)),
        ("proven", f"{found.last:,} messages in {found.parts:,} parts"),
        ("head", found.head),
        ("compared with the tape", "no (--alone)" if alone else f"{found.compared:,} messages"),
        ("hash on the tape", "not asked (--alone)" if alone else f"agrees up to {found.witnessed:,}"),
    ]
    value = {"tape": config.tape, "archive": str(place), "same": True, **msgspec.to_builtins(found)}
    screen.result(value, pairs(rows), "The archive is whole, and every message is as it was sealed.")
    return Exit.FINE


async def restore(context: Context, archive: str | None) -> int:
    from infra.archive import restore as restoring

    config = context.config()
    place = _place(config, archive)
    if session_pid(config) is not None:
        raise Failure("a session runs on this tape: end it with `tape stop`, then restore", Exit.IN_THE_WAY)
    with _alone(config):
        async with reached(config) as at:
            with context.screen.progress("restoring", None) as advance:
                done = await restoring.restore(at.nats_url, place, at.replicas, advance, at.access("archivist"))
    rows = [
        ("tape", f"{config.tape} up to {done.last:,}"),
        ("restored", f"{done.added:,} messages"),
        ("there before", f"{done.found:,}, byte for byte the archive's"),
        ("head", done.head),
    ]
    said = "`tape verify` derives every decision on it again; `tape rebuild` makes the tables."
    context.screen.result({"tape": config.tape, "archive": str(place), **msgspec.to_builtins(done)}, pairs(rows), said)
    return Exit.FINE


async def retain(context: Context, archive: str | None, keep: str) -> int:
    from infra.archive import retain as retaining

    config, screen = context.config(), context.screen
    place = _place(config, archive)
    count, since = _kept(keep)
    with _alone(config):
        async with reached(config) as at:
            if await retaining.mend(at.nats_url, config.tape, at.access("archivist")):
                screen.say("The tape was still closed by a `tape retain` that was broken off; it is open again.")
            async with tape_of(config, at, "archivist") as tape:
                end = await tape.end()
                first = end + 1 - count if since is None else await retaining.boundary(tape, since)
                with screen.progress("proving the archive", None) as advance:
                    done = await retaining.retain(tape, place, first, advance)
    rows = [
        ("tape", f"{config.tape} holds {done.first:,} to {end:,}"),
        ("dropped", f"{done.dropped:,} messages" if done.dropped else "nothing"),
        ("archive", f"{place} up to {done.archived:,}, proven and compared with the tape"),
    ]
    if done.first < first:
        held = f"at least the archive's last {retaining.KEPT_MIN:,} messages stay"
        rows.append(("kept more", f"{held}; `tape export` moves its end on"))
    value = {"tape": config.tape, "archive": str(place), "wanted": first, **msgspec.to_builtins(done)}
    screen.result(value, pairs(rows), "Whatever reads the tape reads what was dropped from the archive.")
    return Exit.FINE


def _place(config: Config, archive: str | None) -> Place:
    from infra.archive.place import Place

    return Place(archive or config.archive or str(folder(config) / "archive"), config.tape)


def _kept(text: str) -> tuple[int, int | None]:
    """(number of messages, None) or (0, the time in µs UTC from which on messages stay)."""
    plain = text.replace(",", "").replace("_", "")
    if re.fullmatch(r"\d+", plain):
        if int(plain) == 0:
            raise Failure(
                "--keep 0 would leave nothing to go on from: write a number of messages or a time such as 30d"
            )
        return int(plain), None
    since = now() - int(duration(text) * 1e6)
    if since < 0:
        raise Failure(f"--keep {text} is longer than there have been clocks; {clock(now())} is now")
    return 0, since


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Holds the archive's work on this tape for this process. Raises Failure where another one is at it."""
    home = folder(config)
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{config.tape}.archive").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(
                f"another export, restore or retain of the tape {config.tape!r} is at work: wait for its end",
                Exit.IN_THE_WAY,
            ) from None
        yield
