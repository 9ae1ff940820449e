"""What is measured, against what, and what it is to reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from scripts.bench.case import Case, Goal
from scripts.bench.market import CACHE, ETH, LONG_XAU, XAU, Market
from scripts.bench.work import ROOT, Sample, Work

LONG_PAIR = ("--fast", "45", "--slow", "90")
"""About 100 thousand orders in ten million rows."""

SUBJECTS = ("storage", "projection", "live", "packing", "startup")
"""Modules of this package that measure by themselves and print one object of figures."""

SUBJECT_ROUNDS = 3
"""They repeat inside as well."""

GOALS: dict[str, Goal] = {
    "live.candle_to_decision_p50": Goal(better="less", ratio=1.5, stretch_ratio=1.2),
    "live.candle_to_decision_p99": Goal(better="less", ratio=2.0, stretch_ratio=1.5),
}
"""Of what the subject modules measure, as `subject.name`; a module may bring goals of its own."""


def python(module: str, *argv: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"scripts.bench.{module}", *argv


def event(market: Market) -> Work:
    return Work(f"event {market.name}", python("engine", "event", market.name), market.oracle)


def loop(market: Market) -> Work:
    return Work(f"bare loop {market.name}", python("floor", "loop", market.name), market.oracle)


def long_pair(market: Market, timeout_s: float = 600.0, rounds_max: int | None = None) -> Work:
    argv = python("engine", "event", market.name, *LONG_PAIR)
    return Work(f"event {market.name} 45/90", argv, timeout_s=timeout_s, rounds_max=rounds_max)


def tape(market: Market) -> Work:
    """The command as a user types it, with a report."""
    config, out = CACHE / f"{market.name}.toml", CACHE / "report"
    argv = (
        str(ROOT / ".venv" / "bin" / "tape"), "backtest", market.spec, "--config", str(config), "--out", str(out),
        "--json",
    )  # fmt: skip
    return Work(f"tape backtest {market.name}", argv, market.oracle, shape=of_report)


def of_report(said: Sample) -> Sample:
    """The figures of `tape backtest --json` under the names of the other samples."""
    accounts = list(said["accounts"].values())
    trades = sum(one["trades"] for one in accounts)
    pnl = sum(one["final"] - one["start"] for one in accounts)
    rows = sum(one["bars"] for one in said["markets"])
    return {"rows": rows, "trades": trades, "pnl": pnl, "digest": said["digest"]}


def configuration(market: Market) -> str:
    """TOML of the common work, for the command."""
    tick, lot = ("0.01", "0.001") if market is ETH else ("0.001", "1")
    place = f'venue = "bench"\nsymbol = "{market.symbol}"\n'
    return (
        f'[[symbols]]\n{place}tick = "{tick}"\nlot = "{lot}"\n\n'
        f'[[bots]]\nname = "cross"\n{place}strategy = "ema-cross"\nparams = {{ fast = 10, slow = 20 }}\n'
        'sizing = { method = "quantity", value = "1" }\n\n'
        '[[accounts]]\nname = "main"\ncurrency = "USD"\ncash = "1000000"\n'
        'fees = { maker = "0.001", taker = "0.001" }\nfills = { slippage = "0" }\n'
    )


def works(quick: bool) -> list[Work]:
    """Ours and the floors, in the order of one round."""
    own = [event(ETH), loop(ETH)]
    if not quick:
        own += [event(XAU), loop(XAU), tape(XAU), long_pair(ETH), long_pair(LONG_XAU, 1_200.0, 1)]
    return own


def cases(known: Sequence[Work], peers: bool) -> list[Case]:
    """Of what is run; the yardstick is the peer where peers are run, else the floor."""
    names = {work.name for work in known}

    def against(peer: str, floor: str | None = None) -> str | None:
        return peer if peers and peer in names else floor

    found = []
    for market in (ETH, XAU):
        name = market.name
        goal = Goal(ratio=3.0, stretch_value=1e6) if peers else Goal(value=480_000, stretch_value=1e6)
        other = against(f"backtesting {name}", f"bare loop {name}")
        what = f"event path, EMA cross, {name}"
        found.append(Case(f"event.{name}", what, f"event {name}", "rate", "candles/s", other, goal))
        memory = against(f"backtesting {name}")
        found.append(Case(f"event_memory.{name}", "peak memory of that", f"event {name}", "peak_mb", "MB", memory))
    found += [
        Case("event.10m", "the same at 10 million rows, 100 thousand orders", "event xau10m 45/90", "rate",
             "candles/s", "event eth60k 45/90", Goal(ratio=0.9)),
        Case("memory.10m", "peak memory of a 10-million-row backtest", "event xau10m 45/90", "peak_mb", "MB", None,
             Goal(better="less", value=1_000)),
        Case("command.xau500k", "whole process of tape backtest, from exec to report", "tape backtest xau500k",
             "process_s", "s", against("vectorbt xau500k"),
             Goal(better="less", ratio=0.5, value=1.5, stretch_value=1.0)),
    ]  # fmt: skip
    return [case for case in found if case.work in names]


def prepare(wanted: Sequence[Work]) -> None:
    """Makes what the works read, before anything is measured. The long file in a process of its own: this one's memory
    stays small, see `work.run`."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for market in (ETH, XAU):
        (CACHE / f"{market.name}.toml").write_text(configuration(market))
    if any(LONG_XAU.name in work.name for work in wanted):
        subprocess.run(python("market"), cwd=ROOT, check=True)
