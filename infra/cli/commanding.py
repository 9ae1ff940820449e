"""Commands to what runs: `stop`, `pause`, `resume`. A command is a fact on the tape; the bus is all that is needed."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import Callable, Collection
from contextlib import suppress

import msgspec

from actors.plan import Plan
from events import subjects
from events.control import (
    ActorHalted,
    BotPaused,
    BotResumed,
    PauseBot,
    ReleaseTrading,
    RestrictTrading,
    ResumeBot,
    StopSession,
    TradingReleased,
    TradingRestricted,
)
from events.decision import Recorded
from events.fact import Fact
from events.feed import command
from events.trading import OrderCancelled, OrderPlaced
from infra.cli.alone import commanding
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import Reached, append, now, session_pid
from infra.cli.values import clock, duration, named
from infra.session.audit import NoSession, plan_on
from infra.session.stopping import present
from infra.tapes.jetstream import JetStreamTape

LEVELS = ("no-new-risk", "close-only", "cancel-all", "flatten")
_POLL_S = 0.1  # how often it is looked whether the session has ended
_END_S = 60.0
_ANSWER_S = 15.0  # an actor answers in milliseconds, after a restart in seconds
_ELSEWHERE_S = 3.0  # no session is seen from here, but on another machine one may run


class Order(msgspec.Struct, frozen=True):
    """What `tape stop` was asked for."""

    trading: str | None
    release: bool
    account: str
    reason: str
    wait: str | None


class Told(msgspec.Struct, frozen=True):
    """A command, whom it concerns (`what`: account or bot), and who of them has nothing to answer to it."""

    fact: Fact
    what: str
    names: frozenset[str]
    idle: frozenset[str]
    said: str


def who() -> str:
    """Who commands, and when by the clock. It also makes two equal commands two facts: ids follow from content."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()} {clock(now())}"


def stop(context: Context, order: Order):  # type: ignore[no-untyped-def]  # a code or a coroutine of one
    """`tape stop` in its three forms."""
    if order.trading is not None and order.release:
        raise Failure("--trading and --release contradict each other: give one of them")
    if order.trading is not None:
        named("level", order.trading, LEVELS)
    return _trading(context, order) if order.trading or order.release else _end(context, order)


async def _end(context: Context, order: Order) -> int:
    config, screen = context.config(), context.screen
    patience = _END_S if order.wait is None else duration(order.wait)
    pid = session_pid(config)
    if pid is None:
        said = f"no session runs on tape {config.tape!r} here: nothing to stop"
        screen.result({"stopped": False, "running": False, "tape": config.tape}, said)
        return Exit.FINE
    async with commanding(config) as (tape, _):
        at = await _now(tape)
        fact = StopSession(at, who(), order.reason, config.session.orders_at_stop)
        seq = await append(tape, command(fact, at), subjects.COMMAND)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    with screen.working(f"waiting for the session (process {pid}) to end"):
        while session_pid(config) is not None:
            if loop.time() > deadline:
                raise Failure(
                    f"the session (process {pid}) has not ended within {order.wait or '60s'}; the command stands on "
                    f"the tape at {seq}: look with `tape status`, or send the process a SIGTERM",
                    Exit.IN_THE_WAY,
                )
            await asyncio.sleep(_POLL_S)
    left = "working entries are cancelled" if config.session.orders_at_stop == "cancel" else "its orders stand"
    screen.result(
        {"stopped": True, "running": False, "tape": config.tape, "seq": seq},
        f"the session on tape {config.tape!r} has ended; {left}, and so do its positions",
    )
    return Exit.FINE


async def _trading(context: Context, order: Order) -> int:
    name = order.account
    async with commanding(context.config()) as (tape, at):
        accounts = {one.name for one in (await plan_on(tape)).accounts}
        if name != "*":
            accounts = {named("account", name, accounts)}
        ts, idle = await _now(tape), frozenset[str]()
        if order.release:
            fact: Fact = ReleaseTrading(name, ts, who(), order.reason)
            idle = frozenset(accounts - await _commanded(tape, "account", RestrictTrading, ReleaseTrading, accounts))
        else:
            fact = RestrictTrading(name, ts, who(), order.trading or "", order.reason)
        said = "released" if order.release else f"restricted to {order.trading}"
        return await _tell(context, tape, at, Told(fact, "account", frozenset(accounts), idle, said), order.wait)


async def pause(context: Context, bot: str, reason: str, *, resume: bool) -> int:
    async with commanding(context.config()) as (tape, at):
        bots = {one.name for one in (await plan_on(tape)).bots}
        if bot != "*":
            bots = {named("bot", bot, bots)}
        ts, paused = await _now(tape), await _commanded(tape, "bot", PauseBot, ResumeBot, bots)
        fact: Fact = (ResumeBot if resume else PauseBot)(bot, ts, who(), reason)
        idle = frozenset(bots - paused if resume else paused)
        said = "resumed" if resume else "paused"
        return await _tell(context, tape, at, Told(fact, "bot", frozenset(bots), idle, said), None)


