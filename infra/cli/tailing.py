"""`tape tail`: facts in words, as they stand and as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from events.catalogue import FACTS
from events.decision import Recorded
from events.fact import kind
from events.tape import EVERYTHING, Tape
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import looking, session_pid

_WINDOW = 64  # entries read from the end for each one wanted, at first; eight times more each time that is too few

_KINDS = frozenset(kind(fact) for fact in FACTS)
_ENTITIES = {"feed": 2, "market": 2, "venue": 2, "bot": 1, "account": 1, "command": 1, "session": 1, "quarantine": 1,
             "supervisor": 1}  # fmt: skip


def patterns(texts: Sequence[str], tape: str) -> tuple[str, ...]:
    """What people write as patterns of the tape: a pattern, an actor, an entity, or a kind of fact. Raises Failure."""
    found: list[str] = []
    for text in texts:
        bare = text.removeprefix(f"{tape}.")
        if not bare or any(not part or " " in part for part in bare.split(".")) or ">" in bare[:-1]:
            raise Failure(f"{text!r} is not a pattern: write one such as 'bot.*.signal' or 'market.>', or 'fill'")
        if bare in _KINDS and bare not in _ENTITIES:
            found += [f"*.*.{bare}", f"*.*.*.{bare}"]
        elif "*" not in bare and ">" not in bare and len(bare.split(".")) <= _ENTITIES.get(bare.split(".")[0], 0) + 1:
            found.append(f"{bare}.>")
        else:
            found.append(bare)
    return tuple(found) or EVERYTHING


async def last_entries(tape: Tape, wanted: Sequence[str], count: int) -> tuple[list[Recorded], int]:
    """The newest `count` messages under the patterns, oldest first, and the tape's end."""
    end = await tape.end()
    span = count * _WINDOW
    while count:
        start = max(0, end - span)
        kept: deque[Recorded] = deque(maxlen=count)
        async for entry in tape.read(wanted, after=start):
            if entry.seq > end:
                break
            kept.append(entry)
        if len(kept) == count or not start:
            return list(kept), end
        span *= 8
    return [], end


def as_json(entry: Recorded) -> dict[str, object]:
    """One message for machines."""
    decision = msgspec.to_builtins(entry.decision)
    return {"seq": entry.seq, "actor": entry.actor, "kind": entry.decision.kind, "known_at": entry.known_at,
            "epoch": entry.epoch, **decision}  # fmt: skip


async def tail(context: Context, texts: Sequence[str], count: int, follow: bool) -> int:
    from infra.cli.words import line

    config, screen = context.config(), context.screen
    wanted = patterns(texts, config.tape)

    def show(entry: Recorded) -> None:
        if screen.json:
            screen.emit(as_json(entry))
        else:
            text = line(entry)
            if screen.out.is_terminal:
                text.truncate(screen.out.width, overflow="ellipsis")
            screen.show(text)

    async with looking(config) as (tape, _):
        found, end = await last_entries(tape, wanted, count)
        for entry in found:
            show(entry)
        if not found and not follow:
            screen.say(f"nothing on tape {config.tape!r} matches {' '.join(texts) or 'that'}")
        if follow:
            if session_pid(config) is None:
                screen.say("no session runs here: waiting for what comes (Ctrl-C ends)", "dim")
            try:
                async for entry in tape.follow(wanted, after=end):
                    show(entry)
            except KeyboardInterrupt:
                return Exit.FINE
    return Exit.FINE
