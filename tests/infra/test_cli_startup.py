"""What a command loads: imports are most of what a short command takes, and a service's client is no small part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra.backtest.report import FILES
from tests.infra.cli_tape import ROOT

HEAVY = ("ray", "nats", "aiohttp", "psycopg", "pandas", "matplotlib", "pydantic", "rich", "asyncio")
RUN = """
import json, sys
from infra.cli.app import app
try:
    app(prog_name="tape")
finally:
    loaded = [name for name in {heavy!r} if name in sys.modules]
    sys.stderr.write("\\n" + json.dumps(loaded))
"""


def loaded(folder: Path, *words: str) -> tuple[str, list[str]]:
    """(standard output, what was loaded of HEAVY) of a command that ends well."""
    command = [sys.executable, "-c", RUN.format(heavy=HEAVY), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stderr.rpartition("\n")[2])


@pytest.fixture(params=["csv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two hundred minutes of a price that goes up and down."""
    start = 1_700_000_040_000
    rows = [(start + 60_000 * n, 100 + round(5 * float(np.sin(n / 7)), 2)) for n in range(200)]
    path = tmp_path / f"waves.{request.param}"
    if request.param == "csv":
        lines = [f"{ts},{price},{price + 1},{price - 1},{price},5000\n" for ts, price in rows]
        path.write_text("timestamp,open,high,low,close,volume\n" + "".join(lines))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        ts, price = np.array([ts for ts, _ in rows]), np.array([price for _, price in rows])
        columns = {"timestamp": ts, "open": price, "high": price + 1, "low": price - 1, "close": price}
        pq.write_table(pa.table({**columns, "volume": np.full(len(ts), 5000.0)}), path)
    return path


def test_a_backtest_loads_no_service_and_no_chart(file: Path, tmp_path: Path) -> None:
    words = ("backtest", "--data", f"{file}=sim/AAA-USDT@1m", "--strategy", "ema-cross", "--out", "report", "--json")
    said, found = loaded(tmp_path, *words, "--no-chart", "--param", "fast=3", "--param", "slow=8")
    assert found == []
    assert json.loads(said)["portfolio"]["trades"] > 3
    assert {one.name for one in (tmp_path / "report").iterdir()} == {*FILES} - {"equity.png"}


def test_a_chart_changes_nothing_else(tmp_path: Path) -> None:
    """And the words of people: the same report, with its tables."""
    path = tmp_path / "waves.csv"
    lines = [f"{1_700_000_040_000 + 60_000 * n},{100 + n % 7},{108},{99},{100 + n % 7},5000\n" for n in range(200)]
    path.write_text("timestamp,open,high,low,close,volume\n" + "".join(lines))
    words = ("backtest", "--data", f"{path}=sim/AAA-USDT@1m", "--strategy", "ema-cross", "--param", "fast=2")
    said, found = loaded(tmp_path, *words, "--out", "plain", "--no-chart")
    assert "Final equity" in said
    assert "matplotlib" not in found
    loaded(tmp_path, *words, "--out", "drawn")
    for name in {*FILES} - {"equity.png"}:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "drawn" / name).read_bytes(), name
    assert (tmp_path / "drawn" / "equity.png").stat().st_size > 10_000


def test_a_sweep_loads_no_service(tmp_path: Path) -> None:
    path = tmp_path / "waves.csv"
    lines = [f"{1_700_000_040_000 + 60_000 * n},{100 + n % 7},{108},{99},{100 + n % 7},5000\n" for n in range(60)]
    path.write_text("timestamp,open,high,low,close,volume\n" + "".join(lines))
    words = ("sweep", "--data", f"{path}=sim/AAA-USDT@1m", "--strategy", "ema-cross", "--param", "fast=2", "--json")
    _, found = loaded(tmp_path, *words, "--jobs", "1", "--out", "swept")
    assert not {*found} & {"ray", "nats", "psycopg", "pandas"}


def test_help_loads_no_conversion(tmp_path: Path) -> None:
    said, found = loaded(tmp_path, "backtest", "--help")
    assert "--no-chart" in said
    assert found in ([], ["rich"])
