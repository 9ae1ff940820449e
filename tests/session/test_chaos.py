"""A hundred faults of every kind on bus, database, Ray, session and disks; `make chaos` draws a thousand."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.chaos.kinds import KINDS
from scripts.chaos.report import Report, sentences
from scripts.chaos.run import Settings, campaign
from scripts.parity import FOLDER
from tests import data

FAULTS = 100
SEED = 4
PACE = 60.0  # market facts a second: on two cores the session can keep up with it
TOGETHER = 0.9


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    data.path(str(FOLDER.relative_to(data.ROOT)))
    folder = Path(tempfile.mkdtemp(prefix="tickertape-chaos-"))
    folder.chmod(0o755)
    kinds = tuple(kind for kind in KINDS if not kind.long)
    yield asyncio.run(campaign(folder, Settings(FAULTS, SEED, PACE, TOGETHER, kinds)))
    shutil.rmtree(folder, ignore_errors=True)


def test_everything_is_as_if_nothing_had_happened(report: Report) -> None:
    assert report.clean, sentences(report)
    assert report.outcome.live == report.outcome.undisturbed
    assert report.outcome.fills > 0
    assert (report.outcome.lost_fills, report.outcome.doubled_fills) == (0, 0)


def test_every_kind_of_fault_has_hit(report: Report) -> None:
    assert report.faults == len(report.hits) == FAULTS
    # Where mounting is not allowed, no disk can be filled.
    assert {hit.kind for hit in report.hits} == {kind.name for kind in KINDS if not kind.long} - set(report.left_out)
