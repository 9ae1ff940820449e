"""The audit of a tape whose strategy hangs today."""

from __future__ import annotations

import signal
from decimal import Decimal

import pytest

from actors.lockstep import Lockstep
from actors.plan import BotPlan, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.feed import observed
from events.market import Candle
from events.memory import MemoryTape
from events.timeframe import MINUTE
from infra.session import thinking
from infra.session.audit import audit
from infra.session.opening import record_plan

from .cli_tape import START

PLAN = Plan(
    symbols=(SymbolPlan(venue="sim", symbol="A"),),
    bots=(BotPlan(name="b", venue="sim", symbol="A", strategy=f"{__name__}:Hanging", sizing=Sizing(value=Decimal(1))),),
)


class Hanging(Strategy):
    """In an endless loop from its third candle on, while `hangs` says so."""

    hangs = False

    def __init__(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.seen += 1
        while self.hangs and self.seen == 3:
            pass
        return Target(float(self.seen % 2))


async def test_a_strategy_that_hangs_is_named_and_ends_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = MemoryTape()
    await record_plan(tape, PLAN, START)
    feed = subjects.feed("sim", "A")
    last: dict[str, int] = {}
    loop = Lockstep(
        deciders(PLAN),
        lambda entry: last.update(
            {entry.actor: tape.put(entry.actor, entry.decision, expected=last.get(entry.actor, 0)).seq}
        ),
    )
    loop.end = 1
    for number in range(1, 6):
        ts = START + number * MINUTE
        loop.feed(feed, observed(feed, ts, Candle("sim", "A", "1m", ts, 10.0, 11.0, 9.0, 10.5, 5.0)))
    before = signal.getsignal(signal.SIGALRM)
    assert (await audit(tape)).difference is None
    monkeypatch.setattr(thinking, "THINK_S", 0.2)
    monkeypatch.setattr(Hanging, "hangs", True)
    verdict = await audit(tape)
    assert verdict.difference is not None
    assert verdict.difference.actor == "bot.b"
    assert "at this message for 0.2 s: it hangs" in verdict.difference.problem
    assert signal.getsignal(signal.SIGALRM) is before
