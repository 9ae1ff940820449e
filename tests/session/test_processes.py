"""How many processes carry the actors, and how Python hashes in them, changes no decision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from actors.roster import deciders
from infra.session.placement import groups
from scripts.parity import FOLDER, in_process, plan, play, verdict
from tests import data
from tests.infra.cli_tape import ROOT

MINUTES = 150  # ten bars of the slowest bots, some hundred decisions of every entity; more adds nothing here
RUN_S = 900  # 21 processes start in 15 s and play in five on a quiet machine with 2 cores; others may be at work
FEW, EACH = 2, 64


@pytest.fixture(scope="module")
def backtest() -> tuple[int, str]:
    data.path(str(FOLDER.relative_to(data.ROOT)))
    return in_process(MINUTES)


def test_few_are_packed_and_many_are_alone() -> None:
    names = [decider.actor for decider in deciders(plan())]
    assert len(groups(names, FEW)) == 3  # symbols, the account and bots never share one
    assert len(groups(names, EACH)) == len(names) == 21


@pytest.mark.parametrize(("processes", "seed"), [(FEW, "1"), (EACH, "4242")])
def test_one_digest_on_any_number_of_processes(
    backtest: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, seed: str
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    assert play(tmp_path / "data", MINUTES, processes, [], tmp_path / "log", RUN_S) == 0
    found = uvloop.run(verdict(tmp_path / "data", processes))
    assert found.difference is None
    assert (found.undecided, found.digest) == (0, backtest[1])
    assert found.decisions > backtest[0]


@pytest.mark.parametrize("seed", ["0", "77"])
def test_one_backtest_whatever_python_hashes(backtest: tuple[int, str], seed: str) -> None:
    code = f"from scripts.parity import in_process; print(*in_process({MINUTES}))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
        capture_output=True, text=True, timeout=RUN_S,
    )  # fmt: skip
    assert tuple(found.stdout.split()) == (str(backtest[0]), backtest[1])
