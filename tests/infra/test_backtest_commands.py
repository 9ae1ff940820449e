"""Commands amid a backtest's tape: message by message, candle by candle and in columns decide the same."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.express import Express
from actors.plan import AccountPlan, BotPlan, FillModel, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from actors.stretch import Stretch
from events import subjects
from events.control import (
    PauseBot,
    ReleaseTrading,
    RestrictTrading,
    ResumeBot,
    SessionResumed,
    StopSession,
    TradingRestricted,
)
from events.decision import Recorded
from events.fact import Fact
from events.feed import command
from events.trading import RiskRefused
from infra.backtest.engine import backtest, messages
from infra.backtest.parity import _stream, _told, assert_parity, cut
from infra.session.market import Stamped
from tests.infra.test_backtest_parity import DICE, PHASES, walk

PLAIN = "tests.infra.columnar:PlainDice"
LEVELS = ("no-new-risk", "close-only", "cancel-all", "flatten")
FEED = subjects.feed("parity", "DATA")


def plan(strategy: str, seed: int, plain: bool) -> Plan:
    """Plain: what goes in stretches. Else with brackets, limit orders and an account that two bots share."""
    params = {"seed": seed, "often": 3, **({} if plain else {"brackets": True, "order": "limit"})}
    sizing = Sizing(method="quantity", value=Decimal(2))
    bots = [BotPlan(name="one", venue="parity", symbol="DATA", strategy=strategy, params=params, sizing=sizing)]
    if not plain:
        more = {"seed": seed + 1, "often": 2}
        bots.append(BotPlan(name="two", venue="parity", symbol="DATA", strategy=DICE, params=more, sizing=sizing))
    account = AccountPlan(fills=FillModel(participation=None if plain else Decimal("0.5")))
    return Plan(symbols=(SymbolPlan(venue="parity", symbol="DATA"),), bots=tuple(bots), accounts=(account,))


def said(word: str, ts: int) -> Fact:
    match word:
        case "release":
            return ReleaseTrading("*", ts, "me", "")
        case "leave" | "cancel":
            return StopSession(ts, "me", "", word)
        case "go on":
            return SessionResumed(ts, "me")
        case "pause":
            return PauseBot("*", ts, "me", "")
        case "resume":
            return ResumeBot("*", ts, "me", "")
        case _:
            return RestrictTrading("*", ts, "me", word, "")


def at(places: list[tuple[float, str]], ts: np.ndarray) -> list[Stamped]:
    found = sorted((int(ts[int(place * (len(ts) - 1))]), word) for place, word in places)
    return [(stamp, subjects.COMMAND, command(said(word, stamp), stamp)) for stamp, word in found]


WORDS = (*LEVELS, "release", "leave", "cancel", "go on", "pause", "resume")


@settings(max_examples=10, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    plain=st.booleans(),
    garbage=st.booleans(),
    words=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(WORDS)), min_size=1, max_size=6),
    window=st.sampled_from([7, 400]),
)
def test_commands_at_any_place(
    seed: int, plain: bool, garbage: bool, words: list[tuple[float, str]], window: int
) -> None:
    candles = walk(seed, 150, garbage=garbage)
    told = at(words, np.sort(candles.ts))
    assert_parity(plan(PLAIN if plain else DICE, seed, plain), {FEED: candles}, commands=told, windows=(window,))


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_a_restriction_that_stands_and_is_lifted(level: str, plain: bool) -> None:
    """The stretches of plain trading end where it begins, and begin again behind its end."""
    candles, made = walk(5, 500), plan(PLAIN if plain else DICE, 5, plain)
    told = at([(0.3, level), (0.6, "release")], candles.ts)
    assert_parity(made, {FEED: candles}, commands=told, windows=(200,))
    entries: list[Recorded] = []
    backtest(made, _stream(made, _told({FEED: candles}, told)), sinks=(entries.append,))
    facts = [fact for entry in entries for fact in entry.decision.facts]
    assert [fact.level for fact in facts if isinstance(fact, TradingRestricted)] == [level]
    refused = [fact.ts for fact in facts if isinstance(fact, RiskRefused) and fact.reason == "restricted"]
    assert refused
    assert told[0][0] <= min(refused) <= max(refused) < told[1][0]
    if plain:
        assert sum(stretched(made, candles, told)) > 0


def stretched(made: Plan, candles: object, told: list[Stamped]) -> list[int]:
    """Rows dealt with in stretches; none of them while a restriction stands."""
    found: list[Stretch] = []
    fast = Express(deciders(made), lambda _: None, traded=found.append)
    for part in _told({FEED: candles}, told):  # type: ignore[dict-item]
        if isinstance(part, tuple):
            fast.feed(part[1], part[2])
        else:
            for window in cut(part, 200):
                fast.play(window)
    first, last = told[0][0], told[1][0]
    for stretch in found:
        ts = stretch.rows.ts[stretch.first : stretch.end]
        assert not ((ts >= first) & (ts < last)).any()
    return [stretch.end - stretch.first for stretch in found]


def test_the_stream_is_whole() -> None:
    candles, made = walk(1, 50), plan(PLAIN, 1, True)
    told = at([(0.5, "flatten")], candles.ts)
    stream = list(_stream(made, _told({FEED: candles}, told)))
    assert [one for one in stream if one[1] == FEED] == list(messages(made, [{FEED: candles}]))
    assert [one[0] for one in stream] == sorted(one[0] for one in stream)
