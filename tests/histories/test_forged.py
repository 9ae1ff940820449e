"""Decisions that somebody else wrote as an actor, or changed: the audit names each, where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from events.codec import Codec
from events.decision import Decision, Recorded
from infra.session.audit import Auditor, Difference, Past, plan_on
from scripts.fuzz.corpus import NUMBERS, VALUES
from tests.histories.files import HistoryTape, entries
from tests.simulation.clock import run

HISTORY = "candles-3"
LENGTH = 400  # entries: bots trade by then
ROLES = ("market.", "bot.", "account.")


def named(found: Sequence[Recorded]) -> Difference | None:
    auditor = Auditor(run(plan_on(HistoryTape(entries(HISTORY)))), Past())
    return next((difference for one in found if (difference := auditor.check(one)) is not None), None)


def decisions(role: str) -> list[Recorded]:
    return [one for one in entries(HISTORY)[:LENGTH] if one.actor.startswith(role) and one.decision.by]


def changed(body: bytes, chance: Random) -> Iterator[bytes]:
    """One value, one name, one fact more or less, one bit."""
    message: dict[str, Any] = json.loads(body)
    for place in (message, message["facts"][-1]):
        name = chance.choice(sorted(place))
        before = place[name]
        place[name] = chance.choice((*VALUES, *NUMBERS))
        yield json.dumps(message).encode()
        place[name] = before
    yield json.dumps({**message, "facts": message["facts"] * 2}).encode()
    yield json.dumps({**message, "facts": message["facts"][:-1]}).encode()
    at = chance.randrange(len(body))
    yield body[:at] + bytes([body[at] ^ 1 << chance.randrange(7)]) + body[at + 1 :]


@pytest.mark.parametrize("role", ROLES)
def test_a_changed_decision_is_named(role: str) -> None:
    chance, codec, whole = Random(role), Codec(), entries(HISTORY)
    tried = 0
    for one in chance.sample(decisions(role), 4):
        for body in changed(codec.encode(one.decision), chance):
            forged = codec.decode_or_unreadable(f"main.{one.actor}.x", body)
            if forged == one.decision:
                continue  # the same words otherwise written
            difference = named([*whole[: one.seq - 1], msgspec.structs.replace(one, decision=forged)])
            assert difference is not None, body
            assert (difference.seq, difference.actor) == (one.seq, one.actor)
            tried += 1
    assert tried > 10


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "what", ["again", "as if of another cause", "without a cause", "of an actor that there is not"]
)
def test_a_decision_too_many_is_named(role: str, what: str) -> None:
    whole, one = entries(HISTORY), decisions(role)[-1]
    told, actor = one.decision, one.actor
    match what:
        case "as if of another cause":
            told = Decision("f" * 32, one.seq, told.id, told.ts, told.facts)
        case "without a cause":
            told = Decision("f" * 32, 0, "", told.ts, told.facts)
        case "of an actor that there is not":
            actor = f"{actor}-2"
    forged = Recorded(one.seq + 1, actor, told, one.known_at, one.epoch)
    difference = named([*whole[: one.seq], forged])
    assert difference is not None
    assert difference.seq == forged.seq
