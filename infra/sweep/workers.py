"""Runs on several cores: forked processes that share the data they were forked with, and send back lines of figures.

Ray was measured and left out: see the README.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from infra.sweep.study import Outcome, Player, Study

BATCH_MAX = 64
_FORK = get_context("fork")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Outcome).decode
_decode_batch = msgspec.msgpack.Decoder(tuple[int, list[int]]).decode
Batch = tuple[int, list[int]]
"""A slice and the numbers of combinations to play over it."""


def played(study: Study, batches: Iterable[Batch], jobs: int) -> Generator[Outcome | None, None, None]:
    """Outcomes as they come, in no order; None about four times a second where none comes.

    Batches are taken when a process has nothing to do. A process that dies makes one outcome with an error; its other
    runs are played by another. Closing the iterator ends all processes.
    """
    if jobs == 1:
        yield from _alone(study, batches)
        return
    gc.collect()
    gc.freeze()  # so that collections in the children do not copy the pages they share
    pool = _Pool(study, iter(batches), jobs)
    try:
        yield from pool.run()
    finally:
        pool.close()
        gc.unfreeze()


def _alone(study: Study, batches: Iterable[Batch]) -> Iterator[Outcome]:
    player = Player(study)
    for slice, numbers in batches:
        for number in numbers:
            yield player(slice, number)


class _Worker:
    """A process and the runs that it has not yet sent back."""

    def __init__(self, study: Study, others: list[Connection]) -> None:
        self.conn, theirs = _FORK.Pipe()
        self.slice, self.left = 0, deque[int]()
        self.process = _FORK.Process(target=_serve, args=(theirs, [*others, self.conn], study), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, batch: Batch) -> None:
        self.slice, self.left = batch[0], deque(batch[1])
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died: the end of the pipe says so
            self.conn.send_bytes(_encode(batch))


class _Pool:
    def __init__(self, study: Study, batches: Iterator[Batch], jobs: int) -> None:
        self._study, self._batches = study, batches
        self._again: deque[Batch] = deque()
        self._workers: list[_Worker] = []
        for _ in range(jobs):
            batch = self._next()
            if batch is None:
                break
            self._hire(batch)

    def _next(self) -> Batch | None:
        return self._again.popleft() if self._again else next(self._batches, None)

    def _hire(self, batch: Batch) -> None:
        worker = _Worker(self._study, [one.conn for one in self._workers])
        self._workers.append(worker)
        worker.give(batch)

    def run(self) -> Iterator[Outcome | None]:
        while self._workers:
            ready = wait([one.conn for one in self._workers], timeout=0.25)
            if not ready:
                yield None
            for worker in [one for one in self._workers if one.conn in ready]:
                try:
                    outcome = _decode(worker.conn.recv_bytes())
                except (EOFError, ConnectionResetError):
                    yield self._lost(worker)
                    continue
                worker.left.popleft()
                yield outcome
                if not worker.left:
                    self._go_on(worker)

    def _go_on(self, worker: _Worker) -> None:
        batch = self._next()
        if batch is None:
            self._workers.remove(worker)
            _dismiss(worker)
        else:
            worker.give(batch)

    def _lost(self, worker: _Worker) -> Outcome:
        """The run under way is given up: it may be what ended the process."""
        self._workers.remove(worker)
        worker.conn.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        why = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        number = worker.left.popleft()
        if worker.left:
            self._again.append((worker.slice, list(worker.left)))
        batch = self._next()
        if batch is not None:
            self._hire(batch)
        return Outcome(slice=worker.slice, number=number, error=f"the process {why}")

    def close(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            _dismiss(worker)
        self._workers = []


def _dismiss(worker: _Worker) -> None:
    worker.conn.close()
    worker.process.join()
    worker.process.close()


def _serve(conn: Connection, others: list[Any], study: Study) -> None:
    """What a process does. Ctrl-C in a terminal reaches all processes; only the first one deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for one in others:
        one.close()  # otherwise the end of the first process would not be seen here
    player = Player(study)
    try:
        while True:
            slice, numbers = _decode_batch(conn.recv_bytes())
            for number in numbers:
                conn.send_bytes(_encode(player(slice, number)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)
