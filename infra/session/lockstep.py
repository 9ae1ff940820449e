"""Lock-step over the bus: every process works at once, yet decisions are appended in the canonical order.

For each entry its hearers decide side by side and report whether they want to append. The conductor lets those that do
append one after the other, in rank order, and publishes the next market fact when nothing is left to deal with. The
tape is then the same as that of the in-process loop. Reports and permits are core NATS messages, outside the tape;
one that is lost is asked for again.

An account obeys an operator while a bot hangs: nobody waits for who is behind in rank, and when all have waited for a
second with a command on the tape, accounts may append up to their answer to it. Each actor hears the same in the same
order all the same. The market stands still meanwhile, for it is the conductor that publishes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from actors.decider import Decider
from actors.lockstep import Router
from actors.seat import Seat
from actors.shell import Outcome
from events import subjects
from events.decision import Decision, Recorded
from events.tape import Tape
from infra.session.player import Feeds

Market = Iterator[tuple[str, Decision]]
"""What the outside says, in order: the actor it is appended for, and the message."""

FIRST = "market."
"""Symbols hear feeds alone, a feed's message comes only when all is settled, and symbols are first in rank: nobody can
be ahead of them, so they append without a permit, which saves a round trip for every market fact."""

_ACCOUNT = "account."

ASK_AGAIN_S = 1.0  # a report that was lost, or whose sender was restarted, is asked for after this long


class Report(msgspec.Struct, array_like=True):
    """`actor` has dealt with `seq`; it wants to append, or its decision stands at `at` (0: it has none)."""

    actor: str
    seq: int
    wants: bool
    at: int


class Permit(msgspec.Struct, array_like=True):
    """For the decision caused by `seq`; `free`: for all of this actor's decisions up to that one."""

    seq: int
    free: bool = False


_decode = msgspec.json.Decoder(tuple[Report, ...]).decode
_permit = msgspec.json.Decoder(Permit).decode
_encode = msgspec.json.Encoder().encode


def line(tape: str, epoch: int) -> str:
    """Where a session talks to its processes: another one on the same tape, that does not know yet that it is over,
    is not heard."""
    return f"{tape}-{epoch}" if epoch else tape


def _reports(tape: str, entity: str) -> str:
    """Of one entity, for a process may only speak for its own: the bus sees to that."""
    return f"lockstep.{tape}.report.{entity}"


def _entity(report: Report) -> str:
    return report.actor.partition(".")[0]


def _asks(tape: str) -> str:
    return f"lockstep.{tape}.ask"


def _permits(tape: str, actor: str) -> str:
    return f"lockstep.{tape}.permit.{actor}"


class LockstepGate:
    """The side of the working process. Entries up to `settled` were dealt with before it started, and pass."""

    def __init__(self, client: Client, tape: str, settled: int) -> None:
        self._client = client
        self._tape = tape
        self._settled = settled
        self._latest: dict[str, Report] = {}
        self._permitted: dict[str, asyncio.Queue[int]] = {}
        self._free: dict[str, int] = {}

    @classmethod
    async def open(cls, client: Client, tape: str, settled: int) -> LockstepGate:
        gate = cls(client, tape, settled)
        await client.subscribe(_asks(tape), cb=gate._asked)
        return gate

    async def dealt(self, seq: int, outcomes: Sequence[Outcome]) -> None:
        if seq <= self._settled:
            return
        for actor, _, _ in outcomes:
            if actor not in self._permitted:
                self._permitted[actor] = asyncio.Queue()
                await self._client.subscribe(_permits(self._tape, actor), cb=self._permit_for(actor))
        told = [
            Report(actor, seq, wants, at) for actor, wants, at in outcomes if not (wants and actor.startswith(FIRST))
        ]
        if told:
            await self._tell(*told)

    async def turn(self, actor: str, seq: int) -> None:
        if seq <= self._settled or actor.startswith(FIRST):
            return
        while seq > self._free.get(actor, 0):
            if await self._permitted[actor].get() == seq:  # else it was sent twice, or freed what comes before
                return

    async def appended(self, actor: str, seq: int, at: int) -> None:
        if seq > self._settled:
            await self._tell(Report(actor, seq, True, at))

    async def _tell(self, *reports: Report) -> None:
        """One message for all of an entity, and so of a session's process: the number of messages is what costs."""
        self._latest.update((report.actor, report) for report in reports)
        for entity, group in groupby(reports, _entity):
            await self._client.publish(_reports(self._tape, entity), _encode((*group,)))

    async def _asked(self, _: Msg) -> None:
        await self._tell(*self._latest.values())

    def _permit_for(self, actor: str) -> Callable[[Msg], Any]:
        async def permitted(message: Msg) -> None:
            permit = _permit(message.data)
            if permit.free:
                self._free[actor] = max(self._free.get(actor, 0), permit.seq)
            self._permitted[actor].put_nowait(permit.seq)

        return permitted


