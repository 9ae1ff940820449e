"""Opening a tape for a session: what a process needs to reach it, and the plan that stands at its beginning."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from actors.plan import Plan
from actors.shell import Gate
from events.control import SessionStarted
from events.decision import digest_of
from events.feed import observed
from events.subjects import SESSION
from events.tape import LostRace, Tape
from infra.config import Config
from infra.services.discovery import Endpoints
from infra.session.audit import NoSession, plan_on
from infra.session.lease import check_ours
from infra.session.lockstep import LockstepGate, line
from infra.tapes.access import NOBODY, Access
from infra.tapes.jetstream import JetStreamTape


class SessionError(Exception):
    """A session cannot start or go on; one sentence that says why and what to do."""


async def connect_worker(
    url: str, tape: str, replicas: int, settled: int | None, access: Access = NOBODY, epoch: int = 0
) -> tuple[Tape, Gate | None]:
    """What a Ray actor calls first. `settled` None: free-running; else lock-step after that sequence.

    Raises SessionLost where the tape belongs to a later session than that of `epoch`: it must claim nothing any more.
    """
    opened = await JetStreamTape.connect(url, tape, replicas=replicas, create=False, access=access)
    try:
        await check_ours(opened, epoch)
        return opened, None if settled is None else await LockstepGate.open(opened.client, line(tape, epoch), settled)
    except BaseException:
        await opened.close()
        raise


async def record_plan(tape: Tape, plan: Plan, now: int) -> None:
    """Puts the plan on an empty tape, or checks that the tape was recorded under the very same plan."""
    values = msgspec.to_builtins(plan)
    try:
        found = await plan_on(tape)
    except NoSession:
        hashed = digest_of(msgspec.json.encode(plan, order="deterministic"))
        message = observed(SESSION, now, SessionStarted(now, values, hashed))
        try:
            await tape.append(SESSION, message, expected=0)
            return
        except LostRace:  # another session starts on the empty tape at this moment
            found = await plan_on(tape)
    if found != plan:
        raise SessionError(
            f"tape {tape.name!r} was recorded under another plan ({_changed(found, plan)}); decisions on one tape "
            "follow one plan: give this plan a tape of its own with --tape NAME, or go back to the old one"
        )


def _changed(old: Plan, new: Plan) -> str:
    changed = [name for name in Plan.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    return "other " + " and ".join(changed)


@contextmanager
def sole_session(data_dir: Path, tape: str) -> Iterator[None]:
    """Holds the tape for this process. Raises SessionError where another session on this machine holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / f"{tape}.session"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise SessionError(
                f"a session already runs on tape {tape!r} (process {holder}); look at it with `tape status`, or end it "
                "with `tape stop`"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


async def open_tape(config: Config, endpoints: Endpoints) -> Tape:
    """The configured tape for looking at, where there is one. Raises TapeError."""
    access = endpoints.access("viewer")
    return await JetStreamTape.connect(
        endpoints.nats, config.tape, replicas=endpoints.replicas, create=False, access=access
    )


@asynccontextmanager
async def opened(
    config: Config, at: Endpoints, role: str, *, create: bool = False, gather_s: float = 0.0
) -> AsyncIterator[JetStreamTape]:
    """The configured tape, for a role; `gather_s` is for who follows without hurry. Raises TapeError."""
    access = at.access(role)
    tape = await JetStreamTape.connect(
        at.nats, config.tape, replicas=at.replicas, create=create, access=access, gather_s=gather_s
    )
    try:
        yield tape
    finally:
        await tape.close()
