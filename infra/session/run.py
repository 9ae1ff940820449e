"""One session from services to clean end: what `tape run` does, without its screen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from ray.exceptions import RayError

from actors.decider import Poison
from actors.plan import Plan
from actors.roster import deciders
from events import subjects
from events.control import ActorHalted, ActorStalled, StopSession
from events.tape import HistoryLost, LostRace, TapeError
from infra.config import Config
from infra.services.discovery import Endpoints
from infra.session import cluster, notify, placement
from infra.session.lease import Lease
from infra.session.lockstep import Conductor
from infra.session.losses import record_loss
from infra.session.market import Stamped, unstamped
from infra.session.opening import SessionError, connect_worker, opened, sole_session
from infra.session.player import Feeds, Player, after, begun, newest
from infra.session.projecting import spawn_projector
from infra.session.quickstart import NotStarted, start_dashboard
from infra.session.snapshots import keeping
from infra.session.starting import RayStart, alone, claimed
from infra.session.stopping import resume
from infra.session.tasks import ended, finished
from infra.session.watch import Limits, Process, Watch
from infra.tapes.jetstream import JetStreamTape

log = logging.getLogger("tickertape.session")

RACES_MAX = 10  # of one process, 0.5 s to 5 s apart: a session that was overtaken knows it by then
RELEASE_S = 2.0  # an append takes a millisecond; the next session finds out by itself that this one is gone
SAVE_S = 5.0  # a thousand actors take a tenth of it; without, the next start takes longer
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

    `tape` and `feeds` are the same tape, as the session and as a feed: each role appends what is its own. `ended` says
    why it came to an end.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        endpoints: Endpoints,
        tape: JetStreamTape,
        feeds: JetStreamTape,
        lease: Lease,
        begun: int,
    ) -> None:
        self.config, self.plan, self.endpoints, self.begun = config, plan, endpoints, begun
        self.tape, self.feeds, self.lease = tape, feeds, lease
        self.deciders = deciders(plan)
        self.workers: dict[str, Any] = {}
        self.halted: list[str] = []
        self.published = 0
        self.ended = "an error"
        self.dashboard = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._inboxes: dict[str, set[str]] = {}
        self._without: set[str] = set()  # actors that have halted: their processes go on without them
        limits = Limits(stall_s=config.session.stall_s, stalls_max=config.session.stalls_max)
        self.watch = Watch(tape, limits, self._stalled)
        lease.describe = self._described
        self._serving: asyncio.Future[None] | None = None
        self._conductor: Conductor | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play(self, source: Source, duration_s: float | None = None) -> str:
        """Starts the actors and plays the source; returns why it ended: `feed`, `time` or `stop`.

        Where Ray is lost, it and all actors are started again. Raises cluster.Halted in lock-step when an actor halts,
        for nothing can go on without it, and SessionLost where another session has taken the tape over.
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
                await self._ray_again()

    async def _ray_again(self) -> None:
        """However long it takes: there is nothing better to do for whoever trades."""
        chosen = self.config.session
        while True:
            try:
                await asyncio.to_thread(cluster.start, chosen.dashboard, chosen.dashboard_port)
                return
            except NotStarted as trouble:
                log.error("%s; trying again", trouble)

    async def _play(self, source: Source, duration_s: float | None) -> str:
        names = [subjects.feed(symbol.venue, symbol.symbol) for symbol in self.plan.symbols]
        feeds = Feeds(self.feeds, self.lease.epoch)
        await feeds.claim(names)
        settled, ts, feed = await newest(self.tape, names)
        stream = await asyncio.to_thread(begun, source.stream(ts, feed))
        self.start(max(0, settled - 1) if source.lockstep else None)
        if source.lockstep:
            conductor = self._conductor = Conductor(self.tape.client, self.tape, self.deciders, feeds)
            self.watch.awaited = lambda: conductor.awaited
            playing = conductor.play(unstamped(stream), settled=max(0, settled - 1), progress=self._count)
        else:
            playing = Player(self.feeds, source.speed, self._count, feeds).play(stream)
        return await self._until_the_end(playing, duration_s, stop_on_halt=source.lockstep)

    async def _until_the_end(self, playing: Any, duration_s: float | None, stop_on_halt: bool) -> str:
        play = asyncio.ensure_future(playing)
        stop = asyncio.ensure_future(self._stop_command(self.begun))
        lost = asyncio.ensure_future(self.lease.lost())
        ray = asyncio.ensure_future(cluster.until_lost())
        waiting: set[asyncio.Future[Any]] = {play, stop, lost, ray, self._gone}
        waiting |= {self._failed} if stop_on_halt else set()
        try:
            done, _ = await asyncio.wait(waiting, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
            if lost in done:
                raise lost.result()
            for one in done:
                one.result()
            self.ended = "feed" if play in done else "stop" if stop in done else "time"
            return self.ended
        except LostRace:
            await self.lease.check()  # by whom is the better sentence
            raise
        except asyncio.CancelledError:
            self.ended = "signal"
            raise
        finally:
            if self._conductor is not None and not self._failed.done() and not ray.done() and not lost.done():
                # What is on the tape is dealt with in its order, if nobody hangs.
                self._conductor.over = True
                await asyncio.wait((play,), timeout=DRAIN_S)
            await asyncio.gather(ended(play), ended(stop), ended(lost), ended(ray))

    def _count(self, published: int) -> None:
        self.published = published

    def start(self, settled: int | None = None) -> None:
        """Starts every process; they are at work some seconds later. `settled`: lock-step after that sequence."""
        at, tape = self.endpoints, self.tape
        chosen = self.config.session
        keep = keeping(Path(self.config.data_dir), tape.name, chosen.recoveries, chosen.passivate_s)
        names = [decider.actor for decider in self.deciders]
        for group in placement.groups(names, self.config.session.processes):
            label = placement.name(group)
            mine = [decider for decider in self.deciders if decider.actor in group]
            self._inboxes[label] = {pattern for decider in mine for pattern in decider.inbox}
            access = at.access(placement.role(group))
            connect = partial(connect_worker, at.nats, tape.name, tape.replicas, settled, access, self.lease.epoch)
            worker = self.workers[label] = cluster.spawn(self.plan, group, label, connect, keep)
            self.watch.add(label, worker, group, self._inboxes[label])
            self._keep(label, partial(self._run, worker))
        projector = spawn_projector(self.endpoints, self.tape, self.lease.epoch)
        self.workers["projector"] = projector
        self.watch.add("projector", projector, (), (">",))
        self._keep("projector", projector.run.remote)
        self._tasks.add(asyncio.ensure_future(self.watch.run()))
        notify.tell("READY=1")
        if self.dashboard:
            self._tasks.add(asyncio.ensure_future(self._show()))

    def _run(self, worker: Any) -> Any:
        return worker.run.remote(tuple(self._without))

    async def _stalled(self, one: Process, still: float, over: bool) -> None:
        """Whoever hangs at the same place too often is left out, as poison is: the others of its process go on."""
        if not over:
            now = time.time_ns() // 1000
            with suppress(TapeError):  # said on the tape where it can be; it is logged in any case
                await self.lease.record(ActorStalled(one.label, one.at, round(still), one.stalls, one.reacting), now)
            return
        culprits = (one.reacting,) if one.reacting else one.actors
        self._without.update(culprits)
        if set(one.actors) <= self._without:
            self.watch.processes.pop(one.label, None)
        text = f"it did not move for {still:.0f} s at {one.at}, {one.stalls} times"
        await self._halt(one.reacting or one.label, cluster.Halted(f"{one.reacting or one.label}: {text}"), "stalled")

    async def _described(self) -> dict[str, Any]:
        return {"processes": [await one.described(self.tape) for one in self.watch.processes.values()]}

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
        races = 0
        while True:
            try:
                await cluster.supervise(run, label)
            except cluster.Halted as halted:
                if isinstance(halted.__cause__, HistoryLost):
                    self._history_lost(halted.__cause__)
                    return
                races += isinstance(halted.__cause__, LostRace)
                if isinstance(halted.__cause__, Poison) and self._leave_out(label, halted.__cause__.actor):
                    await self._halt(halted.__cause__.actor, halted)
                    continue
                race = halted.__cause__
                if not isinstance(race, LostRace) or races > RACES_MAX or not await self.lease.is_ours(race):
                    await self._halt(label, halted)
                    return
                log.warning("%s, but the tape is this session's: it goes on", halted)
                await asyncio.sleep(0.5 * races)
            except Exception as error:  # what supervision has no answer to must not end it in silence
                await self._halt(label, cluster.Halted(f"{label}: {type(error).__name__}: {error}"))
                return

    def _history_lost(self, lost: HistoryLost) -> None:
        """What this session remembers may no longer stand on the tape: it ends, and the next one starts anew."""
        if not self._gone.done():
            self._gone.set_exception(lost)
            self._gone.exception()  # seen, also where nothing is played

    def _leave_out(self, label: str, actor: str) -> bool:
        """Whether a process can go on without an actor."""
        self._without.add(actor)
        process = self.watch.processes.get(label)
        return process is not None and not set(process.actors) <= self._without

    async def _halt(self, label: str, halted: cluster.Halted, reason: str = "poison") -> None:
        """Says so on the tape, where it still is this session's: the successor goes on with all its actors."""
        if cluster.lost():
            return  # whatever it looked like from here; `play` starts Ray again
        log.error("%s", halted)
        self.watch.processes.pop(label, None)  # a process that stands still for good
        try:
            at, now = await self.tape.end(), time.time_ns() // 1000
            await self.lease.record(ActorHalted(label, at, reason, str(halted)), now)
        except LostRace as lost:
            log.warning("not recorded: %s", lost)
            return
        except TapeError as trouble:
            log.error("not recorded: %s", trouble)
        self.halted.append(str(halted))
        if not self._failed.done():
            self._failed.set_exception(halted)
            self._failed.exception()  # seen: without lock-step the others go on

    async def _stop_command(self, after_seq: int) -> None:
        async for entry in self.tape.follow([f"{subjects.COMMAND}.stop-session"], after=after_seq):
            if any(isinstance(fact, StopSession) for fact in entry.decision.facts):
                return

    def commands(self) -> AbstractAsyncContextManager[JetStreamTape]:
        """The tape as one who commands."""
        return opened(self.config, self.endpoints, "operator")

    async def drain(self) -> bool:
        """Waits, for a bounded time, until all is `settled`; whether it is."""
        deadline = asyncio.get_running_loop().time() + DRAIN_S
        while not (settled := await self.settled()) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return settled

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

    async def save(self) -> None:
        """Snapshots of all actors as they are now, so that the next start reads next to nothing of the tape."""
        if cluster.lost():
            return
        saving = [asyncio.ensure_future(self.workers[label].save.remote()) for label in self._inboxes]
        if saving:
            await asyncio.wait(saving, timeout=SAVE_S)
        for one in saving:
            one.cancel()
        await asyncio.gather(*saving, return_exceptions=True)  # one that died has older ones

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._serving is not None:
            await finished(self._serving)
            self._serving = None


@asynccontextmanager
async def session(
    config: Config, plan: Plan, *, standby: bool = False, say: Callable[[str], None] = log.warning
) -> AsyncIterator[Session]:
    """Services, tape, plan and Ray, ready to play; all of it ends with the block.

    Where another session trades on the tape: raises SessionHeld, or waits for its end as `standby`, and tells `say`.
    Raises SessionError, ServiceError.
    """
    data_dir = Path(config.data_dir)
    if not plan.symbols:
        raise SessionError(
            "the plan has no symbols, so there is nothing to trade: add [[symbols]] to the configuration"
        )
    with ExitStack() as held:
        if not standby:
            held.enter_context(sole_session(data_dir, config.tape))
        ray = RayStart(config.session)
        try:
            # Beside the services, for each waits for processes most of the time; where there are none to start, it is
            # found out first whether the tape is free.
            if standby or config.services.nats_url is None:
                ray.start()
            if standby:
                await alone(held, data_dir, config.tape, say)
            async with claimed(config, plan, standby=standby, say=say) as (endpoints, tape, feeds, lease):
                async with opened(config, endpoints, "operator") as commands:
                    await resume(commands, plan.symbols)
                # Before Ray is there, which takes seconds: who asks for an end meanwhile is heard.
                found = Session(config, plan, endpoints, tape, feeds, lease, await tape.end())
                await record_loss(tape, lease, endpoints.postgres_dsn)
                async with _opened(found, ray):
                    yield found
        finally:
            await ray.end()  # where it came to no session


@asynccontextmanager
async def _opened(found: Session, ray: RayStart) -> AsyncIterator[None]:
    try:
        found.dashboard = await ray.started()
        yield
        with suppress(RayError):
            await found.save()
    finally:
        await found.close()
        await ray.end()
        with suppress(TapeError, TimeoutError):  # a tape that is another session's, or away, cannot be released
            async with asyncio.timeout(RELEASE_S):
                await found.lease.release(found.ended)
