"""What sits in quarantine, and its way out: an item's status is a fold of the facts about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice

import msgspec

from actors.plan import Plan, SymbolPlan
from actors.seat import Seat
from actors.symbol import SymbolDecider
from actors.symbol.validation import RAW_MAX
from events import subjects
from events.codec import Codec, MalformedFact
from events.control import Quarantined, QuarantineDropped, QuarantineRetried, Unreadable
from events.decision import Decision, Recorded
from events.fact import Fact
from events.feed import observed
from events.tape import LostRace
from infra.cli.exits import Exit, Failure
from infra.cli.values import clock
from infra.session.player import plausible
from infra.tapes.jetstream import JetStreamTape

OPERATOR = subjects.quarantine("operator")
RETRIED = "feed.*.*.quarantine-retried"
KEPT = ("market.>", "quarantine.>", f"{subjects.COMMAND}.>", RETRIED)
"""Where things are put in quarantine, and where it is said what has become of them."""
_STEPS = (QuarantineRetried, QuarantineDropped)
_RACES_MAX = 20  # people and scripts are few: so many lost races in a row mean that something else is wrong


class Step(msgspec.Struct, frozen=True):
    """What was done about an item, where on the tape, by whom and why."""

    what: str
    seq: int
    by: str
    reason: str


class Item(msgspec.Struct, frozen=True):
    """Fact `place` of message `seq`. `cause` is the sequence of the message that it is about, 0 where it is its own."""

    seq: int
    place: int
    actor: str
    source: str
    ts: int
    known_at: int
    cause: int
    reason: str
    detail: str
    raw: bytes
    steps: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.seq}.{self.place}" if self.place else str(self.seq)

    @property
    def status(self) -> str:
        return self.steps[0].what if self.steps else "open"


class Refused(Exception):
    """An item cannot be retried; the sentence says why, and what to do."""


class Wanted(msgspec.Struct, frozen=True):
    """Which items: `source` and `reason` as they begin, times as known to the tape in µs."""

    source: str = ""
    reason: str = ""
    after: int = 0
    before: int = 2**62
    every: bool = False

    def holds(self, item: Item) -> bool:
        return (
            item.source.startswith(self.source)
            and item.reason.startswith(self.reason)
            and self.after <= item.known_at < self.before
            and (self.every or item.status == "open")
        )

    @property
    def narrows(self) -> bool:
        return bool(self.source or self.reason or self.after or self.before != 2**62)


async def items(tape: JetStreamTape, seen: Callable[[int], None] | None = None) -> dict[tuple[int, int], Item]:
    """All of them, in order of the tape. Bytes nobody can read are items where no actor has said so of them itself."""
    found: dict[tuple[int, int], Item] = {}
    steps: dict[tuple[int, int], list[Step]] = {}
    async for entry in tape.read(KEPT):
        for place, fact in enumerate(entry.decision.facts):
            if isinstance(fact, _STEPS):
                steps.setdefault((fact.seq, fact.place), []).append(_step(entry.seq, fact))
            elif (item := _item(entry, place, fact)) is not None:
                found[entry.seq, place] = item
        if seen is not None and entry.seq % 1000 == 0:
            seen(entry.seq)
    return {key: msgspec.structs.replace(item, steps=tuple(steps.get(key, ()))) for key, item in found.items()}


def _step(seq: int, fact: QuarantineRetried | QuarantineDropped) -> Step:
    return Step("retried" if isinstance(fact, QuarantineRetried) else "dropped", seq, fact.by, fact.reason)


def _item(entry: Recorded, place: int, fact: Fact) -> Item | None:
    decision = entry.decision
    if isinstance(fact, Quarantined):
        return Item(entry.seq, place, entry.actor, fact.source, fact.ts, entry.known_at, decision.cause, fact.reason,
                    fact.detail, fact.raw)  # fmt: skip
    if isinstance(fact, Unreadable):
        who = entry.actor
        return Item(entry.seq, place, who, who, 0, entry.known_at, 0, "unreadable", fact.reason, fact.raw)
    return None


async def original(tape: JetStreamTape, item: Item) -> bytes:
    """The bytes as they came: a fact holds only so many, the message that it is about holds all."""
    if item.reason != "unreadable" or len(item.raw) < RAW_MAX or not item.cause:
        return item.raw
    async for entry in tape.read([f"{item.source}.>"], after=item.cause - 1):
        for fact in islice(entry.decision.facts, 1 if entry.seq == item.cause else 0):
            if isinstance(fact, Unreadable):
                return fact.raw
        break
    return item.raw


def readable(plan: Plan, item: Item, raw: bytes, codec: Codec | None = None) -> Decision:
    """What today's codec makes of an item, if the symbol it was meant for would take it. Raises Refused."""
    if item.status != "open":
        raise Refused(f"it is {item.status} already (at {item.steps[0].seq})")
    symbol = next((one for one in plan.symbols if subjects.feed(one.venue, one.symbol) == item.source), None)
    if symbol is None:
        commanded = item.actor == subjects.COMMAND
        what = "give the command again" if commanded else "import the mended file with `tape import`"
        raise Refused(f"only what came on a feed can be retried: {what}, and drop this with `tape quarantine drop`")
    codec = codec or Codec()
    try:
        if item.reason == "unreadable":
            decision = codec.decode(raw)
        else:
            decision = Decision("", 0, "", item.ts, (codec.fact(raw),))
    except MalformedFact as error:
        raise Refused(f"it still cannot be read: {error}") from error
    if any(isinstance(fact, QuarantineRetried) for fact in decision.facts) or not plausible(decision.ts):
        raise Refused(f"it can be read, but is not what a feed says: {decision.kind} at {clock(decision.ts)}")
    _taken(symbol, item.source, decision)
    return decision


