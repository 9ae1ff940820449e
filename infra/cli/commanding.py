"""Commands to what runs: `stop`, `pause`, `resume`. A command is a fact on the tape; the bus is all that is needed."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import Callable

import msgspec

from actors.plan import Plan
from events import subjects
from events.control import (
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
from events.fact import Fact
from events.feed import command
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import append, event_time, looking, now, session_pid
from infra.cli.values import clock, duration, named
from infra.session.audit import NoSession, plan_on
from infra.tapes.jetstream import JetStreamTape

LEVELS = ("no-new-risk", "close-only", "cancel-all", "flatten")
_POLL_S = 0.1  # how often it is looked whether the session has ended
_ANSWER_S = 15.0  # an actor answers in milliseconds, after a restart in seconds


class Order(msgspec.Struct, frozen=True):
    """What `tape stop` was asked for."""

    trading: str | None
    release: bool
    account: str
    reason: str
    wait: str


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
    config, screen, patience = context.config(), context.screen, duration(order.wait)
    pid = session_pid(config)
    if pid is None:
        said = f"no session runs on tape {config.tape!r} here: nothing to stop"
        screen.result({"stopped": False, "running": False, "tape": config.tape}, said)
        return Exit.FINE
    async with looking(config, "operator") as (tape, _):
        at = await _now(tape)
        seq = await append(tape, command(StopSession(at, who(), order.reason), at), subjects.COMMAND)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    with screen.working(f"waiting for the session (process {pid}) to end"):
        while session_pid(config) is not None:
            if loop.time() > deadline:
                raise Failure(
                    f"the session (process {pid}) has not ended within {order.wait}; the command stands on the tape at "
                    f"{seq}: look with `tape status`, or send the process a SIGTERM",
                    Exit.IN_THE_WAY,
                )
            await asyncio.sleep(_POLL_S)
    screen.result(
        {"stopped": True, "running": False, "tape": config.tape, "seq": seq},
        f"the session on tape {config.tape!r} has ended; its positions and orders stand as they are on the tape",
    )
    return Exit.FINE


async def _trading(context: Context, order: Order) -> int:
    config, name = context.config(), order.account
    answers: tuple[type[Fact], ...] = (TradingReleased,) if order.release else (TradingRestricted,)
    async with looking(config, "operator") as (tape, _):
        plan = await _plan(tape)
        accounts = {one.name for one in plan.accounts}
        if name != "*":
            accounts = {named("account", name, accounts)}
        at = await _now(tape)
        if order.release:
            fact: Fact = ReleaseTrading(name, at, who(), order.reason)
        else:
            fact = RestrictTrading(name, at, who(), order.trading or "", order.reason)
        said = "released" if order.release else f"restricted to {order.trading}"
        return await _told(context, tape, fact, "account", accounts, answers, said, duration(order.wait))


async def pause(context: Context, bot: str, reason: str, *, resume: bool) -> int:
    config = context.config()
    answers: tuple[type[Fact], ...] = (BotResumed,) if resume else (BotPaused,)
    async with looking(config, "operator") as (tape, _):
        plan = await _plan(tape)
        bots = {one.name for one in plan.bots}
        if bot != "*":
            bots = {named("bot", bot, bots)}
        at = await _now(tape)
        fact: Fact = (ResumeBot if resume else PauseBot)(bot, at, who(), reason)
        return await _told(context, tape, fact, "bot", bots, answers, "resumed" if resume else "paused", _ANSWER_S)


async def _told(
    context: Context, tape: JetStreamTape, fact: Fact, what: str, names: set[str], answers: tuple[type[Fact], ...],
    said: str, patience: float,
) -> int:  # fmt: skip
    """Appends the command and waits, where a session runs, until all for whom it changes something have answered."""
    config, screen = context.config(), context.screen
    standing = await _standing(tape, fact, what)
    running = session_pid(config) is not None
    seq = await append(tape, command(fact, fact.ts), subjects.COMMAND)  # type: ignore[attr-defined]
    value = {"seq": seq, "what": what, "said": said, "running": running}
    if not running:
        text = f"recorded at {seq}; no session runs here, so it takes effect when the next one starts"
        screen.result({**value, "answered": [], "silent": sorted(names)}, text)
        return Exit.FINE
    with screen.working("waiting for the answers"):
        answered = await _answers(tape, seq, lambda f: getattr(f, what) if isinstance(f, answers) else None,
                                  names - standing, patience)  # fmt: skip
    silent = sorted(names - standing - answered)
    lines = [f"{what} {name}: {said}" for name in sorted(answered)]
    lines += [f"{what} {name}: stood so before" for name in sorted(names & standing - answered)]
    if silent:
        lines.append(f"no answer of {what} {', '.join(silent)} yet: look with `tape status` whether it is halted")
    screen.result({**value, "answered": sorted(answered), "silent": silent}, *lines)
    return Exit.FINE


async def _standing(tape: JetStreamTape, fact: Fact, what: str) -> set[str]:
    """Bots or accounts that are as the command wants them already, and so have nothing to answer."""
    if isinstance(fact, RestrictTrading):
        return set()  # an account answers every restriction
    levels: dict[str, str] = {}
    paused: dict[str, bool] = {}
    async for entry in tape.read([f"{what}.>"]):
        for said in entry.decision.facts:
            if isinstance(said, TradingRestricted | TradingReleased):
                levels[said.account] = said.level if isinstance(said, TradingRestricted) else ""
            elif isinstance(said, BotPaused | BotResumed):
                paused[said.bot] = isinstance(said, BotPaused)
    plan = await plan_on(tape)
    if what == "account":
        return {one.name for one in plan.accounts if not levels.get(one.name)}
    return {one.name for one in plan.bots if paused.get(one.name, False) == isinstance(fact, PauseBot)}


async def _answers(
    tape: JetStreamTape, seq: int, answering: Callable[[Fact], str | None], names: set[str], patience: float
) -> set[str]:
    """Who of `names` has answered the command at `seq`, in bounded time."""
    found: set[str] = set()
    if not names:
        return found
    try:
        async with asyncio.timeout(min(patience, _ANSWER_S)):
            async for entry in tape.follow(["account.>", "bot.>"], after=seq):
                if entry.decision.cause == seq:
                    found |= {name for fact in entry.decision.facts if (name := answering(fact)) is not None}
                if found >= names:
                    return found
    except TimeoutError:
        pass
    return found & names


async def _plan(tape: JetStreamTape) -> Plan:
    return await plan_on(tape)


async def _now(tape: JetStreamTape) -> int:
    """The tape's present. A recorded past that is played has a present of its own, and orders live in that."""
    try:
        plan = await plan_on(tape)
    except NoSession:
        return now()
    return await event_time(tape, [(one.venue, one.symbol) for one in plan.symbols])
