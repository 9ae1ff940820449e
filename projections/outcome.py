"""What comes of projecting: the report of a rebuild, and what can go wrong between a tape and its tables."""

from __future__ import annotations

import msgspec

from events.tape import HistoryLost, LostRace


class RebuildReport(msgspec.Struct, frozen=True):
    """`at`: the last sequence in the new tables. `kept`: the schema of the old ones, where something still reads it."""

    at: int
    entries: int
    facts: int
    parked: int
    seconds: float
    kept: str = ""


class ProjectionError(Exception):
    """The tables cannot be brought up to date; one sentence that says why and what to do."""


class RebuildNeeded(ProjectionError):
    """The tables are of an earlier version or of another history."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: `tape rebuild` makes the tables anew from the tape")
        self.why = why

    def __reduce__(self) -> tuple[type[RebuildNeeded], tuple[str]]:
        return type(self), (self.why,)  # it crosses processes


class AnotherTape(RebuildNeeded):
    """The tables are those of another tape: whether they may go, a person has to say."""


class HistoryGone(RebuildNeeded):
    """The tables hold what is no longer on the tape."""

    def __init__(self, lost: HistoryLost) -> None:
        super().__init__(f"the tables hold what is no longer history: {lost}")
        self.lost = lost

    def __reduce__(self) -> tuple[type[HistoryGone], tuple[HistoryLost]]:  # type: ignore[override]
        return type(self), (self.lost,)


class NewerTables(ProjectionError):
    """A newer program has made the tables: this one must neither write them nor put its own in their place."""


class RebuildAtWork(ProjectionError):
    """Another process makes the same tables anew."""

    def __init__(self) -> None:
        super().__init__("another rebuild is at work on these tables: wait for it to end")

    def __reduce__(self) -> tuple[type[RebuildAtWork], tuple[()]]:
        return type(self), ()


class Overtaken(LostRace):
    """Another projector writes the same tables: this one stops. Nothing was written twice."""


class Swapped(Exception):
    """The tables were rebuilt and swapped meanwhile: go on from the checkpoint of the new ones."""


def another_tape(schema: str, held: str, tape: str) -> AnotherTape:
    return AnotherTape(
        f"the tables in the schema {schema} hold the tape {held!r}, not {tape!r}: give this tape a schema of its "
        "own, or replace them"
    )
