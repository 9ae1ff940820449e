"""The commands and their options. What they do is imported when they run, so that help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli import keeping
from infra.cli.context import Context
from infra.cli.exits import HELP
from infra.cli.options import ConfigFile, DataDir, Debug, Json, TapeName
from infra.cli.plain import Command, Group
from infra.cli.quarantineapp import quarantine

app = typer.Typer(
    name="tape",
    cls=Group,
    help="Event-sourced trading: everything that happens is a fact on a tape; going live, backtests and audits are "
    "one loop over it.",
    epilog=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.add_typer(quarantine, name="quarantine")
Option, Argument = typer.Option, typer.Argument


@app.command(cls=Command, epilog=HELP)
def run(
    feed: Annotated[
        list[str] | None,
        Option(metavar="FILE[=VENUE/SYMBOL[@TF]]", help="Recorded market data to play instead; may be repeated."),
    ] = None,
    speed: Annotated[
        str | None, Option(metavar="X|max", help="Market seconds a second (the simulator's; max for files).")
    ] = None,
    lockstep: Annotated[bool, Option("--lockstep", help="The next market fact when all have dealt with the last.")] = (
        False
    ),
    duration: Annotated[str | None, Option("--for", metavar="DURATION", help="End cleanly after 30s, 5m, 2h.")] = None,
    plain: Annotated[bool, Option("--plain", help="Lines instead of the live view.")] = False,
    seed: Annotated[int | None, Option(help="Seed of the simulated exchange.")] = None,
    standby: Annotated[bool, Option("--standby", help="Wait while another session trades, and take over from it.")] = (
        False
    ),
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Trade on paper: the simulated exchange, or recorded market data. Ctrl-C ends it cleanly, twice at once."""
    from infra.cli.trading import Wanted, run

    wanted = Wanted(tuple(feed or ()), speed, lockstep, duration, plain, seed, standby)
    Context(config, tape, data_dir, json, debug).run(lambda context: run(context, wanted))


@app.command(cls=Command, epilog=HELP)
def serve(config: ConfigFile = None, data_dir: DataDir = None, json: Json = False, debug: Debug = False) -> None:
    """Keep the embedded services up without trading, so that the NATS CLI, psql and Grafana can look."""
    from infra.cli.serving import serve

    Context(config, None, data_dir, json, debug).run(serve)


