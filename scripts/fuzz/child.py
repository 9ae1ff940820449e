"""The processes that the garbage must not stop: the actors of a plan, and the projector."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing as mp
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import uvloop

from actors.plan import Plan
from actors.roster import deciders
from actors.shell import Host
from infra.tapes.jetstream import JetStreamTape
from projections.shell import Projector

_SHOWN_S = 0.05


class Child:
    """A process that follows a tape; `at` is how far it is."""

    def __init__(self, name: str, target: Any, *given: Any) -> None:
        context = mp.get_context("spawn")
        self.name = name
        self._at: Synchronized[int] = context.Value("q", 0)
        self._process = context.Process(target=target, args=(self._at, *given), daemon=True)
        self._process.start()

    @property
    def at(self) -> int:
        return self._at.value

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(10)


def act(at: Synchronized[int], folder: Path, url: str, tape: str, plan: Plan) -> None:
    """What ends it is in the folder's `actors.log`."""
    _logged(folder / "actors.log")

    async def work() -> None:
        opened = await JetStreamTape.connect(url, tape, create=False)
        host = Host(deciders(plan), opened)
        await _shown(at, host, host.run())

    uvloop.run(work())


def project(at: Synchronized[int], folder: Path, url: str, tape: str, dsn: str) -> None:
    _logged(folder / "projector.log")

    async def work() -> None:
        projector = Projector(dsn, await JetStreamTape.connect(url, tape, create=False))
        await _shown(at, projector, projector.run())

    uvloop.run(work())


async def _shown(at: Synchronized[int], worker: Host | Projector, run: Any) -> None:
    working = asyncio.ensure_future(run)
    while not working.done():
        at.value = worker.at
        await asyncio.wait((working,), timeout=_SHOWN_S)
    try:
        working.result()
    except BaseException:
        logging.exception("ended at %s", time.ctime())
        raise


def _logged(path: Path) -> None:
    # Each parked fact is an error line of its own; how many there are is counted in the tables.
    logging.basicConfig(filename=path, level=logging.WARNING)
    logging.getLogger("tickertape.projections").setLevel(logging.CRITICAL)
