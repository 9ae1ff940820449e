"""The archive's commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.context import Context
from infra.cli.exits import HELP
from infra.cli.options import ConfigFile, DataDir, Debug, Json, TapeName
from infra.cli.plain import Command

Option = typer.Option

Archive = Annotated[
    str | None, Option("--archive", metavar="PLACE", help="Folder or s3://bucket/prefix (default: <data-dir>/archive).")
]


def export(
    archive: Archive = None,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Seal what is new on the tape into its archive: Parquet files under one hash chain. It can be resumed."""
    from infra.cli.archiving import export

    Context(config, tape, data_dir, json, debug).run(lambda context: export(context, archive))


def check(
    archive: Archive = None,
    head: Annotated[str | None, Option(metavar="HASH", help="A head that was noted: it must be in there.")] = None,
    alone: Annotated[bool, Option("--alone", help="Without the tape: the archive by itself.")] = False,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Prove the archive message by message, and against the tape; the first difference is named (exit code 1)."""
    from infra.cli.archiving import check

    Context(config, tape, data_dir, json, debug).run(lambda context: check(context, archive, head, alone))


def restore(
    archive: Archive = None,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the tape from its archive, or bring back the end that it lost. It can be resumed."""
    from infra.cli.archiving import restore

    Context(config, tape, data_dir, json, debug).run(lambda context: restore(context, archive))


def retain(
    keep: Annotated[str, Option(metavar="DURATION|COUNT", help="What stays on the bus: 30d, or 1000000 messages.")],
    archive: Archive = None,
    config: ConfigFile = None,
    tape: TapeName = None,
    data_dir: DataDir = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Drop the tape's oldest messages from the bus, once their archive is proven. Readers find them there."""
    from infra.cli.archiving import retain

    Context(config, tape, data_dir, json, debug).run(lambda context: retain(context, archive, keep))


def add(app: typer.Typer) -> None:
    for command in (export, check, restore, retain):
        app.command(cls=Command, epilog=HELP)(command)
