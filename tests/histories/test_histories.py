"""Recorded histories are decided today as they were then; another version decides only what comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from actors.account import AccountDecider
from actors.bot import BotDecider
from actors.plan import Plan
from actors.roster import deciders
from actors.shell import Host
from actors.strategies import SHIPPED, EmaCross, Position, Target
from actors.symbol import SymbolDecider
from events import subjects
from events.control import ActorClaimed, BotPaused, BotStarted, PauseBot
from events.decision import Recorded
from events.fact import kind
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.session.audit import audit, plan_on
from tests.histories.files import HistoryTape, about, entries, names
from tests.simulation.clock import run

DECIDED = {
    "account-opened", "bot-paused", "bot-resumed", "bot-started", "candle", "candle-backfilled", "candle-block",
    "candle-revised", "data-flagged", "fill", "gap-filled", "gap-found", "order-amended", "order-cancelled",
    "order-placed", "order-triggered", "quarantined", "risk-approved", "risk-refused", "signal", "trading-day-started",
    "trading-released", "trading-restricted",
}  # fmt: skip


@pytest.mark.parametrize("name", names())
async def test_a_history_is_decided_as_it_was(name: str) -> None:
    verdict = await audit(HistoryTape(entries(name)))
    assert verdict.difference is None, str(verdict.difference)
    told = about()[name]
    assert (verdict.entries, verdict.decisions, verdict.digest) == (told.entries, told.decisions, told.digest)
    assert verdict.undecided == 0


def test_every_version_that_decides_today_has_a_history_of_its_own() -> None:
    """Who raises a version records a history with it: `python -m tests.histories.recording NAME KIND`."""
    recorded = {pair for name in names() for pair in versions(entries(name))}
    here = {("symbol", SymbolDecider.version), ("account", AccountDecider.version)}
    here |= {(name, f"{BotDecider.logic}.{strategy.version}") for name, strategy in SHIPPED.items()}
    assert here <= recorded


def test_the_histories_hold_every_kind_of_decision() -> None:
    found = {kind(fact) for name in names() for one in entries(name) if one.decision.by for fact in one.decision.facts}
    assert found >= DECIDED


@pytest.mark.parametrize("name", names())
def test_a_start_on_a_history_decides_nothing_again(name: str) -> None:
    tape = HistoryTape(entries(name))
    before = len(tape.entries)
    run(started_on(tape))
    assert all(isinstance(fact, ActorClaimed) for one in tape.entries[before:] for fact in one.decision.facts)


def test_a_change_that_alters_old_decisions_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmaCross, "on_candle", contrary(EmaCross.on_candle))
    for name in ("candles-3", "faults-2"):  # on the exchange, EMAs did not cross twice
        assert run(audit(HistoryTape(entries(name)))).difference is not None


def test_another_version_leaves_old_decisions_and_decides_the_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmaCross, "on_candle", contrary(EmaCross.on_candle))
    monkeypatch.setattr(EmaCross, "version", 2)
    tape = HistoryTape(entries("candles-3"))
    before = len(tape.entries)
    run(started_on(tape, next_candles(tape, 30)))
    added = tape.entries[before:]
    bots = {one.actor for one in added if one.actor.startswith("bot.") and one.decision.by}
    begun = [fact for one in added for fact in one.decision.facts if isinstance(fact, BotStarted)]
    assert {fact.bot for fact in begun} == {"cross", "cross5", "all-in"}
    assert {fact.version for fact in begun} == {2}
    assert "bot.cross" in bots
    assert all(one.decision.cause > before for one in added if one.decision.by)
    verdict = run(audit(tape))
    assert verdict.difference is None, str(verdict.difference)
    assert verdict.taken == sum(
        one.actor in ("bot.cross", "bot.cross5", "bot.all-in") and bool(one.decision.by)
        for one in tape.entries[:before]
    )
    monkeypatch.undo()  # back to the first version: what the second has decided stays as well
    size = len(tape.entries)
    run(started_on(tape))
    assert all(isinstance(fact, ActorClaimed) for one in tape.entries[size:] for fact in one.decision.facts)
    assert run(audit(tape)).difference is None


def test_what_a_version_left_undecided_the_next_one_never_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = entries("candles-3")
    last = max(one.seq for one in whole if one.actor == "bot.cross" and one.decision.by)
    cut = HistoryTape(one for one in whole if one.seq < last)  # it died before this decision, others after their last
    monkeypatch.setattr(EmaCross, "version", 2)
    size = len(cut.entries)
    run(started_on(cut))
    assert not [one for one in cut.entries[size:] if one.actor == "bot.cross" and one.decision.by]
    verdict = run(audit(cut))
    assert verdict.difference is None, str(verdict.difference)
    assert verdict.taken


def test_a_version_that_hears_less_keeps_what_followed_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = entries("candles-3")
    end = paused_at(whole) + 20
    tape = HistoryTape(one for one in whole if one.seq <= end)
    hears = BotDecider._hears
    monkeypatch.setattr(BotDecider, "logic", BotDecider.logic + 1)
    monkeypatch.setattr(BotDecider, "_hears", lambda *told: not isinstance(told[2], PauseBot) and hears(*told))
    host = run(started_on(tape))
    (seat,) = [seat for seat in host.seats if seat.actor == "bot.cross"]
    assert seat.state.paused
    assert run(audit(tape)).difference is None


async def started_on(tape: HistoryTape, market: Iterable[tuple[str, Any]] = ()) -> Host:
    """Hosts all actors of a history until nothing is left to decide; `market` is what comes then."""
    host = Host(deciders(await plan_on(tape)), tape)
    working = asyncio.ensure_future(host.run())
    await still(tape, working)
    for actor, message in market:
        last = await tape.last(actor)
        await tape.append(actor, message, expected=last.seq if last else 0)
        await still(tape, working)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return host


async def still(tape: HistoryTape, working: asyncio.Future[None]) -> None:
    size = -1
    while size != (size := len(tape.entries)):  # noqa: ASYNC110
        await asyncio.sleep(10)  # virtual
    if working.done():
        working.result()


def next_candles(tape: HistoryTape, count: int) -> list[tuple[str, Any]]:
    """Minutes after the history, up and down."""
    found = []
    ts = max(one.decision.ts for one in tape.entries)
    ts += -ts % MINUTE
    for minute in range(1, count + 1):
        for symbol, base in (("AAA", 100.0), ("BBB", 20.0)):
            price = base * (1 + 0.02 * (minute % 10))
            actor = subjects.feed("sim", symbol)
            candle = Candle("sim", symbol, "1m", ts + minute * MINUTE, price, price, price, price, 900.0)
            found.append((actor, observed(actor, candle.ts, candle)))
    return found


def contrary(answer: Callable[..., Target | None]) -> Callable[..., Target | None]:
    def on_candle(self: EmaCross, candle: Candle, position: Position) -> Target | None:
        wish = answer(self, candle, position)
        return None if wish is None else Target(0.5 - wish.target / 2)

    return on_candle


def paused_at(found: Sequence[Recorded]) -> int:
    return next(one.seq for one in found if any(isinstance(fact, BotPaused) for fact in one.decision.facts))


def versions(found: Sequence[Recorded]) -> set[tuple[str, str]]:
    """(kind of decider, version) of all that decided in a history."""
    plan: Plan = run(plan_on(HistoryTape(found)))
    strategies = {subjects.bot(bot.name): bot.strategy for bot in plan.bots}
    claims = [fact for one in found for fact in one.decision.facts if isinstance(fact, ActorClaimed)]
    entity = {"market": "symbol", "account": "account"}
    return {
        (entity.get(claim.actor.partition(".")[0], strategies.get(claim.actor, "")), claim.version) for claim in claims
    }