@app.command(cls=Command, epilog=HELP)
def address(
    service: Annotated[str, Argument(metavar="nats|postgres|monitor|cli", show_default=False)],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the address of a running service, for other programs: psql "$(tape address postgres)", or the NATS CLI."""
    from infra.cli.serving import address

    Context(config, None, data_dir, json, debug).run(lambda context: address(context, service))


@app.command("import", cls=Command, epilog=HELP)
def import_(
    files: Annotated[list[Path], Argument(metavar="FILE...", show_default=False)],
    venue: Annotated[str | None, Option(help="Venue on the tape (found in path and format).")] = None,
    symbol: Annotated[str | None, Option(help="Symbol on the tape (found in the file name).")] = None,
    timeframe: Annotated[str | None, Option(metavar="TF", help="As in 1m (detected).")] = None,
    timezone: Annotated[str | None, Option("--tz", metavar="TZ", help="Time zone of the stamps (detected).")] = None,
    stamps: Annotated[str | None, Option(metavar="open|close", help="What stamps mean (detected).")] = None,
    columns: Annotated[
        list[str] | None,
        Option("--map", metavar="FIELD=COLUMN", help="Column of ts, open, ...: name or number from 0."),
    ] = None,
    format: Annotated[str | None, Option(help="The file format (detected).")] = None,
    side: Annotated[str | None, Option(metavar="bid|ask|mid", help="Of files with bid and ask (mid).")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Read and report only.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put market data files on the tape. What is there already is not appended again; bad rows are kept apart."""
    from infra.cli.importing import Stated, import_files

    stated = Stated(venue, symbol, timeframe, timezone, stamps, tuple(columns or ()), format, side)
    Context(config, tape, data_dir, json, debug).run(lambda context: import_files(context, files, stated, dry_run))


@app.command(cls=Command, epilog=HELP)
def backtest(
    data: Annotated[
        list[str] | None,
        Option(metavar="FILE[=VENUE/SYMBOL[@TF]]", help="Market data; may be repeated. Without: the tape's."),
    ] = None,
    strategy: Annotated[str | None, Option(metavar="NAME", help="Instead of the configured bots.")] = None,
    param: Annotated[list[str] | None, Option(metavar="K=V", help="A parameter of the strategy.")] = None,
    period: Annotated[str | None, Option(metavar="FROM..TO", help="Only candles that close after FROM, up to TO.")] = (
        None
    ),
    cash: Annotated[str | None, Option(metavar="N", help="Cash at the start.")] = None,
    out: Annotated[Path | None, Option(metavar="DIR", help="Folder of the report (reports/...).")] = None,
    close_last: Annotated[bool, Option("--close-last", help="Close what is open at the open of the last bar.")] = False,
    no_chart: Annotated[bool, Option("--no-chart", help="No chart in the report: faster.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Play stored market data through the same actors as live, in memory, and write a report."""
    from infra.cli.backtesting import Asked, backtest

    asked = Asked(tuple(data or ()), strategy, tuple(param or ()), cash, out, close_last, period, not no_chart)
    Context(config, tape, data_dir, json, debug).run(lambda context: backtest(context, asked))


@app.command(cls=Command, epilog=HELP)
def sweep(
    data: Annotated[
        list[str] | None,
        Option(
            metavar="FILE[=VENUE/SYMBOL[@TF]]", help="Market data; may be repeated: each instrument is played alone."
        ),
    ] = None,
    strategy: Annotated[str | None, Option(metavar="NAME", help="Instead of the configured bots.")] = None,
    param: Annotated[
        list[str] | None, Option(metavar="K=VALUES", help="fast=5..14, slow=20..38:2 or short=true,false; repeat it.")
    ] = None,
    where: Annotated[
        list[str] | None, Option(metavar="CONDITION", help="Only combinations that hold it: 'fast * 2 <= slow'.")
    ] = None,
    symbol: Annotated[list[str] | None, Option(metavar="S", help="Only these of the files' symbols.")] = None,
    period: Annotated[
        list[str] | None, Option(metavar="FROM..TO", help="Play this period; several are played one by one.")
    ] = None,
    periods: Annotated[
        str | None, Option(metavar="yearly|monthly|weekly|daily|N", help="Cut the data into periods.")
    ] = None,
    cash: Annotated[str | None, Option(metavar="N", help="Cash at the start.")] = None,
    close_last: Annotated[bool, Option("--close-last", help="Close what is open at the open of the last bar.")] = False,
    rank: Annotated[str, Option(metavar="FIGURE", help="net_profit, sharpe, max_drawdown, ...")] = "net_profit",
    top: Annotated[int, Option(min=1, max=10_000, metavar="N", help="How many runs to show.")] = 20,
    jobs: Annotated[int | None, Option(min=1, max=1_024, metavar="N", help="Processes (as many as cores).")] = None,
    out: Annotated[Path | None, Option(metavar="DIR", help="Folder of the results (reports/sweep-...).")] = None,
    no_digest: Annotated[bool, Option("--no-digest", help="Do not work out digests: faster.")] = False,
    heat: Annotated[str | None, Option(metavar="X,Y", help="Axes of the heat map (those with most values).")] = None,
    heat_by: Annotated[str, Option(metavar="median|best", help="How runs that share a cell become one.")] = "median",
    config: ConfigFile = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Play one strategy over many parameters, symbols and periods on all cores, and rank them. It can be resumed."""
    from infra.cli.sweeping import Asked, sweep

    asked = Asked(
        data=tuple(data or ()), strategy=strategy, params=tuple(param or ()), where=tuple(where or ()),
        symbols=tuple(symbol or ()), period=tuple(period or ()), periods=periods, cash=cash, close_last=close_last,
        rank=rank, top=top, jobs=jobs, out=out, digest=not no_digest, heat=heat, heat_by=heat_by,
    )  # fmt: skip
    Context(config, None, data_dir, json, debug).run(lambda context: sweep(context, asked))


@app.command(cls=Command, epilog=HELP)
def verify(
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Derive every decision on the tape again and compare; the first difference is named (exit code 1)."""
    from infra.cli.auditing import verify

    Context(config, tape, data_dir, json, debug).run(verify)


@app.command(cls=Command, epilog=HELP)
def replay(
    to: Annotated[int | None, Option(metavar="SEQ", help="Up to this sequence.")] = None,
    at: Annotated[str | None, Option(metavar="TIME", help="Up to this market time, ISO, UTC.")] = None,
    actor: Annotated[str | None, Option(metavar="A", help="Show its last decisions, as in bot.btc-ema.")] = None,
    why: Annotated[
        str | None, Option(metavar="ID", help="Why it came about: an order, a fill, a decision, or a sequence.")
    ] = None,
    out: Annotated[Path | None, Option(metavar="FILE", help="Write the messages as JSON lines.")] = None,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Derive the tape again in memory and show how things stood at a point, and why."""
    from infra.cli.replaying import Point, replay

    point = Point(to, at, actor, why, out)
    Context(config, tape, data_dir, json, debug).run(lambda context: replay(context, point))


@app.command(cls=Command, epilog=HELP)
def rebuild(
    check: Annotated[bool, Option("--check", help="Only compare the live tables with the tape.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make all tables of the database anew from the tape, beside the old ones, and swap them in."""
    from infra.cli.rebuilding import rebuild

    Context(config, tape, data_dir, json, debug).run(lambda context: rebuild(context, check))


@app.command(cls=Command, epilog=HELP)
def status(
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """How things stand: tape, actors, bots, positions, gaps, tables, and whether a session runs."""
    from infra.cli.looking import status

    Context(config, tape, data_dir, json, debug).run(status)


@app.command(cls=Command, epilog=HELP)
def tail(
    patterns: Annotated[
        list[str] | None,
        Argument(
            metavar="[PATTERN...]",
            help="Such as 'bot.*.signal', 'market.binance.BTC-USDT.>', an actor or a kind of fact ('fill').",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, Option("-n", min=0, metavar="N", help="How many of the last messages.")] = 20,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on with what comes.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print facts in words."""
    from infra.cli.tailing import tail

    Context(config, tape, data_dir, json, debug).run(lambda context: tail(context, patterns or [], count, follow))


@app.command(cls=Command, epilog=HELP)
def stop(
    trading: Annotated[
        str | None,
        Option(metavar="LEVEL", help="Restrict trading instead: no-new-risk, close-only, cancel-all or flatten."),
    ] = None,
    release: Annotated[bool, Option("--release", help="Lift the restriction.")] = False,
    account: Annotated[str, Option(help="Whose trading; * for all.")] = "*",
    reason: Annotated[str, Option(help="Recorded on the tape.")] = "",
    wait: Annotated[
        str | None, Option(metavar="DURATION", help="How long to wait for the end (60s) or for answers (15s).")
    ] = None,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """End the running session cleanly, or pull the kill switch with --trading. Needs the bus alone."""
    from infra.cli.commanding import Order, stop

    order = Order(trading, release, account, reason, wait)
    Context(config, tape, data_dir, json, debug).run(lambda context: stop(context, order))


BotName = Annotated[str, Argument(metavar="BOT", help="Name of the bot; '*' for all.", show_default=False)]
Reason = Annotated[str, Option(help="Recorded on the tape.")]


@app.command(cls=Command, epilog=HELP)
def pause(
    bot: BotName,
    reason: Reason = "",
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a bot want nothing new; its stops and targets go on working."""
    from infra.cli.commanding import pause

    Context(config, tape, data_dir, json, debug).run(lambda context: pause(context, bot, reason, resume=False))


@app.command(cls=Command, epilog=HELP)
def resume(
    bot: BotName,
    reason: Reason = "",
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a paused bot go on."""
    from infra.cli.commanding import pause

    Context(config, tape, data_dir, json, debug).run(lambda context: pause(context, bot, reason, resume=True))


keeping.add(app)
