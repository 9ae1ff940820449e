"""`tape sweep` as a user starts it: no server is there, none is needed."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.cli.exits import Exit
from tests.infra.cli_tape import ROOT, Cli, Ended
from tests.infra.sweeps import market

CROSS = ("--data", "walk.csv=sim/AAA@1m", "--strategy", "ema-cross")
SLEEPS = """
import time
from actors.strategies import Strategy, Target

class Sleeps(Strategy):
    def __init__(self, hold=3, nap=0.05):
        time.sleep(nap)
        self.hold, self.seen = hold, 0

    def on_candle(self, candle, position):
        self.seen += 1
        return Target(float(self.seen // self.hold % 2))

class Fails(Sleeps):
    def on_candle(self, candle, position):
        return Target(1 / (self.hold - 2))
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, "nats://127.0.0.1:9", "postgresql://postgres@127.0.0.1:9/postgres")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return market(tmp_path / "walk.csv", 600)


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as found:
        return list(csv.DictReader(found))


def tape(*words: str | Path) -> Ended:
    """A command in this process, which spares the start of another."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    return Ended(found.exit_code, found.stdout, found.stderr)


def again(command: str, folder: str) -> dict[str, Any]:
    """What the command that the sweep names comes to."""
    words = shlex.split(command)
    assert words[:2] == ["tape", "backtest"]
    found = tape(*words[1:], "--json", "--out", folder)
    assert found.code == Exit.FINE, found.err
    value: dict[str, Any] = found.json()
    return value


def test_a_sweep_ranks_maps_and_names_the_backtest_of_the_best(cli: Cli, file: Path) -> None:
    words = ("sweep", "--data", f"{file}=sim/AAA@1m", "--strategy", "ema-cross", "--param", "fast=2..5", "--param",
             "slow=4..10:2", "--param", "short=true,false", "--where", "fast + slow != 13", "--cash", "5000", "--rank",
             "total_return", "--top", "3", "--close-last", "--out", "out")  # fmt: skip
    found = tape(*words, "--jobs", "2")
    assert found.code == Exit.FINE, found.err
    assert "4 of 32 combinations are refused, such as: strategy 'ema-cross' does not take" in found.err
    assert "4 of 32 combinations are excluded by --where" in found.err
    assert "best by total return" in found.out
    value = json.loads((cli.folder / "out" / "summary.json").read_text())
    assert (value["runs"], value["done"], value["failed"], value["reused"]) == (24, 24, 0, 0)
    best, rows = value["best"], lines(cli.folder / "out")
    assert len(rows) == 24
    returns = sorted((float(one["total_return"]) for one in rows), reverse=True)
    assert [one["figures"]["total_return"] for one in best] == returns[:3]
    assert value["command"] in found.out
    report = again(value["command"], "report")
    assert report["digest"] == best[0]["digest"]
    assert report["portfolio"]["total_return"] == best[0]["figures"]["total_return"]
    assert (cli.folder / "out" / "heat.png").read_bytes().startswith(b"\x89PNG")
    reused = tape(*words, "--json").json()
    assert (reused["done"], reused["reused"], reused["best"]) == (24, 24, best)


def test_symbols_and_periods_are_played_one_by_one(cli: Cli, file: Path) -> None:
    other = market(cli.folder / "other.csv", 700, seed=2)
    words = ("sweep", "--data", f"{file}=sim/AAA@1m", "--data", f"{other}=sim/BBB@1m", "--strategy", "ema-cross",
             "--param", "fast=2,3", "--periods", "3", "--json")  # fmt: skip
    value = tape(*words, "--out", "all").json()
    assert value["runs"] == 12
    assert {(one["instrument"], one["param.fast"]) for one in lines(cli.folder / "all")} == {
        (symbol, fast) for symbol in ("sim/AAA", "sim/BBB") for fast in ("2", "3")
    }
    assert again(value["command"], "report")["digest"] == value["best"][0]["digest"]
    one = tape(*words, "--symbol", "BBB", "--out", "one", "--heat", "period,fast", "--heat-by", "best").json()
    assert one["runs"] == 6
    named = tape(*words[:-3], "--period", "2024-01-01T01:00..2024-01-01T05:00", "--json", "--out", "named").json()
    assert named["runs"] == 4
    assert {one["figures"]["bars"] for one in named["best"]} == {240}
    assert again(named["command"], "report")["digest"] == named["best"][0]["digest"]


def test_configured_bots_keep_what_is_not_swept(cli: Cli, file: Path) -> None:
    place = {"venue": "sim", "symbol": "AAA"}
    bot = {"name": "mine", **place, "params": {"fast": 3, "slow": 9}, "sizing": {"method": "quantity", "value": "3"}}
    account = {"cash": "7000", "fees": {"maker": "0", "taker": "0"}, "fills": {"slippage": "0"}}
    path = cli.folder / "own.json"
    path.write_text(json.dumps({"symbols": [place], "bots": [bot], "accounts": [account]}))
    found = tape("sweep", "--config", path, "--data", f"{file}=sim/AAA@1m", "--param", "fast=2..4", "--json", "--out",
                "out")  # fmt: skip
    assert found.code == Exit.FINE, found.err
    value = found.json()
    report = again(value["command"], "report")
    assert report["digest"] == value["best"][0]["digest"]
    assert report["portfolio"]["start"] == 7000
    assert report["portfolio"]["fees"] == 0
    plan = json.loads((cli.folder / "report" / "config.json").read_text())["plan"]
    assert plan["bots"][0]["params"] == {"slow": 9, "fast": value["best"][0]["params"]["fast"]}


def test_runs_that_fail_are_lines_and_make_the_exit_code(cli: Cli, file: Path) -> None:
    (cli.folder / "mine.py").write_text(SLEEPS)
    found = cli("sweep", "--data", f"{file}=sim/AAA@1m", "--strategy", "mine:Fails", "--param", "hold=1..3", "--param",
                "nap=0", "--jobs", "2", "--out", "out")  # fmt: skip
    assert found.code == Exit.HALTED, found.err
    errors = {one["param.hold"]: one["error"] for one in lines(cli.folder / "out")}
    assert errors["1"] == errors["3"] == ""
    assert "ZeroDivisionError" in errors["2"]
    assert "1 failed" in found.out


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(cli: Cli, file: Path) -> None:
    (cli.folder / "mine.py").write_text(SLEEPS)
    words = ("sweep", "--data", f"{file}=sim/AAA@1m", "--strategy", "mine:Sleeps", "--param", "hold=2..31", "--jobs",
             "2", "--out", "out")  # fmt: skip
    argv = [sys.executable, "-m", "infra.cli", words[0], "--config", str(cli.config), *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Where the tests run in a shell's background, Ctrl-C is ignored, and so it would be by what they start.
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(argv, cwd=cli.folder, env=environment, start_new_session=True, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeded)  # fmt: skip
    path = cli.folder / "out" / "results.csv"
    try:
        while process.poll() is None and not (path.exists() and path.read_text().count("\n") > 3):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        out, err = process.communicate(timeout=60)  # it ends its processes and writes a table: a second
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == Exit.INTERRUPTED, err
    assert "the same command goes on from there" in err
    done = lines(cli.folder / "out")
    assert 3 <= len(done) < 30
    assert "best by net profit" in out
    with pytest.raises(ProcessLookupError):  # no process is left behind
        os.killpg(process.pid, 0)
    value = cli(*words, "--json").json()
    assert (value["done"], value["reused"], value["failed"]) == (30, len(done), 0)
    assert len(lines(cli.folder / "out")) == 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--data FILE"),
        (("--data", "nope.csv"), "there is no file 'nope.csv'"),
        (("--data", "walk.csv=sim/AAA@1m"), "--strategy"),
        ((*CROSS[:-1], "ema-cros"), "the nearest is 'ema-cross'"),
        ((*CROSS, "--param", "fats=1..3"), "does not take"),
        ((*CROSS, "--param", "fast"), "is no parameter"),
        ((*CROSS, "--param", "fast=20..30", "--param", "slow=5"),
         "must be shorter than slow"),
        ((*CROSS, "--param", "fast=2", "--where", "fast > 5"),
         "no combination"),
        ((*CROSS, "--rank", "sharp"), "the nearest is 'sharpe'"),
        ((*CROSS, "--symbol", "BBB"), "no file is of BBB"),
        ((*CROSS, "--param", "fast=2,3", "--heat", "slow"), "'slow'"),
        ((*CROSS, "--period", "2024", "--periods", "3"), "contradict"),
        ((*CROSS, "--cash", "-5"), "--cash"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(cli: Cli, file: Path, words: tuple[str, ...], said: str) -> None:
    found = tape("sweep", *words)
    assert found.code == Exit.BAD_INPUT, found.err
    assert said in found.err.splitlines()[-1]
    assert "Traceback" not in found.err
    assert not found.out
    assert not (cli.folder / "reports").exists()


def test_a_period_of_a_backtest_holds_its_candles_alone(cli: Cli, file: Path) -> None:
    words = ("backtest", "--data", f"{file}=sim/AAA@1m", "--strategy", "ema-cross", "--json")
    half = tape(*words, "--period", "2024-01-01T01:00..", "--out", "half").json()
    assert half["first_bar"] == "2024-01-01T01:01:00Z"
    assert half["markets"][0]["bars"] == 540
    assert tape(*words, "--period", "noon..", "--out", "none").code == Exit.BAD_INPUT
