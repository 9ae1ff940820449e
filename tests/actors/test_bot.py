"""The bot: when it signals, what it learns from, what stops it. Its strategies here answer what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.bot import BotDecider
from actors.decider import Poison
from actors.plan import BotPlan
from actors.seat import Seat
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.block import Columns, pack
from events.codec import Codec
from events.control import BotPaused, BotResumed, BotStarted, PauseBot, ResumeBot, StopSession, Unreadable
from events.decision import Decision, Recorded, derived
from events.fact import Fact
from events.market import Candle, GapFound, Trade
from events.timeframe import MINUTE
from events.trading import Fill, RiskRefused, Signal

MARKET = subjects.market("sim", "A")
ACCOUNT = subjects.account("main")


class Script(Strategy):
    """Answers by the open of the candle: 9 is nothing, anything else the target; keeps what it was shown."""

    def __init__(self, answer: str = "plain") -> None:
        self.seen: list[tuple[float, Decimal]] = []
        self.answer = answer

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.seen.append((candle.close, position.qty))
        if candle.open == 9:
            return None
        return ANSWERS[self.answer](candle.open)


ANSWERS: dict[str, Callable[[float], Any]] = {
    "plain": lambda target: Target(target, reasons=("told",)),
    "loose": lambda target: Target(int(target), stop=np.float64(1.5), confidence=1, reasons=["told"]),  # type: ignore[arg-type]
    "limit": lambda target: Target(target, order="limit", limit=target + 5),
    "nan": lambda target: Target(float("nan")),
    "far": lambda target: Target(2.0),
    "no stop": lambda target: Target(1.0, stop=float("inf")),
    "number": lambda target: target,
    "error": lambda target: 1 / 0,
}


def plan(answer: str = "plain", timeframe: str = "1m") -> BotPlan:
    me = f"{__name__}:Script"
    return BotPlan(name="b", venue="sim", symbol="A", strategy=me, params={"answer": answer}, timeframe=timeframe)


def candle(minute: int, wish: float, close: float = 10.0, timeframe: str = "1m", symbol: str = "A") -> Candle:
    return Candle("sim", symbol, timeframe, minute * MINUTE, wish, 20.0, 0.0, close, 1.0)


def fill(position: int, role: str = "entry", bot: str = "b", minute: int = 1) -> Fill:
    side = "buy" if position else "sell"
    money = (Decimal(1), Decimal(10), Decimal(0))
    return Fill("f", "o", "main", bot, "sim", "A", minute * MINUTE, side, role, *money, "taker", Decimal(0),
                Decimal(position), Decimal(10 if position else 0), Decimal(100), Decimal(0))  # fmt: skip


def refused(bot: str = "b") -> RiskRefused:
    return RiskRefused("main", bot, "sim", "A", MINUTE, "s", "cooldown", "")


class Bench:
    """A bot in its seat, with a tape of its own."""

    def __init__(self, answer: str = "plain", timeframe: str = "1m") -> None:
        self.decider = BotDecider(plan(answer, timeframe))
        self.seat = Seat(self.decider)
        self.end = 0

    def entry(self, actor: str, *facts: Fact) -> Recorded:
        self.end += 1
        ts = getattr(facts[-1], "ts", 0)
        return Recorded(self.end, actor, Decision(f"id-{self.end}", 0, "", ts, facts), ts)

    def tell(self, actor: str, *facts: Fact) -> tuple[Fact, ...]:
        entry = self.entry(actor, *facts)
        if not self.decider.hears(entry):
            return ()
        decision = self.seat.react(entry)
        return decision.facts if decision is not None else ()

    def wants(self, minute: int, wish: float) -> list[float]:
        """The targets signalled on a candle."""
        return [fact.target for fact in self.tell(MARKET, candle(minute, wish)) if isinstance(fact, Signal)]


def test_it_says_it_has_started_once_and_with_what() -> None:
    bench = Bench()
    (started,) = bench.tell(MARKET, candle(1, 9))
    assert started == BotStarted(
        "b", "main", "sim", "A", "1m", MINUTE, f"{__name__}:Script", 1, {"answer": "plain"}
    )  # fmt: skip
    assert bench.tell(MARKET, candle(2, 9)) == ()


def test_it_signals_when_its_wish_changes_and_only_then() -> None:
    bench = Bench()
    wishes = [0, 1, 1, 9, 1, 0.5, 0, 0, -1, 9, -1, 1]
    found = [bench.wants(minute, wish) for minute, wish in enumerate(wishes, 1)]
    assert found == [[], [1], [], [], [], [0.5], [0], [], [-1], [], [], [1]]


def test_a_signal_carries_the_close_it_was_decided_on_and_the_time_of_the_message() -> None:
    (_, signal) = Bench("limit").tell(MARKET, candle(7, 1, close=12.5))
    assert signal == Signal("b", "sim", "A", 7 * MINUTE, 1.0, 12.5, order="limit", limit=6.0)


def test_another_way_in_is_another_wish_but_another_stop_is_none() -> None:
    bench = Bench()
    bench.wants(1, 1)
    bench.seat.state.strategy.answer = "limit"
    assert bench.wants(2, 1) == [1]
    bench.seat.state.strategy.answer = "loose"
    assert bench.wants(3, 1) == [1]  # market again
    bench.seat.state.strategy.answer = "plain"
    assert bench.wants(4, 1) == []  # without the stop


@pytest.mark.parametrize("role", ["stop-loss", "take-profit", "trailing", "flatten"])
def test_a_bracket_or_the_kill_switch_that_closes_the_position_makes_the_same_wish_new(role: str) -> None:
    bench = Bench()
    assert bench.wants(1, 1) == [1]
    bench.tell(ACCOUNT, fill(3))
    assert bench.wants(2, 1) == []
    bench.tell(ACCOUNT, fill(2, role))  # a part of it
    assert bench.wants(3, 1) == []
    bench.tell(ACCOUNT, fill(0, role))
    assert bench.wants(4, 0) == []  # it is flat already
    assert bench.wants(5, 1) == [1]


def test_its_own_exit_leaves_the_wish_as_it_is() -> None:
    bench = Bench()
    bench.wants(1, 1)
    bench.tell(ACCOUNT, fill(3))
    assert bench.wants(2, -1) == [-1]
    bench.tell(ACCOUNT, fill(0, "exit"))
    assert bench.wants(3, -1) == []


def test_the_strategy_is_shown_the_position_of_its_own_bot() -> None:
    bench = Bench()
    bench.wants(1, 9)
    bench.tell(ACCOUNT, fill(7, bot="other"))
    bench.wants(2, 9)
    bench.tell(ACCOUNT, fill(3))
    bench.wants(3, 9)
    bench.tell(ACCOUNT, fill(0, "stop-loss"))
    bench.wants(4, 9)
    assert [qty for _, qty in bench.seat.state.strategy.seen] == [0, 0, 3, 0]


@pytest.mark.parametrize("name", ["b", "*"])
def test_paused_it_learns_and_says_nothing_until_it_is_resumed(name: str) -> None:
    bench = Bench()
    bench.wants(1, 0)
    pause, resume = (kind(name, MINUTE, "me", "lunch") for kind in (PauseBot, ResumeBot))
    assert bench.tell(subjects.COMMAND, resume) == ()  # it runs
    assert bench.tell(subjects.COMMAND, pause) == (BotPaused("b", MINUTE, "lunch"),)
    assert bench.tell(subjects.COMMAND, pause) == ()
    assert bench.wants(2, 1) == []
    assert len(bench.seat.state.strategy.seen) == 2
    assert bench.tell(subjects.COMMAND, resume) == (BotResumed("b", MINUTE, "lunch"),)
    assert bench.wants(3, 9) == []  # what it wanted meanwhile is gone
    assert bench.wants(4, 1) == [1]


def test_commands_to_other_bots_are_not_heard() -> None:
    bench = Bench()
    assert bench.tell(subjects.COMMAND, PauseBot("other", MINUTE, "me", "")) == ()
    assert bench.tell(subjects.COMMAND, StopSession(MINUTE, "me", "", "leave")) == ()
    assert bench.wants(1, 1) == [1]


def test_of_several_candles_in_one_message_only_the_newest_is_acted_on_and_all_are_learnt_from() -> None:
    bench = Bench()
    facts = bench.tell(MARKET, candle(1, 1, 11.0), candle(2, -1, 12.0), candle(2, 1, timeframe="2m"))
    assert [(fact.target, fact.price) for fact in facts if isinstance(fact, Signal)] == [(-1, 12.0)]
    assert sum(isinstance(fact, BotStarted) for fact in facts) == 1
    assert [close for close, _ in bench.seat.state.strategy.seen] == [11.0, 12.0]
    facts = bench.tell(MARKET, candle(3, 1, 13.0), candle(4, 9, 14.0))  # a wish holds until another is said
    assert [(fact.target, fact.price) for fact in facts if isinstance(fact, Signal)] == [(1, 14.0)]


def test_history_in_blocks_is_learnt_from_and_never_traded_on() -> None:
    bench = Bench()
    bench.tell(ACCOUNT, fill(3))
    ts = np.arange(1, 6, dtype=np.int64) * MINUTE
    column, wishes = np.full(5, 10.0), np.array([1.0, -1, 0, 1, -1])
    (block,) = pack("sim", "A", "1m", Columns(ts, wishes, column, column, column, column))
    assert bench.tell(MARKET, block) == ()
    assert bench.seat.state.strategy.seen == [(10.0, 0)] * 5
    assert not bench.seat.state.started
    (other,) = pack("sim", "A", "5m", Columns(ts, wishes, column, column, column, column))
    assert not bench.decider.hears(bench.entry(MARKET, other))
    assert bench.wants(6, -1) == [-1]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("nan", "answered Target.*no position"),
        ("far", "answered Target.*2.0.*no position"),
        ("no stop", "answered Target.*inf.*no position"),
        ("number", "AttributeError"),
        ("error", "ZeroDivisionError: "),
    ],
)
def test_an_answer_that_is_no_position_is_poison(answer: str, said: str) -> None:
    bench = Bench(answer)
    bench.wants(1, 9)
    with pytest.raises(Poison, match=rf"^bot\.b cannot go on past tape sequence 2: .*{said}") as found:
        bench.wants(2, 1)
    assert (found.value.actor, found.value.seq) == ("bot.b", 2)


def test_what_is_read_back_is_what_was_decided_whatever_numbers_the_strategy_uses() -> None:
    bench, codec = Bench("loose"), Codec()
    entry = bench.entry(MARKET, candle(1, 1))
    decision = bench.seat.react(entry)
    assert decision is not None
    assert codec.decode(codec.encode(decision)) == decision
    assert codec.encode(codec.decode(codec.encode(decision))) == codec.encode(decision)
    replayed = Seat(BotDecider(plan("loose")))
    replayed.recall(Recorded(2, "bot.b", codec.decode(codec.encode(decision))))
    assert replayed.react(entry) is None
    assert replayed.state == bench.seat.state


@pytest.mark.parametrize("actor", [MARKET, ACCOUNT])
def test_bytes_that_are_no_fact_stop_it(actor: str) -> None:
    bench = Bench()
    with pytest.raises(Poison, match=r"^bot\.b cannot go on past tape sequence 1: unreadable message on t.x: not JSON"):
        bench.tell(actor, Unreadable("t.x", "not JSON", b"{"))


def test_an_unreadable_command_stops_nobody() -> None:
    bench = Bench()
    assert bench.tell(subjects.COMMAND, Unreadable("t.x", "not JSON", b"{")) == ()
    assert bench.wants(1, 1) == [1]


MESSAGES: list[tuple[str, tuple[Fact, ...]]] = [
    *((MARKET, (candle(1, wish),)) for wish in (-1, 0, 1, 9)),
    (MARKET, (candle(1, 1), candle(1, -1, timeframe="5m"))),
    (MARKET, (candle(1, -1, timeframe="5m"),)),
    (MARKET, (GapFound("sim", "A", "1m", MINUTE, MINUTE, 1),)),
    (MARKET, (Trade("sim", "A", MINUTE, 1.0, 1.0),)),
    (subjects.market("sim", "B"), (candle(1, 1, symbol="B"),)),
    *((ACCOUNT, (fill(position, role),)) for position in (0, 2, -2) for role in ("entry", "exit", "stop-loss")),
    (ACCOUNT, (fill(2, bot="other"),)),
    (ACCOUNT, (refused(),)),
    (ACCOUNT, (refused("other"),)),
    *(
        (subjects.COMMAND, (kind(name, MINUTE, "me", ""),))
        for kind in (PauseBot, ResumeBot)
        for name in ("*", "b", "other")
    ),
    (subjects.COMMAND, (Unreadable("t.x", "not JSON", b"{"),)),
    (subjects.COMMAND, (StopSession(MINUTE, "me", "", "cancel"),)),
]
histories = st.lists(st.sampled_from(MESSAGES), max_size=30)


def recorded(messages: Iterable[tuple[str, tuple[Fact, ...]]]) -> list[Recorded]:
    bench = Bench()
    return [bench.entry(actor, *facts) for actor, facts in messages]


@given(histories)
def test_what_it_does_not_hear_changes_nothing(messages: list[tuple[str, tuple[Fact, ...]]]) -> None:
    decider = BotDecider(plan())
    told, spared = decider.initial(), decider.initial()
    for entry in recorded(messages):
        hears = decider.hears(entry)
        for state in (told, spared) if hears else (told,):
            decider.observe(state, entry)
            facts = decider.decide(state, entry)
            assert hears or facts == ()
            for fact in facts:
                decider.evolve(state, fact)
        told.wish = spared.wish = None  # the answer to one entry, gone with it
        assert told == spared


@given(histories)
def test_deciding_is_pure_and_twice_the_same(messages: list[tuple[str, tuple[Fact, ...]]]) -> None:
    decider = BotDecider(plan())
    state = decider.initial()
    for entry in filter(decider.hears, recorded(messages)):
        decider.observe(state, entry)
        before = deepcopy(state)
        facts = decider.decide(state, entry)
        assert state == before
        assert decider.decide(deepcopy(state), entry) == facts
        for fact in facts:
            decider.evolve(state, fact)


@given(histories, st.integers(0, 30))
def test_replayed_from_what_it_recorded_it_is_what_it_was_and_goes_on_the_same(
    messages: list[tuple[str, tuple[Fact, ...]]], crash: int
) -> None:
    entries = [entry for entry in recorded(messages) if Bench().decider.hears(entry)]
    fresh, again = Seat(BotDecider(plan())), Seat(BotDecider(plan()))
    decided = []
    for place, entry in enumerate(entries):
        decision = fresh.react(entry)
        decided.append(decision)
        if decision is not None and place < crash:
            again.recall(Recorded(1000 + place, "bot.b", decision))
    rest = [again.react(entry) for entry in entries]
    assert rest == [None if place < crash else decision for place, decision in enumerate(decided)]
    assert again.state == fresh.state
    assert again.at == fresh.at


def test_its_decision_names_its_cause() -> None:
    bench = Bench()
    entry = bench.entry(MARKET, candle(1, 1))
    decision = bench.seat.react(entry)
    assert decision is not None
    assert decision == derived("bot.b", entry, decision.facts)
    assert (decision.cause, decision.by, decision.ts) == (1, "id-1", MINUTE)
    assert bench.seat.react(entry) is None  # delivered twice
