"""The projector as a Ray actor: one process that keeps the read model up with the tape."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import ray

from infra.services.discovery import Endpoints
from infra.session.cluster import WATCHED
from infra.session.lease import lost_to
from infra.session.tasks import ended
from infra.tapes.access import Access
from infra.tapes.jetstream import JetStreamTape
from projections.shell import Projector

NICENESS = 10  # what is read later must not take the machine from what trades now
GATHER_S = 0.05  # nor be told of every message: tables may be so late


class ProjectorWorker:
    """What the Ray actor runs. `run` owns the loop; whoever supervises it calls it again after an exception."""

    def __init__(self, url: str, tape: str, replicas: int, dsn: str, access: Access, epoch: int = 0) -> None:
        self._url, self._tape, self._replicas, self._dsn, self._access = url, tape, replicas, dsn, access
        self._epoch = epoch
        self._projector: Projector | None = None
        self._running: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Returns only by an exception. A database that is away is none: it is waited for."""
        former, self._running = self._running, asyncio.current_task()
        if former is not None:
            await ended(former)  # Ray had called it lost
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        tape = await JetStreamTape.connect(
            self._url, self._tape, replicas=self._replicas, create=False, access=self._access, gather_s=GATHER_S
        )
        self._projector = Projector(self._dsn, tape)
        projecting = asyncio.ensure_future(self._projector.run())
        lost = asyncio.ensure_future(lost_to(tape, self._epoch))
        try:
            done, _ = await asyncio.wait((projecting, lost), return_when=asyncio.FIRST_COMPLETED)
            # Two projectors that are both up to date would win against each other by turns: the checkpoint fences
            # what is written, but ends neither. The tape says whose tables they are.
            raise lost.result() if lost in done else projecting.exception() or RuntimeError("it ended")
        finally:
            await asyncio.gather(ended(projecting), ended(lost))
            await tape.close()

    async def progress(self) -> dict[str, int]:
        """The last tape sequence that is committed, and the process id.

        Waiting for a database counts as moving, and so does making tables anew: an index over millions of rows takes
        longer than a stalled process is given.
        """
        found = self._projector
        if found is None:
            return {"at": 0, "pid": os.getpid(), "moved": 0}
        moved = time.monotonic_ns() if found.rebuilding else found.failures
        return {"at": found.at, "pid": os.getpid(), "moved": moved}


def spawn_projector(endpoints: Endpoints, tape: JetStreamTape, epoch: int = 0) -> Any:
    """The process of a session; `run` is not called yet. It counts no CPU: trading must never wait for its place."""
    dsn, access = endpoints.postgres_dsn, endpoints.access("projector")
    return (
        ray.remote(**WATCHED)(ProjectorWorker)
        .options(name="projector", num_cpus=0, max_restarts=-1, max_task_retries=0)
        .remote(endpoints.nats, tape.name, tape.replicas, dsn, access, epoch)
    )
