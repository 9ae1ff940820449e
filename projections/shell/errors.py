"""What can go wrong between a tape and its tables."""

from __future__ import annotations

from events.tape import LostRace


class ProjectionError(Exception):
    """The tables cannot be brought up to date; one sentence that says why and what to do."""


class RebuildNeeded(ProjectionError):
    """The tables are of another version, tape or history."""


class Overtaken(LostRace):
    """Another projector writes the same tables: this one stops. Nothing was written twice."""


class Swapped(Exception):
    """The tables were rebuilt and swapped meanwhile: go on from the checkpoint of the new ones."""
