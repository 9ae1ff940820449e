"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration, TOML or JSON.", show_default=False)
]
TapeName = Annotated[
    str | None, typer.Option("--tape", metavar="NAME", help="The tape, instead of the configured one (default: main).")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where services keep their data (default: .tape).")
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and logs.", rich_help_panel="When it breaks")]
