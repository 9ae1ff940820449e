"""`tape quarantine`: list, show, retry, drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from actors.plan import Plan
from infra.cli.alone import commanding
from infra.cli.commanding import who
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.quarantine import Item, Refused, Wanted, drop, items, named, original, readable, retry
from infra.cli.reach import now
from infra.cli.screen import Screen, pairs, table
from infra.cli.values import clock, duration
from infra.session.audit import NoSession, plan_on
from infra.session.stopping import present
from infra.tapes.jetstream import JetStreamTape

_HEX_MAX = 4_096  # bytes of what is no text
_SHOWN = 60


class Asked(msgspec.Struct, frozen=True):
    """What was typed: names of items, or filters; `older` and `newer` are durations up to now."""

    names: tuple[str, ...] = ()
    source: str = ""
    reason: str = ""
    older: str | None = None
    newer: str | None = None
    every: bool = False

    def wanted(self) -> Wanted:
        at = now()
        after = 0 if self.newer is None else at - int(duration(self.newer) * 1e6)
        before = 2**62 if self.older is None else at - int(duration(self.older) * 1e6)
        return Wanted(self.source, self.reason, after, before, self.every)


async def shown(context: Context, asked: Asked) -> int:
    screen, wanted = context.screen, asked.wanted()
    async with commanding(context.config(), "viewer") as (tape, _):
        found = await _found(tape, screen)
    chosen = [item for item in found.values() if wanted.holds(item)]
    for item in chosen:
        screen.result(_value(item))
    if not screen.json:
        rows = [
            (one.name, one.source, one.reason, one.status, clock(one.known_at)[:19], one.detail[:_SHOWN])
            for one in chosen
        ]
        columns = ("item", "source", "reason", "status", "known at", "detail")
        screen.show(table("", columns, rows) if rows else "nothing")
        counts = Counter(item.status for item in found.values())
        screen.show("in all: " + ", ".join(f"{counts[name]:,} {name}" for name in ("open", "retried", "dropped")))
    return Exit.FINE


async def show(context: Context, name: str) -> int:
    screen = context.screen
    async with commanding(context.config(), "viewer") as (tape, _):
        (item,) = named(await _found(tape, screen), [name])
        raw, plan = await original(tape, item), await _plan(tape)
    try:
        readable(plan, item, raw)
        today = "can be read and used: `tape quarantine retry` puts it on its feed"
    except Refused as refused:
        today = str(refused)
    screen.result({**_value(item), "raw": _text(raw), "bytes": len(raw), "today": today}, pairs([
        ("item", item.name), ("source", item.source), ("said by", f"{item.actor} at {item.seq}"),
        ("event time", clock(item.ts)), ("known at", clock(item.known_at)), ("reason", item.reason),
        ("detail", item.detail), ("status", item.status),
        *((step.what, f"at {step.seq} by {step.by} {step.reason}".rstrip()) for step in item.steps),
        ("today", today), ("bytes", f"{len(raw):,}"),
    ]), _text(raw))  # fmt: skip
    return Exit.FINE


async def retried(context: Context, asked: Asked, reason: str) -> int:
    async with commanding(context.config(), "feed") as (tape, _):
        plan = await _plan(tape)
        ts = await present(tape, plan.symbols)

        async def again(item: Item) -> int:
            decision = readable(plan, item, await original(tape, item))
            return await retry(tape, item, decision, ts, who(), reason)

        return await _each(context, tape, asked, "retried", again)


async def dropped(context: Context, asked: Asked, reason: str) -> int:
    async with commanding(context.config()) as (tape, _):
        ts = await present(tape, (await _plan(tape)).symbols)

        async def away(item: Item) -> int:
            if item.status != "open":
                raise Refused(f"it is {item.status} already (at {item.steps[0].seq})")
            return await drop(tape, item, ts, who(), reason)

        return await _each(context, tape, asked, "dropped", away)


async def _each(
    context: Context, tape: JetStreamTape, asked: Asked, what: str, act: Callable[[Item], Awaitable[int]]
) -> int:
    """Deals with each chosen item by itself: one that is refused is said, and keeps none of the others."""
    screen, wanted = context.screen, asked.wanted()
    if not asked.names and not wanted.narrows:
        raise Failure("name the items, or narrow them with --source, --reason, --older or --newer")
    found = await _found(tape, screen)
    chosen = named(found, asked.names) if asked.names else [one for one in found.values() if wanted.holds(one)]
    refusals = 0
    for item in chosen:
        try:
            seq = await act(item)
            screen.result({"item": item.name, "done": True, "seq": seq}, f"{item.name}: {what} at {seq}")
        except Refused as refused:
            refusals += 1
            value = {"item": item.name, "done": False, "why": str(refused)}
            screen.result(value, f"{item.name}: NOT {what}: {refused}")
    screen.show(f"{len(chosen) - refusals:,} {what}, {refusals:,} refused")
    return Exit.DIFFERENCE if refusals else Exit.FINE


async def _found(tape: JetStreamTape, screen: Screen) -> dict[tuple[int, int], Item]:
    with screen.progress("reading the tape", await tape.end()) as advance:
        return await items(tape, advance)


async def _plan(tape: JetStreamTape) -> Plan:
    try:
        return await plan_on(tape)
    except NoSession:  # a tape of imports alone
        return Plan(symbols=())


def _value(item: Item) -> dict[str, Any]:
    return {
        "item": item.name, "source": item.source, "actor": item.actor, "reason": item.reason, "detail": item.detail,
        "status": item.status, "ts": item.ts, "known_at": item.known_at, "steps": item.steps,
    }  # fmt: skip


def _text(raw: bytes) -> str:
    """Text where it is one, else a hex dump with what can be read beside it."""
    try:
        text = raw.decode()
        if all(one.isprintable() or one in "\n\t" for one in text):
            return text
    except UnicodeDecodeError:
        pass
    lines = []
    for at in range(0, min(len(raw), _HEX_MAX), 16):
        part = raw[at : at + 16]
        beside = "".join(chr(one) if 32 <= one < 127 else "." for one in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {beside}")
    rest = len(raw) - _HEX_MAX
    return "\n".join([*lines, *([f"and {rest:,} bytes more"] if rest > 0 else [])])
