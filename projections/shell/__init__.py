"""The part that is not pure: it writes what the folds make of a tape to PostgreSQL, with psycopg."""

from .errors import Overtaken, ProjectionError, RebuildNeeded
from .live import Projector, project_to_end
from .rebuilding import RebuildReport, rebuild
from .schema import SCHEMA, table_hashes

__all__ = [
    "SCHEMA",
    "Overtaken",
    "ProjectionError",
    "Projector",
    "RebuildNeeded",
    "RebuildReport",
    "project_to_end",
    "rebuild",
    "table_hashes",
]
