"""Canonical bytes of trading decisions: equal decisions have equal ones, different ones do not."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from events.codec import Codec
from events.decision import Decision, id_after
from events.numbers import halves, ids_after, words
from events.tradebytes import decision_words, money
from events.trading import Fill, OrderPlaced, RiskApproved, RiskRefused, Signal, TradingDayStarted

BY = "0123456789abcdef0123456789abcdef"
NAMES = ("main", "b", "v", "S")
SIGNAL = Signal("b", "v", "S", 7, 1.0, 100.5, reasons=("up",))
APPROVED = RiskApproved(*NAMES, 7, BY, Decimal("1.5"))
PLACED = OrderPlaced("0123456789abcdef-1", *NAMES, 7, "buy", "market", "entry", Decimal("1.5"))
FILL = Fill(
    "0123456789abcdef-1-f1", "0123456789abcdef-1", *NAMES, 8, "buy", "entry", Decimal("1.5"), Decimal("100.5"),
    Decimal("0.1"), "taker", Decimal(0), Decimal("1.5"), Decimal("100.5"), Decimal("-50.25"), Decimal(0),
)  # fmt: skip
DAY = TradingDayStarted("main", 8, "2024-01-01", Decimal("-0.5"))


def decision(*facts: object, by: str = BY, ts: int = 7) -> Decision:
    return Decision("", 0, by, ts, facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("fact", [SIGNAL, APPROVED, PLACED, FILL, DAY], ids=lambda one: type(one).__name__)
def test_every_field_counts(fact: object) -> None:
    known = {decision_words("a", decision(fact))}
    assert None not in known
    count = 1
    for name in fact.__struct_fields__:  # type: ignore[attr-defined]
        value = getattr(fact, name)
        other = _other(name, value)
        if other is None:
            continue
        changed = msgspec.structs.replace(fact, **{name: other})  # type: ignore[type-var]
        known.add(Codec().canonical("a", decision(changed)))
        count += 1
    assert len(known) == count > 4


def _other(name: str, value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 1
        case Decimal():
            return value + Decimal("1e-18")
        case str():
            return value[:-1] + ("2" if value[-1:] != "2" else "3") if value else "0"
        case tuple():
            return (*value, "more")
        case None:
            return {"qty": Decimal(0), "limit": Decimal(1), "trigger": Decimal(1), "trail": Decimal(1)}.get(name)
    return None


def test_actor_cause_and_time_count() -> None:
    found = {
        decision_words("a", decision(FILL)), decision_words("b", decision(FILL)),
        decision_words("a", decision(FILL, by=BY[::-1])), decision_words("a", decision(FILL, ts=8)),
        decision_words("a", decision(FILL, DAY)), decision_words("a", decision(DAY, FILL)),
    }  # fmt: skip
    assert len(found) == 6
    assert None not in found


def test_how_a_number_is_written_does_not_count() -> None:
    other = msgspec.structs.replace(FILL, qty=Decimal("1.500"), cash=Decimal("-50.2500"))
    assert decision_words("a", decision(other)) == decision_words("a", decision(FILL))


@pytest.mark.parametrize(
    "facts",
    [
        (RiskRefused(*NAMES, 7, BY, "size", "none"),),
        (msgspec.structs.replace(FILL, fill="x"),),
        (msgspec.structs.replace(FILL, order="0123456789ABCDEF-1"),),
        (msgspec.structs.replace(FILL, price=Decimal(1) / 3),),
        (msgspec.structs.replace(FILL, cash=Decimal(2) ** 70),),
        (msgspec.structs.replace(PLACED, limit=Decimal(1)),),
        (msgspec.structs.replace(APPROVED, signal="short"),),
        (msgspec.structs.replace(SIGNAL, stop=float("nan")),),
    ],
)
def test_what_does_not_fit_is_hashed_as_json(facts: tuple[object, ...]) -> None:
    assert decision_words("a", decision(*facts)) is None
    assert Codec().canonical("a", decision(*facts)).startswith(b"[")


def test_a_cause_that_is_no_id_is_hashed_as_json() -> None:
    assert decision_words("a", decision(FILL, by=BY.upper())) is None


@pytest.mark.parametrize(("text", "pair"), [("1.5", (1, 5 * 10**17)), ("-0.25", (-1, 75 * 10**16)), ("0E-8", (0, 0))])
def test_money_in_words(text: str, pair: tuple[int, int]) -> None:
    assert money(Decimal(text)) == pair


def test_ids_in_columns() -> None:
    raw = np.frombuffer(np.random.default_rng(1).bytes(16 * 300) + bytes(16) + b"\xff" * 16, np.uint8).reshape(-1, 16)
    found = words(ids_after("bot.x", halves(raw))).tobytes()
    assert found.hex() == "".join(id_after("bot.x", bytes(one).hex()) for one in raw)
