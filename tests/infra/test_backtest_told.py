"""Files as windows or as messages: whichever it is, the command decides the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from actors.plan import BotPlan, Plan, SymbolPlan
from infra.backtest import data
from infra.backtest.engine import backtest, play
from infra.backtest.told import told
from infra.cli.app import app

START_MS = 1_700_000_040_000
PARAMS = {"fast": 2, "slow": 5}


@pytest.fixture
def trades(tmp_path: Path) -> data.MarketFile:
    """Two hours of trades, seven seconds apart."""
    rows = [f"{START_MS + n * 7_000},{n},{100 + n % 50 / 10:.1f},10,{'buy' if n % 3 else 'sell'}" for n in range(1_000)]
    path = tmp_path / "trades.csv"
    path.write_text("\n".join(["timestamp,id,price,amount,side", *rows]) + "\n")
    return data.load(f"{path}=sim/T")


@pytest.fixture
def candles(tmp_path: Path) -> data.MarketFile:
    rows = [f"{START_MS + n * 60_000},{100 + n % 7},108,99,{100 + n % 7},5000" for n in range(120)]
    path = tmp_path / "candles.csv"
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    return data.load(f"{path}=sim/C@1m")


def plan(*files: data.MarketFile) -> Plan:
    symbols = data.symbol_plans(files)
    bots = tuple(BotPlan(name=one.symbol.lower(), venue="sim", symbol=one.symbol, params=PARAMS) for one in symbols)
    return Plan(symbols=symbols, bots=bots)


def by_message(made: Plan, files: list[data.MarketFile], close_last: bool) -> dict[str, Any]:
    found = backtest(made, data.stream(files), close_last="open" if close_last else None)
    return {"digest": found.digest, "counts": found.counts, "entries": found.entries}


@pytest.mark.parametrize("close_last", [False, True])
@pytest.mark.parametrize("kind", ["trades", "candles"])
def test_windows_decide_as_messages(kind: str, close_last: bool, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(kind)
    made = plan(file)
    parts = told(made, [file], close_last=close_last)
    assert parts is not None
    found = play(made, parts, close_last="open" if close_last else None)
    assert found.counts["fill"] > 3
    expected = by_message(made, [file], close_last)
    assert {"digest": found.digest, "counts": found.counts, "entries": found.entries} == expected


def test_what_has_no_windows_goes_by_message(trades: data.MarketFile, candles: data.MarketFile) -> None:
    assert told(plan(trades, candles), [trades, candles]) is None
    # Candles of a symbol whose bars are to be made of trades: its actor hears them and makes nothing of them.
    odd = Plan(symbols=(SymbolPlan(venue="sim", symbol="C", source="trades"),))
    assert told(odd, [candles]) is None
    assert told(msgspec.structs.replace(odd, symbols=plan(candles).symbols), [candles]) is not None


@pytest.mark.parametrize("kind", ["trades", "candles"])
def test_the_command_comes_to_the_same_digest(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    file = request.getfixturevalue(kind)
    words = [f"--data={file.path}=sim/{file.symbol}", f"--out={tmp_path / 'report'}", "--json", "--no-chart"]
    words += [*words, "--strategy=ema-cross", "--param=fast=2", "--param=slow=5"]
    digests = set()
    for period in ([], ["--period", "2023-11-14T22:30..2023-11-14T23:30"]):
        found = CliRunner().invoke(app, ["backtest", *words, *period])
        assert found.exit_code == 0, found.output
        digests.add(json.loads(found.stdout)["digest"])
    made = msgspec.json.decode((tmp_path / "report" / "config.json").read_bytes())["plan"]
    expected = backtest(msgspec.convert(made, Plan, strict=False), data.stream([file])).digest
    assert expected in digests
    assert len(digests) == 2
