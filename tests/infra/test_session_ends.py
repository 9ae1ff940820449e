"""A session hears who ends it while it starts, and no actor's end goes unsaid."""

from __future__ import annotations

import asyncio

from actors.plan import Plan, SymbolPlan
from events import subjects
from events.control import ActorHalted, StopSession
from events.feed import command
from events.memory import MemoryTape
from infra.config import Config
from infra.services.discovery import Endpoints
from infra.session.lease import Lease, Standing, claiming
from infra.session.run import Session

PLAN = Plan(symbols=(SymbolPlan(venue="sim", symbol="BTC-USDT"),))


def opened(tape: MemoryTape) -> Session:
    lease = Lease(tape, None, claiming(Standing(), ""), 0)  # type: ignore[arg-type]
    at = Endpoints((), None, "")
    return Session(Config(), PLAN, at, tape, tape, lease, len(tape.entries))  # type: ignore[arg-type]


async def test_an_end_that_was_asked_for_before_playing_began_is_heard() -> None:
    tape = MemoryTape()
    tape.put(subjects.COMMAND, command(StopSession(1, "me", "of an earlier session", "leave"), 1), expected=0)
    live = opened(tape)
    tape.put(subjects.COMMAND, command(StopSession(2, "me", "of this one", "leave"), 2), expected=1)
    forever = asyncio.Event().wait()
    # 30 s: far beyond the few turns of the loop that it takes; reached only where the command is not heard.
    assert await live._until_the_end(forever, 30.0, False) == "stop"


async def test_failures_that_supervision_does_not_know_are_halts_and_two_at_once_are_both_recorded() -> None:
    tape = MemoryTape()
    live = opened(tape)

    async def broken() -> None:
        raise ValueError("the cluster answers nonsense")

    await asyncio.gather(live._supervised("bot.a", broken), live._supervised("bot.b", broken))
    assert [text.partition(":")[0] for text in live.halted] == ["bot.a", "bot.b"]
    halts = [fact for entry in tape.entries for fact in entry.decision.facts]
    assert [fact.actor for fact in halts if isinstance(fact, ActorHalted)] == ["bot.a", "bot.b"]
    assert live._failed.done()
