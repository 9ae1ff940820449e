"""The commands of `tape quarantine` and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.context import Context
from infra.cli.exits import HELP
from infra.cli.options import ConfigFile, DataDir, Debug, Json, TapeName
from infra.cli.plain import Command, Group

quarantine = typer.Typer(cls=Group, no_args_is_help=True, help="What could not be used, and its way out of quarantine.")

Option, Argument = typer.Option, typer.Argument
Names = Annotated[list[str] | None, Argument(metavar="[ITEM...]", help="As `list` names them.", show_default=False)]
Source = Annotated[str, Option(metavar="S", help="Only what came from there, as in feed.binance or trades.csv.")]
Why = Annotated[str, Option(metavar="R", help="Only what was put there for this, as in unreadable.")]
Older = Annotated[str | None, Option(metavar="DURATION", help="Only what has been there for longer.")]
Newer = Annotated[str | None, Option(metavar="DURATION", help="Only what has been there for less.")]
Note = Annotated[str, Option("--because", metavar="TEXT", help="Recorded on the tape.")]


@quarantine.command("list", cls=Command, epilog=HELP)
def list_(
    source: Source = "",
    reason: Why = "",
    older: Older = None,
    newer: Newer = None,
    every: Annotated[bool, Option("--all", help="Also what is retried or dropped.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What is in quarantine, and what has become of it."""
    from infra.cli.quarantining import Asked, shown

    asked = Asked((), source, reason, older, newer, every)
    Context(config, tape, data_dir, json, debug).run(lambda context: shown(context, asked))


@quarantine.command(cls=Command, epilog=HELP)
def show(
    name: Annotated[str, Argument(metavar="ITEM", help="As `list` names it.", show_default=False)],
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """One item with its original bytes, and what would become of it today."""
    from infra.cli.quarantining import show

    Context(config, tape, data_dir, json, debug).run(lambda context: show(context, name))


@quarantine.command(cls=Command, epilog=HELP)
def retry(
    names: Names = None,
    source: Source = "",
    reason: Why = "",
    older: Older = None,
    newer: Newer = None,
    because: Note = "",
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Read the original bytes again and put them on their feed, where they are good now (exit code 1: some are not)."""
    from infra.cli.quarantining import Asked, retried

    asked = Asked(tuple(names or ()), source, reason, older, newer)
    Context(config, tape, data_dir, json, debug).run(lambda context: retried(context, asked, because))


@quarantine.command(cls=Command, epilog=HELP)
def drop(
    names: Names = None,
    source: Source = "",
    reason: Why = "",
    older: Older = None,
    newer: Newer = None,
    because: Note = "",
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say that nothing more is to be done about items; they stay on the tape."""
    from infra.cli.quarantining import Asked, dropped

    asked = Asked(tuple(names or ()), source, reason, older, newer)
    Context(config, tape, data_dir, json, debug).run(lambda context: dropped(context, asked, because))
