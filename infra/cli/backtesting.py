"""`tape backtest`: stored market data through the same actors, in memory, and a report of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.roster import check
from actors.strategies import create
from events.subjects import token
from infra.backtest import data
from infra.backtest.engine import CloseLast, play
from infra.backtest.engine import backtest as backtest_of
from infra.backtest.figures import as_json, figures
from infra.backtest.result import Result
from infra.backtest.told import told
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.instruments import default_bots, placed, with_symbols
from infra.cli.screen import Screen, pairs
from infra.config import Config
from infra.session.market import Stamped
from infra.sweep.periods import Period, period

Run = Callable[[CloseLast, Callable[[int], None]], Result]


class Asked(msgspec.Struct, frozen=True):
    """The options of `tape backtest`."""

    data: tuple[str, ...]
    strategy: str | None
    params: tuple[str, ...]
    cash: str | None
    out: Path | None
    close_last: bool
    period: str | None = None
    chart: bool = True


def backtest(context: Context, asked: Asked) -> int | Coroutine[Any, Any, int]:
    """Over files, or over what the feeds of a tape have said."""
    if asked.params and asked.strategy is None and not context.config().bots:
        raise Failure("--param belongs to a --strategy: name it as well, as in --strategy ema-cross --param fast=10")
    if not asked.data:
        return _over_tape(context, asked)
    config, screen = context.config(), context.screen
    files = []
    for spec in asked.data:
        with screen.working(f"reading {spec}"):
            files.append(placed(data.load(spec), spec, config))
    symbols = with_symbols(config, files)
    plan = planned(config, symbols, asked, screen)
    bounds = _bounds(asked)
    rows = sum(one.rows for one in files) if asked.period is None else None
    parts = told(plan, files, start=bounds.start, end=bounds.end, close_last=asked.close_last)
    if parts is not None:
        return _play(context, lambda close, progress: play(plan, parts, close_last=close, progress=progress), files,
                     asked, rows)  # fmt: skip
    return _play(context, _by_message(plan, data.stream(files, start=bounds.start, end=bounds.end)), files, asked, rows)


async def _over_tape(context: Context, asked: Asked) -> int:
    from infra.cli.reach import looking  # brings the clients of the services
    from infra.session.audit import plan_on

    config, screen = context.config(), context.screen
    async with looking(config) as (tape, _):
        recorded = await plan_on(tape) if not config.symbols else config.plan()
        with screen.working(f"reading tape {tape.name}"):
            stream = await data.from_tape(tape, venues=sorted({one.venue for one in recorded.symbols}))
    bounds = _bounds(asked)
    stream = (one for one in stream if bounds.holds(one[0]))
    if config.symbols or asked.strategy is not None:
        plan = planned(config, recorded.symbols, asked, screen)
    else:
        screen.say("With the plan that is recorded on the tape.", "dim")
        plan = _with_cash(recorded, asked.cash)
    return _play(context, _by_message(plan, stream), (), asked, None)


def _by_message(plan: Plan, stream: Iterable[Stamped]) -> Run:
    return lambda close, progress: backtest_of(plan, stream, close_last=close, progress=progress)


def _bounds(asked: Asked) -> Period:
    return Period() if asked.period is None else period(asked.period)


def planned(config: Config, symbols: Sequence[SymbolPlan], asked: Asked, screen: Screen) -> Plan:
    """The strategy that was asked for, on every symbol; or the configured bots, with the parameters that were asked
    for; or the default ones. Raises Failure, BadPlan, UnknownStrategy."""
    bots = config.bots
    account = config.accounts[0].name
    params = dict(_param(one) for one in asked.params)
    if asked.strategy is not None:
        create(asked.strategy, params)
        short = asked.strategy.rpartition(":")[2].lower()
        bots = tuple(
            BotPlan(name=token(f"{one.symbol.lower()}-{short}"), venue=one.venue, symbol=one.symbol, account=account,
                    timeframe=one.base, strategy=asked.strategy, params=params)
            for one in symbols
        )  # fmt: skip
    elif bots:
        bots = tuple(msgspec.structs.replace(bot, params={**bot.params, **params}) for bot in bots)
    else:
        bots = tuple(bot for one in symbols for bot in default_bots(one, account))
        names = ", ".join(sorted({bot.strategy for bot in bots}))
        screen.say(f"No bots are configured, so each symbol gets the default ones ({names}); choose with --strategy.")
    plan = _with_cash(Plan(symbols=tuple(symbols), bots=bots, accounts=config.accounts), asked.cash)
    check(plan)
    return plan


def _with_cash(plan: Plan, text: str | None) -> Plan:
    if text is None:
        return plan
    try:
        cash = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        cash = Decimal(0)
    if not cash.is_finite() or cash <= 0:
        raise Failure(f"--cash {text!r} is no amount of money: write a positive number, as in --cash 10000")
    accounts: tuple[AccountPlan, ...] = tuple(msgspec.structs.replace(one, cash=cash) for one in plan.accounts)
    return msgspec.structs.replace(plan, accounts=accounts)


def _param(text: str) -> tuple[str, Any]:
    """`fast=10` with the value as JSON, or as text where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Failure(f"--param {text!r} is no parameter: write NAME=VALUE, as in --param fast=10")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _play(
    context: Context, run: Run, files: Sequence[data.MarketFile], asked: Asked, total: int | None
) -> int:  # fmt: skip
    from infra.backtest import report

    screen = context.screen
    with screen.progress("playing", total) as advance:
        result = run("open" if asked.close_last else None, lambda done: advance(done))
    found = figures(result)
    folder = asked.out or Path("reports") / result.digest[:12]
    with screen.working("writing the report"):
        try:
            report.write(result, folder, files, found=found, chart=asked.chart)
        except OSError as error:
            raise Failure(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from error
    if screen.json:
        screen.emit({"report": str(folder), "entries": result.entries, "decisions": result.decisions,
                     **as_json(result, found)})  # fmt: skip
        return Exit.FINE
    screen.show(report.summary_table(result, found))
    screen.show(report.bots_table(result, found))
    screen.show(pairs([("report", str(folder)), ("digest", result.digest)]))
    screen.show(f"every assumption about fills is in {folder / 'assumptions.txt'}")
    return Exit.FINE
