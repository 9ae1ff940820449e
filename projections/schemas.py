"""The names of the schemas that hold a tape's tables."""

from __future__ import annotations

from .statements import quoted


def schema_of(tape: str) -> str:
    """The schema of a tape's tables: `tickertape` for the tape `main`, `tickertape_<tape>` for another."""
    return "tickertape" if tape == "main" else f"tickertape_{tape}"


def name_in_sql(tape: str) -> str:
    """The schema of a tape as a person types it: quoted only where it has to be."""
    schema = schema_of(tape)
    return schema if schema.replace("_", "").isalnum() and schema.islower() else quoted(schema)


def beside(schema: str, generation: str) -> str:
    """A schema for new tables beside those of `schema`; no tape's name can hold a tilde."""
    return f"{schema}~{generation[:12]}"
