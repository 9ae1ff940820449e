"""FXCM candle CSV: bid and ask in one file, or one side a file with the side in its name; UTC, open time."""

import re

import msgspec

from infra.importers import generic
from infra.importers.model import Options
from infra.importers.recipe import OPEN_DETECTED, UTC_DETECTED, Format, Recipe
from infra.importers.source import Source

ONE_SIDE = re.compile(r"(^|[-_. ])(bid|ask)[-_. ]")


def sniff(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()
    header = lines[0].lower().replace("_", "").replace(" ", "") if lines else ""
    two_sided = "bidopen" in header and "askclose" in header
    one_sided = header.startswith(("timestamp,", "datetime,", "date,")) and header.endswith("open,high,low,close")
    if options.columns or not (two_sided or (one_sided and ONE_SIDE.search(source.name.lower()))):
        return None
    recipe = generic.sniff(source, options)
    if recipe is None:
        return None
    shape = msgspec.structs.replace(recipe.shape, zone=UTC_DETECTED, stamps=OPEN_DETECTED)
    return Recipe(shape, recipe.load)


FORMATS = (Format("fxcm", "FXCM bid/ask candles", sniff),)
