"""The clean end of a session: one road for `tape stop`, Ctrl-C, SIGTERM and a session whose time is up.

The market ends first. Then the stop is on the tape, as a command of the operator or of this session, and accounts obey
it: nothing new is entered, and working entries are left or cancelled as configured. So audit and replay know why.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from events import subjects
from events.control import SessionResumed, StopSession
from events.decision import Decision
from events.feed import command
from events.tape import LostRace, Tape, TapeError
from infra.session.player import plausible

log = logging.getLogger("tickertape.session")

RECORD_S = 5.0  # an append takes a millisecond; a bus that is away does not keep a session from ending
RACES_MAX = 20  # commands are rare: so many lost races in a row mean that something else is wrong

STEPS = ("the stop is not on the tape", "actors have not dealt with all that is on the tape")


class Ending(Protocol):
    """What is needed of a session."""

    tape: Any
    config: Any
    plan: Any

    def commands(self) -> AbstractAsyncContextManager[Tape]: ...

    async def drain(self) -> bool: ...


class Stopping:
    """Steps of the end; `left` says in words which have not been made."""

    def __init__(self) -> None:
        self._made = 0

    @property
    def left(self) -> tuple[str, ...]:
        return STEPS[self._made :]

    async def end(self, live: Ending, why: str) -> None:
        """`why` as `Session.play` says it. What cannot be done in bounded time is logged, and left."""
        if why in ("signal", "time"):
            await self._record(live, f"by {'a signal' if why == 'signal' else 'the end of its time'}")
        self._made = 1
        if await live.drain():
            self._made = 2
        else:
            log.warning("the session ends, and %s: the next start goes on from there", STEPS[1])

    async def _record(self, live: Ending, reason: str) -> None:
        try:
            async with asyncio.timeout(RECORD_S):
                ts = await present(live.tape, live.plan.symbols)
                async with live.commands() as tape:
                    await put(tape, StopSession(ts, me(), reason, live.config.session.orders_at_stop))
        except (TapeError, TimeoutError) as error:
            log.warning("the stop cannot be recorded: %s", error or type(error).__name__)


async def resume(tape: Tape, symbols: Sequence[Any]) -> None:
    """Where a session was stopped cleanly, accounts may enter again from here on."""
    stopped = False
    async for entry in tape.read([f"{subjects.COMMAND}.>"]):
        for fact in entry.decision.facts:
            if isinstance(fact, StopSession | SessionResumed):
                stopped = isinstance(fact, StopSession)
    if stopped:
        await put(tape, SessionResumed(await present(tape, symbols), me()))


async def put(tape: Tape, fact: StopSession | SessionResumed) -> int:
    """Appends what this session commands; an operator may say something at the same time."""
    message: Decision = command(fact, fact.ts)
    for _ in range(RACES_MAX):
        last = await tape.last(subjects.COMMAND)
        try:
            return await tape.append(subjects.COMMAND, message, expected=last.seq if last else 0)
        except LostRace as race:
            lost = race
    raise lost


def me() -> str:
    """Who commands, and when by the clock, which makes two equal commands two facts."""
    return f"session {os.getpid()}@{socket.gethostname()} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"


async def present(tape: Tape, symbols: Sequence[Any]) -> int:
    """The newest event time of any feed, for what is played may be a recorded past; else the clock."""
    feeds = [subjects.feed(one.venue, one.symbol) for one in symbols]
    found = [last.decision.ts for feed in feeds if (last := await tape.last(feed)) is not None]
    return max(filter(plausible, found), default=0) or time.time_ns() // 1000  # a stranger may have spoken last
