"""`tape replay`: the tape derived again in memory, how things stood at a point, and why something came about."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text
from rich.tree import Tree

from events.decision import Recorded
from events.trading import Fill, OrderPlaced
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.looking import described, standing
from infra.cli.overview import Overview
from infra.cli.reach import looking
from infra.cli.screen import pairs
from infra.cli.tailing import as_json
from infra.cli.values import clock, moment, named
from infra.cli.words import line
from infra.session.audit import Auditor, Difference, auditor_of
from infra.tapes.jetstream import JetStreamTape

_encode = msgspec.json.Encoder(decimal_format="string").encode
_DECISIONS_SHOWN = 5
_CAUSES_MAX = 32  # fill, order, signal, candle, feed: five; with parents of brackets some more


class Point(msgspec.Struct, frozen=True):
    """The options of `tape replay`."""

    to: int | None
    at: str | None
    actor: str | None
    why: str | None
    out: Path | None


class Replayed:
    """The state at a point, who placed which order, and the last decisions of an actor."""

    def __init__(self, actor: str | None, why: str | None) -> None:
        self.actor, self.why = actor, why
        self.overview = Overview()
        self.decisions: deque[Recorded] = deque(maxlen=_DECISIONS_SHOWN)
        self.placed: dict[str, int] = {}
        self.found: Recorded | None = None
        self.actors: set[str] = set()

    def add(self, entry: Recorded) -> None:
        self.overview.add(entry)
        self.actors.add(entry.actor)
        if entry.actor == self.actor and entry.decision.by:
            self.decisions.append(entry)
        for fact in entry.decision.facts:
            if isinstance(fact, OrderPlaced):
                self.placed[fact.order] = entry.seq
        if self.why is not None and self._is_asked_for(entry):
            self.found = entry

    def _is_asked_for(self, entry: Recorded) -> bool:
        """The message at a sequence; the decision of an id; the fill; the order, where it was placed."""
        if self.why in (str(entry.seq), entry.decision.id):
            return True
        return any(
            (isinstance(fact, Fill) and fact.fill == self.why)
            or (isinstance(fact, OrderPlaced) and fact.order == self.why)
            for fact in entry.decision.facts
        )


async def replay(context: Context, point: Point) -> int:
    config, screen = context.config(), context.screen
    if point.to is not None and point.at is not None:
        raise Failure("--to and --at contradict each other: give one of them")
    until = moment(point.at) if point.at is not None else None
    async with looking(config) as (tape, _):
        auditor = await auditor_of(tape)
        state = Replayed(point.actor, point.why)
        with screen.progress("deriving again", await tape.end()) as advance:
            different = await _derive(tape, auditor, state, point, until, advance)
        if point.actor is not None:
            named("actor on the tape up to there", point.actor, state.actors)
        chain = await _explained(tape, state) if point.why is not None else None
    value = {"tape": tape.name, "messages": auditor.entries, "digest": auditor.digest.hexdigest(),
             "same": different is None, "difference": different, **described(state.overview),
             "decisions": [as_json(one) for one in state.decisions], "why": chain}  # fmt: skip
    screen.result(value)
    if not screen.json:
        _show(screen, state, auditor, different)
        if chain is not None:
            screen.show("")
            screen.show(_tree(chain))
    return Exit.FINE if different is None else Exit.DIFFERENCE


async def _derive(
    tape: JetStreamTape, auditor: Auditor, state: Replayed, point: Point, until: int | None, advance: Any
) -> Difference | None:
    output = _open(point.out)
    try:
        async for entry in _up_to(tape, point.to, until):
            difference = auditor.check(entry)
            if difference is not None:
                return difference
            state.add(entry)
            if output is not None:
                output.write(_encode(as_json(entry)) + b"\n")
            if entry.seq % 1000 == 0:
                advance(entry.seq)
    finally:
        if output is not None:
            output.close()
    return None


def _open(path: Path | None) -> Any:
    try:
        return None if path is None else path.open("wb")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}; name another file with --out") from error


async def _up_to(tape: JetStreamTape, to: int | None, until: int | None) -> AsyncIterator[Recorded]:
    """Entries up to a sequence, or up to the first word of a feed from after a market time."""
    async for entry in tape.read():
        late = until is not None and entry.actor.startswith("feed.") and entry.decision.ts > until
        if late or (to is not None and entry.seq > to):
            return
        yield entry


async def _explained(tape: JetStreamTape, state: Replayed) -> dict[str, Any]:
    """The causes of what was asked for, back to the feed. Raises Failure where nothing has that id."""
    if state.found is None:
        raise Failure(
            f"nothing up to there has the id or sequence {state.why!r}: orders and fills show their ids in `tape tail "
            "order-placed fill`"
        )
    budget = [_CAUSES_MAX]
    return await _causes(tape, state, state.found, budget)


async def _causes(tape: JetStreamTape, state: Replayed, entry: Recorded, budget: list[int]) -> dict[str, Any]:
    """A message and what it follows from: its cause; of a fill, its order; of a bracket, the order it protects."""
    budget[0] -= 1
    because: list[dict[str, Any]] = []
    sources = [("caused by", entry.decision.cause)] if entry.decision.cause else []
    for fact in entry.decision.facts:
        if isinstance(fact, Fill):
            sources.append((f"fills order {fact.order}", state.placed.get(fact.order, 0)))
        elif isinstance(fact, OrderPlaced) and fact.parent:
            sources.append((f"protects order {fact.parent}", state.placed.get(fact.parent, 0)))
    for how, seq in {seq: (how, seq) for how, seq in reversed(sources)}.values():
        if 0 < seq < entry.seq and budget[0] > 0:
            cause = await _message(tape, seq)
            because.append({"how": how, **await _causes(tape, state, cause, budget)})
    return {"seq": entry.seq, "actor": entry.actor, "said": " ".join(line(entry).plain.split()), "because": because}


async def _message(tape: JetStreamTape, seq: int) -> Recorded:
    async for entry in tape.read(after=seq - 1):
        return entry
    raise Failure(f"the tape has no message {seq}")


def _tree(chain: dict[str, Any]) -> Tree:
    tree = Tree(Text(chain["said"]))
    _grow(tree, chain)
    return tree


def _grow(tree: Tree, chain: dict[str, Any]) -> None:
    for cause in reversed(chain["because"]):
        text = Text(f"{cause['how']}: ", "dim")
        _grow(tree.add(text.append(Text(cause["said"], ""))), cause)


def _show(screen: Any, state: Replayed, auditor: Auditor, different: Difference | None) -> None:
    overview = state.overview
    screen.show(pairs([
        ("up to", f"sequence {overview.at:,}, market time {clock(overview.ts)} UTC"),
        ("known at", f"{clock(overview.last_known)} UTC"),
        ("decisions", f"{auditor.digest.decisions:,} derived again"),
        ("digest", auditor.digest.hexdigest()),
    ]))  # fmt: skip
    if different is not None:
        screen.show(Text(f"DIFFERENT at {different}", "bold red"))
    for one in standing(overview):
        screen.show("")
        screen.show(one)
    if state.decisions:
        screen.show("")
        screen.show(Text(f"last decisions of {state.actor}", "bold"))
        for entry in state.decisions:
            screen.show(line(entry))