class Conductor:
    """Owns the order. `feeds` appends market facts, in another role than that of the reader."""

    def __init__(
        self, client: Client, tape: Tape, deciders: Sequence[Decider[Any]], feeds: Feeds | None = None
    ) -> None:
        self._client = client
        self._tape = tape
        self._feeds = feeds or Feeds(tape)
        self._line = line(tape.name, self._feeds.epoch)
        self._router = Router([Seat(decider) for decider in deciders])
        self._reports: dict[str, Report] = {}
        self._news = asyncio.Event()
        self._accounts = [decider.actor for decider in deciders if decider.actor.startswith(_ACCOUNT)]
        self.settled = 0
        self.published = 0
        self.awaited = ""
        """The actor without whose report nothing goes on; '' where none is waited for."""
        self.over = False  # set it, and `play` ends when what is on the tape has been dealt with

    async def play(self, market: Market, *, settled: int, progress: Callable[[int], None] | None = None) -> None:
        """Publishes all of `market`, each when the one before has been dealt with; entries up to `settled` have been.

        Returns when the last one has been dealt with as well.
        """
        listening = await self._client.subscribe(_reports(self._line, "*"), cb=self._reported)
        self.settled = settled
        end = await self._tape.end()
        try:
            if end <= settled:
                end = await self._publish(market)
            async for entry in self._tape.follow(after=settled):
                end = max(end, entry.seq, await self._settle(entry))
                self.settled = entry.seq
                if entry.seq == end:
                    published = await self._publish(market)
                    if not published:
                        return
                    end = published
                    if progress is not None:
                        progress(self.published)
        finally:
            await listening.unsubscribe()

    async def _publish(self, market: Market) -> int:
        """The sequence of the next market fact, or 0 when there is none left."""
        for actor, message in () if self.over else market:
            seq = await self._feeds.publish(actor, message)
            self.published += 1
            return seq
        return 0

    async def _settle(self, entry: Recorded) -> int:
        """Waits until every hearer has dealt with the entry; the sequence of the last decision it caused, or 0."""
        end = 0
        for actor in [seat.actor for seat in self._router.hearers(entry)]:
            await self._until(entry.seq, actor, lambda report: True)
            report = self._reports[actor]
            if report.seq == entry.seq and report.wants and not report.at:  # it waits for its permit
                await self._permit(actor, entry.seq)
                await self._until(entry.seq, actor, lambda report: not report.wants or report.at > 0)
                report = self._reports[actor]
            # One that has gone on was restarted, and its report of this entry lost: what it caused is not known here.
            end = max(end, report.at if report.seq == entry.seq else await self._tape.end())
        return end

    async def _permit(self, actor: str, seq: int) -> None:
        await self._client.publish(_permits(self._line, actor), _encode(Permit(seq)))

    async def _until(self, seq: int, actor: str, enough: Callable[[Report], bool]) -> None:
        while True:
            report = self._reports.get(actor)
            # A later sequence: it was restarted, found its decision on the tape, and has gone on.
            if report is not None and (report.seq > seq or (report.seq == seq and enough(report))):
                return
            self._news.clear()
            self.awaited = actor
            try:
                async with asyncio.timeout(ASK_AGAIN_S):  # not wait_for, which can swallow a cancellation on 3.11
                    await self._news.wait()
            except TimeoutError:
                await self._client.publish(_asks(self._line), b"")
                await self._let_accounts_obey()
                if report is not None and report.seq == seq and report.wants and not report.at:
                    await self._permit(actor, seq)
            self.awaited = ""

    async def _let_accounts_obey(self) -> None:
        """Somebody has kept all waiting for a second: with a command on the tape, accounts need not wait any more."""
        last = await self._tape.last(subjects.COMMAND)
        if last is not None and last.seq > self.settled:
            for actor in self._accounts:
                await self._client.publish(_permits(self._line, actor), _encode(Permit(last.seq, free=True)))

    async def _reported(self, message: Msg) -> None:
        speaker = message.subject.rpartition(".")[2]
        for report in _decode(message.data):
            if _entity(report) != speaker:
                continue
            known = self._reports.get(report.actor)
            if known is None or report.seq > known.seq or (report.seq == known.seq and report.at >= known.at):
                self._reports[report.actor] = report
                self._news.set()
