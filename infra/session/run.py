"""One session from services to clean end: what `tape run` does, without its screen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from ray.exceptions import RayError

from actors.plan import Plan
from actors.roster import deciders
from events import subjects
from events.control import ActorHalted, StopSession
from events.feed import observed
from events.tape import Tape
from infra.config import Config
from infra.services.discovery import Endpoints
from infra.services.embedded import embedded
from infra.session import cluster, placement
from infra.session.lockstep import Conductor
from infra.session.market import Stamped, unstamped
from infra.session.opening import SessionError, connect_worker, record_plan, sole_session
from infra.session.player import Player, after, newest
from infra.session.projecting import spawn_projector
from infra.session.quickstart import start_dashboard
from infra.tapes.jetstream import JetStreamTape

log = logging.getLogger("tickertape.session")

DRAIN_S = 5.0  # a clean end waits this long for actors to deal with the rest; what is left they do at the next start


class Source(msgspec.Struct, frozen=True):
    """Where market facts come from. `stream` is given (event time, feed) of the newest fact on the tape, or (0, '')."""

    stream: Callable[[int, str], Iterator[Stamped]]
    speed: float | None = None
    lockstep: bool = False


def recorded(stream: Callable[[], Iterator[Stamped]], *, speed: float | None, lockstep: bool) -> Source:
    """Stored market data: what is on the tape already is passed over."""
    return Source(lambda ts, feed: after(stream(), ts, feed), speed, lockstep)


class Session:
    """A running session. `halted` holds what stopped for good, in words; commands to end it count after `begun`.

    `tape` and `feeds` are the same tape, as the session and as a feed: each role appends what is its own.
    """

    def __init__(
        self, config: Config, plan: Plan, endpoints: Endpoints, tape: JetStreamTape, feeds: JetStreamTape, begun: int
    ) -> None:
        self.config, self.plan, self.endpoints, self.begun = config, plan, endpoints, begun
        self.tape, self.feeds = tape, feeds
        self.deciders = deciders(plan)
        self.workers: dict[str, Any] = {}
        self.halted: list[str] = []
        self.published = 0
        self.dashboard = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._inboxes: dict[str, set[str]] = {}
        self._serving: asyncio.Future[None] | None = None
        self._recording = asyncio.Lock()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play(self, source: Source, duration_s: float | None = None) -> str:
        """Starts the actors and plays the source; returns why it ended: `feed`, `time` or `stop`.

        Where Ray is lost, it and all actors are started again. Raises cluster.Halted in lock-step when an actor halts,
        for nothing can go on without it.
        """
        loop = asyncio.get_running_loop()
        end = None if duration_s is None else loop.time() + duration_s
        while True:
            try:
                return await self._play(source, None if end is None else max(0.0, end - loop.time()))
            except cluster.RayLost as lost:
                log.error("%s: it is started again, with all actors", lost)
                await self.close()
                await asyncio.to_thread(cluster.stop)
                chosen = self.config.session
                await asyncio.to_thread(cluster.start, chosen.dashboard, chosen.dashboard_port)

    async def _play(self, source: Source, duration_s: float | None) -> str:
        feeds = [subjects.feed(symbol.venue, symbol.symbol) for symbol in self.plan.symbols]
        settled, ts, feed = await newest(self.tape, feeds)
        stream = source.stream(ts, feed)
        self.start(max(0, settled - 1) if source.lockstep else None)
        if source.lockstep:
            conductor = Conductor(self.tape.client, self.tape, self.deciders, self.feeds)
            playing = conductor.play(unstamped(stream), settled=max(0, settled - 1), progress=self._count)
        else:
            playing = Player(self.feeds, source.speed, self._count).play(stream)
        return await self._until_the_end(playing, duration_s, stop_on_halt=source.lockstep)

    async def _until_the_end(self, playing: Any, duration_s: float | None, stop_on_halt: bool) -> str:
        play = asyncio.ensure_future(playing)
        stop = asyncio.ensure_future(self._stop_command(self.begun))
        ray = asyncio.ensure_future(cluster.until_lost())
        waiting: set[asyncio.Future[Any]] = {play, stop, ray, *({self._failed} if stop_on_halt else ())}
        try:
            done, _ = await asyncio.wait(waiting, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
            return "feed" if play in done else "stop" if stop in done else "time"
        finally:
            await asyncio.gather(ended(play), ended(stop), ended(ray))

    def _count(self, published: int) -> None:
        self.published = published

    def start(self, settled: int | None = None) -> None:
        """Starts every process; they are at work some seconds later. `settled`: lock-step after that sequence."""
        at, tape = self.endpoints, self.tape
        names = [decider.actor for decider in self.deciders]
        for group in placement.groups(names, self.config.session.processes):
            label = placement.name(group)
            mine = [decider for decider in self.deciders if decider.actor in group]
            self._inboxes[label] = {pattern for decider in mine for pattern in decider.inbox}
            access = at.access(placement.role(group))
            connect = partial(connect_worker, at.nats, tape.name, tape.replicas, settled, access)
            worker = self.workers[label] = cluster.spawn(self.plan, group, label, connect)
            self._keep(label, worker.run.remote)
        projector = spawn_projector(self.endpoints, self.tape)
        self.workers["projector"] = projector
        self._keep("projector", projector.run.remote)
        if self.dashboard:
            self._tasks.add(asyncio.ensure_future(self._show()))

    async def _show(self) -> None:
        """The dashboard starts last, for it takes as much of a machine as some trading processes do."""
        for worker in [*self.workers.values()]:
            with suppress(RayError):
                await worker.progress.remote()
        self._serving = asyncio.ensure_future(asyncio.to_thread(start_dashboard))

    def _keep(self, label: str, run: Callable[[], Any]) -> None:
        task = asyncio.ensure_future(self._supervised(label, run))
        self._tasks.add(task)

    async def _supervised(self, label: str, run: Callable[[], Any]) -> None:
        try:
            await cluster.supervise(run, label)
        except cluster.Halted as halted:
            await self._halt(label, halted)
        except Exception as error:  # what supervision has no answer to must not end it in silence
            await self._halt(label, cluster.Halted(f"{label}: {type(error).__name__}: {error}"))

    async def _halt(self, label: str, halted: cluster.Halted) -> None:
        if cluster.lost():
            return  # whatever it looked like from here; `play` starts Ray again
        log.error("%s", halted)
        self.halted.append(str(halted))
        try:
            await self._record_halt(label, str(halted))
        finally:
            if not self._failed.done():
                self._failed.set_exception(halted)
                self._failed.exception()  # seen: without lock-step the others go on

    async def _record_halt(self, label: str, reason: str) -> None:
        async with self._recording:  # one writer at a time, also when several actors halt on one fact
            now = time.time_ns() // 1000
            last = await self.tape.last(subjects.SUPERVISOR)
            message = observed(subjects.SUPERVISOR, now, ActorHalted(label, await self.tape.end(), "poison", reason))
            await self.tape.append(subjects.SUPERVISOR, message, expected=last.seq if last else 0)

    async def _stop_command(self, after_seq: int) -> None:
        async for entry in self.tape.follow([f"{subjects.COMMAND}.stop-session"], after=after_seq):
            if any(isinstance(fact, StopSession) for fact in entry.decision.facts):
                return

    async def drain(self) -> None:
        """Waits, for a bounded time, until all is `settled`."""
        deadline = asyncio.get_running_loop().time() + DRAIN_S
        while asyncio.get_running_loop().time() < deadline and not await self.settled():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def settled(self) -> bool:
        """Whether every actor has dealt with its inbox, and the projections with the tape."""
        end = await self.tape.end()
        if await self._at("projector") < end:  # it hears everything, and is asked with one question
            return False
        behind = [label for label in self._inboxes if not await self._caught_up(label)]
        return not behind and await self.tape.end() == end

    async def _caught_up(self, label: str) -> bool:
        at = await self._at(label)
        return all([at >= await self.tape.last_match(pattern) for pattern in sorted(self._inboxes[label])])

    async def _at(self, label: str) -> int:
        """How far a process is; 0 where it does not answer, for it is being restarted or has halted."""
        try:
            return int((await asyncio.wait_for(self.workers[label].progress.remote(), 1.0))["at"])
        except (TimeoutError, RayError):
            return 0

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._serving is not None:
            await finished(self._serving)
            self._serving = None


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancels until it is over: on Python 3.11 a `wait_for` inside a library can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.2)


@asynccontextmanager
async def session(config: Config, plan: Plan) -> AsyncIterator[Session]:
    """Services, tape, plan and Ray, ready to play; all of it ends with the block. Raises SessionError, ServiceError."""
    data_dir = Path(config.data_dir)
    if not plan.symbols:
        raise SessionError(
            "the plan has no symbols, so there is nothing to trade: add [[symbols]] to the configuration"
        )
    with sole_session(data_dir, config.tape):
        # Beside the services: each waits for processes most of the time.
        chosen = config.session
        starting = asyncio.ensure_future(asyncio.to_thread(cluster.start, chosen.dashboard, chosen.dashboard_port))
        try:
            async with (
                embedded(data_dir, config.services, config.tape) as endpoints,
                opened(config, endpoints, "session", create=True) as tape,
                opened(config, endpoints, "feed") as feeds,
                _opened(config, plan, endpoints, tape, feeds, starting) as found,
            ):
                yield found
        finally:
            await _end_ray(starting)  # where it came to no session


@asynccontextmanager
async def _opened(
    config: Config,
    plan: Plan,
    endpoints: Endpoints,
    tape: JetStreamTape,
    feeds: JetStreamTape,
    starting: asyncio.Future[str],
) -> AsyncIterator[Session]:
    await record_plan(tape, plan, time.time_ns() // 1000)
    # Before Ray is there, which takes seconds: who asks for an end meanwhile is heard.
    found = Session(config, plan, endpoints, tape, feeds, await tape.end())
    found.dashboard = await asyncio.shield(starting)
    try:
        yield found
    finally:
        await found.close()
        await _end_ray(starting)


async def _end_ray(starting: asyncio.Future[str]) -> None:
    """Waits for a start that is under way: a thread cannot be ended, and what it has started must be."""
    try:
        await finished(starting)
    finally:
        await asyncio.to_thread(cluster.stop)


async def finished(task: asyncio.Future[Any]) -> None:
    """Waits for the end of a task, well or not, however often this is cancelled meanwhile."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    if not task.cancelled():
        task.exception()  # seen
    if cancelled:
        raise asyncio.CancelledError


async def open_tape(config: Config, endpoints: Endpoints) -> Tape:
    """The configured tape for looking at, where there is one. Raises TapeError."""
    access = endpoints.access("viewer")
    return await JetStreamTape.connect(
        endpoints.nats, config.tape, replicas=endpoints.replicas, create=False, access=access
    )


@asynccontextmanager
async def opened(config: Config, at: Endpoints, role: str, *, create: bool = False) -> AsyncIterator[JetStreamTape]:
    """The configured tape, for a role. Raises TapeError."""
    access = at.access(role)
    tape = await JetStreamTape.connect(at.nats, config.tape, replicas=at.replicas, create=create, access=access)
    try:
        yield tape
    finally:
        await tape.close()