async def _commanded(
    tape: JetStreamTape, what: str, on: type[Fact], off: type[Fact], names: Collection[str]
) -> set[str]:
    """For whom the last of two opposite commands was `on`: so they are, or will be when they have come so far."""
    found: set[str] = set()
    async for entry in tape.read([f"{subjects.COMMAND}.>"]):
        for fact in entry.decision.facts:
            if isinstance(fact, on | off):
                meant = set(names) if getattr(fact, what) == "*" else {getattr(fact, what)}
                found = found | meant if isinstance(fact, on) else found - meant
    return found & set(names)


async def _tell(context: Context, tape: JetStreamTape, at: Reached, told: Told, wait: str | None) -> int:
    """Appends the command; where somebody may hear it, shows each answer as it comes, and says who did not answer."""
    config, screen = context.config(), context.screen
    seq = await append(tape, command(told.fact, told.fact.ts), subjects.COMMAND)  # type: ignore[attr-defined]
    running = session_pid(config) is not None
    screen.show(f"recorded at {seq}: {told.what} {', '.join(sorted(told.names))} to be {told.said}")
    halted = await _halted(tape, told) if running else {}
    due = told.names - told.idle - set(halted)
    patience = _ANSWER_S if wait is None else duration(wait)
    answered: dict[str, Recorded] = {}

    def hear(name: str, answer: Recorded) -> None:
        answered[name] = answer
        screen.show(_answer(told, name, answer))

    if not at.started:
        with screen.working("waiting for the answers"):
            await _answers(tape, seq, told, due, patience if running else _ELSEWHERE_S, hear)
    for name in sorted(told.idle - answered.keys()):
        screen.show(f"{told.what} {name}: stood so before")
    silent = sorted(told.names - told.idle - answered.keys())
    screen.result({
        "seq": seq, "what": told.what, "said": told.said, "running": running, "answered": sorted(answered),
        "silent": silent, "halted": sorted(halted), "answers": {name: one.seq for name, one in answered.items()},
    })  # fmt: skip
    for name in silent:
        screen.show(f"{told.what} {name}: {_silence(halted.get(name, 0), running)}")
    return Exit.HALTED if silent and running else Exit.FINE


def _silence(halted: int, running: bool) -> str:
    if halted:
        return f"HALTED at {halted}, so it orders nothing; the command takes effect when it runs again"
    if running:
        return "NO ANSWER yet; the command stands on the tape and takes effect as soon as it runs again (`tape status`)"
    return "no session runs here, so it takes effect when the next one starts"


def _answer(told: Told, name: str, answer: Recorded) -> str:
    """What somebody has done about it, in words."""
    facts = answer.decision.facts
    level = next((fact.level for fact in facts if isinstance(fact, TradingRestricted)), "")
    said = told.said
    if isinstance(told.fact, RestrictTrading) and level != told.fact.level:
        said = f"stays restricted to {level}, which is more; --release lifts it"
    cancelled = sum(isinstance(fact, OrderCancelled) for fact in facts)
    leaving = [fact for fact in facts if isinstance(fact, OrderPlaced)]
    parts = [f"{told.what} {name}: {said}"]
    parts += [f"{cancelled} order{'s' * (cancelled > 1)} cancelled"] if cancelled else []
    parts += [f"{one.side} {one.qty} {one.symbol} of {one.bot} at the next price" for one in leaving]
    parts += ["positions stand without stops: --trading flatten closes them"] if level == "cancel-all" else []
    return "; ".join(parts)


async def _halted(tape: JetStreamTape, told: Told) -> dict[str, int]:
    """Who of them has stopped for good since it was last taken up, and where."""
    found = {}
    async for entry in tape.read([f"{subjects.SUPERVISOR}.>"]):
        for fact in entry.decision.facts:
            name = fact.actor.removeprefix(f"{told.what}.") if isinstance(fact, ActorHalted) else ""
            if name in told.names and entry.seq > await tape.last_match(f"{told.what}.{name}.{subjects.CLAIMED}"):
                found[name] = entry.seq
    return found


async def _answers(
    tape: JetStreamTape,
    seq: int,
    told: Told,
    due: frozenset[str],
    patience: float,
    hear: Callable[[str, Recorded], None],
) -> None:
    """Hears the answers to the command at `seq` as they come, until all are there, in bounded time."""
    kinds = (TradingRestricted, TradingReleased, BotPaused, BotResumed)
    missing = set(due)
    if not missing:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            async for entry in tape.follow([f"{told.what}.>"], after=seq):
                name = entry.actor.partition(".")[2]
                if entry.decision.cause == seq and any(isinstance(fact, kinds) for fact in entry.decision.facts):
                    hear(name, entry)
                    missing.discard(name)
                    if not missing:
                        return


async def _now(tape: JetStreamTape) -> int:
    """The tape's present. A recorded past that is played has a present of its own, and orders live in that."""
    try:
        plan: Plan = await plan_on(tape)
    except NoSession:
        return now()
    return await present(tape, plan.symbols)