def _taken(symbol: SymbolPlan, feed: str, decision: Decision) -> None:
    """Raises Refused where the symbol's own rules would put it into quarantine again."""
    answer = Seat(SymbolDecider(symbol)).react(Recorded(1, feed, observed(feed, decision.ts, *decision.facts)))
    bad = [fact for fact in answer.facts if isinstance(fact, Quarantined)] if answer is not None else []
    if bad:
        raise Refused(f"it can be read, but is still not usable: {bad[0].reason}: {bad[0].detail}")


async def retry(tape: JetStreamTape, item: Item, decision: Decision, ts: int, by: str, reason: str) -> int:
    """Says it again on its feed, as one message that names what it retries; nothing can come in between.

    Returns its sequence. Raises Refused where somebody else has been faster.
    """
    # The name last: so it can be found by its subject, and bots and accounts do not trade on what is late.
    named = QuarantineRetried(item.seq, item.place, ts, by, reason)
    return await _append(tape, item, item.source, observed(item.source, decision.ts, *decision.facts, named))


async def drop(tape: JetStreamTape, item: Item, ts: int, by: str, reason: str) -> int:
    """Raises Refused where it is not open any more."""
    fact = QuarantineDropped(item.seq, item.place, ts, by, reason)
    return await _append(tape, item, OPERATOR, observed(OPERATOR, ts, fact))


async def _append(tape: JetStreamTape, item: Item, actor: str, message: Decision) -> int:
    """The place is looked up before the status: who comes in between makes this lose the race, and look again."""
    for _ in range(_RACES_MAX):
        last = await tape.last(actor)
        async for step in _steps(tape, item):
            raise Refused(f"it is {step.what} already (at {step.seq})")
        try:
            return await tape.append(actor, message, expected=last.seq if last else 0)
        except LostRace:
            continue
    raise Failure(f"somebody else keeps writing as {actor}: try again later", Exit.IN_THE_WAY)


async def _steps(tape: JetStreamTape, item: Item) -> AsyncIterator[Step]:
    async for entry in tape.read([RETRIED, f"{OPERATOR}.>"], after=item.seq):
        for fact in entry.decision.facts:
            if isinstance(fact, _STEPS) and (fact.seq, fact.place) == (item.seq, item.place):
                yield _step(entry.seq, fact)


def named(found: dict[tuple[int, int], Item], names: Iterable[str]) -> list[Item]:
    """Items by the names that `list` shows. Raises Failure."""
    chosen = []
    for name in names:
        seq, _, place = name.partition(".")
        item = found.get((int(seq), int(place or 0))) if seq.isdecimal() and (place or "0").isdecimal() else None
        if item is None:
            raise Failure(f"there is no {name!r} in quarantine: `tape quarantine list --all` shows what is")
        chosen.append(item)
    return chosen
