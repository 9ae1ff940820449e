"""Real market files, as people have them, to columns, with an honest report."""

from infra.importers.model import (
    Choice,
    Columns,
    Imported,
    ImportError_,
    ImportReport,
    QuoteColumns,
    Reject,
    TradeColumns,
)
from infra.importers.parts import Parts, read_parts
from infra.importers.reader import FORMATS, read

__all__ = [
    "FORMATS",
    "Choice",
    "Columns",
    "ImportError_",
    "ImportReport",
    "Imported",
    "Parts",
    "QuoteColumns",
    "Reject",
    "TradeColumns",
    "read",
    "read_parts",
]
