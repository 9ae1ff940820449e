"""What is measured, against what, and what it is to reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Sequence

import msgspec

from scripts.bench.case import Case, Goal
from scripts.bench.market import CACHE, ETH, LONG_XAU, TRADES, XAU, Market
from scripts.bench.work import ROOT, Oracle, Sample, Work

LONG_PAIR = ("--fast", "45", "--slow", "90", "--flat")
"""About 100 thousand orders in ten million rows, which are read piece by piece while they are played."""

SUBJECTS = ("trades", "storage", "projection", "live", "packing", "startup", "archive", "recovery")
"""Modules of this package that measure by themselves and print one object of figures."""

SWEEP = {ETH.name: Oracle(124_591, -6_394.9524), XAU.name: Oracle(1_038_323, -29_520.3352)}
"""Trades of all pairs, PnL of 10/20. On xau500k pandas' averages cross once more at 5/20, where ours (the recursion of
TA-Lib, which rounds otherwise) touch within the last digit."""

SUBJECT_ROUNDS = 3
"""They repeat inside as well."""

GOALS: dict[str, Goal] = {
    "live.candle_to_decision_p50": Goal(better="less", ratio=1.5, stretch_ratio=1.2),
    "live.candle_to_decision_p99": Goal(better="less", ratio=2.0, stretch_ratio=1.5),
}
"""Of what the subject modules measure, as `subject.name`; a module may bring goals of its own."""


def python(module: str, *argv: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"scripts.bench.{module}", *argv


def engine(path: str, market: Market) -> Work:
    return Work(f"{path} {market.name}", python("engine", path, market.name), market.oracle)


def bare(path: str, market: Market) -> Work:
    """As vectorised peers are timed: warm, and without a digest, which they do not have."""
    argv = python("engine", path, market.name, "--warm", "--no-digest")
    return Work(f"{path} bare {market.name}", argv, market.oracle)


def sweep(market: Market, digest: bool = True) -> Work:
    """100 pairs of parameters on one core; as `tape sweep` plays them."""
    name = "column sweep" if digest else "column sweep undigested"
    argv = python("engine", "sweep", market.name, *(() if digest else ("--no-digest",)))
    return Work(f"{name} {market.name}", argv, SWEEP[market.name], timeout_s=1_200.0)


def loop(market: Market) -> Work:
    return Work(f"bare loop {market.name}", python("floor", "loop", market.name), market.oracle)


def touched(market: Market) -> Work:
    return Work(f"columns touched {market.name}", python("floor", "columns", market.name))


def trades() -> Work:
    return Work(f"event {TRADES}", python("engine", "event", TRADES))


def long_pair(market: Market, timeout_s: float = 600.0, rounds_max: int | None = None) -> Work:
    beside = ("--beside", ETH.name) if market is LONG_XAU else ()
    argv = python("engine", "event", market.name, *LONG_PAIR, *beside)
    return Work(f"event {market.name} 45/90", argv, timeout_s=timeout_s, rounds_max=rounds_max)


def tape(market: Market) -> Work:
    """The command as a user types it, with a report without a chart."""
    config, out = CACHE / f"{market.name}.json", CACHE / "report"
    argv = (
        str(ROOT / ".venv" / "bin" / "tape"), "backtest", "--data", market.spec, "--config", str(config),
        "--out", str(out), "--no-chart", "--json",
    )  # fmt: skip
    return Work(f"tape backtest {market.name}", argv, market.oracle, shape=of_report)


def of_report(said: Sample) -> Sample:
    """The figures of `tape backtest --json` under the names of the other samples."""
    accounts = list(said["accounts"].values())
    trades = sum(one["trades"] for one in accounts)
    pnl = sum(one["final"] - one["start"] for one in accounts)
    rows = sum(one["bars"] for one in said["markets"])
    return {"rows": rows, "trades": trades, "pnl": pnl, "digest": said["digest"]}


def configuration(market: Market) -> bytes:
    """JSON of the common work, for the command: TOML has no way to say that orders are not bounded by volume."""
    tick, lot = ("0.01", "0.001") if market is ETH else ("0.001", "1")
    place = {"venue": "bench", "symbol": market.symbol}
    account = {"name": "main", "currency": "USD", "cash": "1000000", "fees": {"maker": "0.001", "taker": "0.001"},
               "fills": {"slippage": "0", "participation": None}}  # fmt: skip
    bot = {"name": "cross", **place, "strategy": "ema-cross", "params": {"fast": 10, "slow": 20},
           "sizing": {"method": "quantity", "value": "1"}}  # fmt: skip
    return msgspec.json.encode({"symbols": [{**place, "tick": tick, "lot": lot}], "bots": [bot], "accounts": [account]})


def works(quick: bool) -> list[Work]:
    """Ours and the floors, in the order of one round."""
    own = [engine("event", ETH), loop(ETH), engine("column", ETH), engine("message", ETH), trades(), sweep(ETH)]
    if not quick:
        own += [engine("event", XAU), loop(XAU), engine("column", XAU), bare("column", XAU), touched(XAU), tape(XAU)]
        own += [bare("event", XAU)]
        own += [sweep(XAU), sweep(XAU, digest=False)]
        own += [long_pair(ETH), long_pair(LONG_XAU, timeout_s=1_200.0, rounds_max=1)]
    return own


AGREE = tuple(
    (market, tuple(f"{path} {market.name}" for path in ("event", "column", "message"))) for market in (ETH, XAU)
)
"""Works that must come to one digest."""


def cases(known: Sequence[Work]) -> list[Case]:
    """Of what is run; the yardstick is the peer where it is run, else the floor."""
    names = {work.name for work in known}
    event, column = "event path, EMA cross", "column path, single run, engine only"
    found = [case for market in (ETH, XAU) for case in _paths(market, names)]
    long, short = "event xau10m 45/90", "event eth60k 45/90"
    found += [
        Case("event.xau10m", f"{event}, 10 million rows, 100 thousand orders", long, "rate", "candles/s", short),
        Case("event.xau10m.steady", "to its rate at 60 thousand rows, played after each tenth: median", long, "beside",
             "times", None, Goal(value=0.9)),
        Case("memory.xau10m", "peak memory of a 10-million-row backtest", long, "peak_mb", "MB", None,
             Goal(better="less", value=1_000)),
        Case("column.xau500k", f"{column}, warm, no digest", "column bare xau500k", "rate", "candles/s",
             _first(names, "vectorbt xau500k", "columns touched xau500k"),
             _goal(names, "vectorbt xau500k", Goal(ratio=2, stretch_value=50e6), Goal(value=15e6, stretch_value=50e6))),
        Case("column.xau500k.digested", "the same, first run of a process, with its digest", "column xau500k", "rate",
             "candles/s", _first(names, "vectorbt xau500k", "columns touched xau500k")),
        Case("event.xau500k.bare", f"{event}, no digest", "event bare xau500k", "rate", "candles/s",
             _first(names, "backtesting xau500k", "bare loop xau500k")),
        Case("trades", "trades, event by event", f"event {TRADES}", "rate", "trades/s",
             _first(names, f"nautilus-rust {TRADES}"),
             _goal(names, f"nautilus-rust {TRADES}", Goal(ratio=2), Goal(value=1e6))),
        Case("command.xau500k", "whole process of tape backtest, report without chart", "tape backtest xau500k",
             "process_s", "s", _first(names, "vectorbt xau500k"),
             Goal(better="less", ratio=0.5, value=1.5, stretch_value=1.0)),
    ]  # fmt: skip
    found += [case for market in (ETH, XAU) for case in _sweeps(market, names)]
    return [case for case in found if case.work in names]


def _paths(market: Market, names: Collection[str]) -> list[Case]:
    work, peer = f"event {market.name}", f"backtesting {market.name}"
    goal = _goal(names, peer, Goal(ratio=3.0, stretch_value=1e6), Goal(value=480_000, stretch_value=1e6))
    floor = _first(names, peer, f"bare loop {market.name}")
    return [
        Case(f"event.{market.name}", "event path, EMA cross", work, "rate", "candles/s", floor, goal),
        Case(f"memory.{market.name}", "its peak memory", work, "peak_mb", "MB", _first(names, peer)),
    ]


def _sweeps(market: Market, names: Collection[str]) -> list[Case]:
    work, peer, rate = f"column sweep {market.name}", f"vectorbt sweep {market.name}", "candle-parameters/s"
    what = "sweep of 100 pairs, one core"
    beside, alone = Goal(ratio=5, stretch_value=50e6), Goal(value=19e6, stretch_value=50e6)
    goal = _goal(names, peer, beside, alone) if market is XAU else None
    bare = f"column sweep undigested {market.name}"
    return [
        Case(f"sweep.{market.name}", f"{what}, every digest", work, "rate", rate, _first(names, peer), goal),
        Case(f"sweep.{market.name}.undigested", f"{what}, no digest", bare, "rate", rate, _first(names, peer), goal),
        Case(f"memory.sweep.{market.name}", "its peak memory", work, "peak_mb", "MB", _first(names, peer),
             Goal(better="less", value=600)),
    ]  # fmt: skip


def _first(names: Collection[str], *wanted: str) -> str | None:
    return next((name for name in wanted if name in names), None)


def _goal(names: Collection[str], peer: str, beside: Goal, alone: Goal) -> Goal:
    """A ratio to a floor is no ratio to a peer: without the peer the figure itself is judged."""
    return beside if peer in names else alone


def prepare(wanted: Sequence[Work]) -> None:
    """Makes what the works read, before anything is measured. Long files in processes of their own: this one's memory
    stays small, see `work.run`."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for market in (ETH, XAU):
        (CACHE / f"{market.name}.json").write_bytes(configuration(market))
    for name in (LONG_XAU.name, TRADES):
        if any(name in work.name for work in wanted):
            subprocess.run(python("market", name), cwd=ROOT, check=True)
