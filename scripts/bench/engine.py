"""The backtest engine at the common work: EMA cross, long or flat, 1 unit, next open, fee 0.1 %, no slippage.

`python -m scripts.bench.engine PATH MARKET [--flat] [--fast N] [--slow N]` plays it once and prints one JSON object:
rows, trades, pnl, digest, and the seconds of import, load (file to columns), engine (columns to result). With
`--beside SHORT` another market is played after each tenth, and `beside` is the median ratio of both rates.
PATH: `event` asks the strategy candle by candle, `column` block by block; both over columns. `message` plays one
message a candle through the loop that live lock-step has. `sweep` plays 100 pairs in columns, as `tape sweep` does
with one process; its trades are those of all pairs, its PnL that of the pair 10/20, its digest one of all digests.
With the market `eth-trades` every event is a trade, and the 1-minute candles are made from them.
"""

from __future__ import annotations

import time

_EXEC = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from decimal import Decimal  # noqa: E402
from hashlib import blake2b  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

from actors import kernels  # noqa: E402
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Plan, Sizing  # noqa: E402
from infra.backtest import data, tickfiles  # noqa: E402
from infra.backtest.engine import backtest, play  # noqa: E402
from infra.backtest.result import Result  # noqa: E402
from infra.backtest.shared import warm  # noqa: E402
from infra.backtest.ticks import play_trades  # noqa: E402
from infra.sweep.grid import Grid, axis  # noqa: E402
from infra.sweep.periods import Period  # noqa: E402
from infra.sweep.study import Dataset, Player, Slice, Study  # noqa: E402
from scripts.bench.market import MARKETS, TRADES, TRADES_SPEC  # noqa: E402

PATHS = ("column", "event", "message")
SPECS = {**{name: one.spec for name, one in MARKETS.items()}, TRADES: TRADES_SPEC}
CASH = 1_000_000
FEE = Decimal("0.001")


def account() -> AccountPlan:
    fees, fills = Fees(maker=FEE, taker=FEE), FillModel(slippage=Decimal(0), participation=None)
    return AccountPlan(currency="USD", cash=Decimal(CASH), fees=fees, fills=fills)


def plan(files: list[data.MarketFile], fast: int = 10, slow: int = 20) -> Plan:
    """The shipped cross, on every file."""
    one = Sizing(method="quantity", value=Decimal(1))
    params = {"fast": fast, "slow": slow}
    bots = tuple(
        BotPlan(name=f"cross-{file.symbol}", venue=file.venue, symbol=file.symbol, params=params, sizing=one)
        for file in files
    )
    return Plan(symbols=data.symbol_plans(files), bots=bots, accounts=(account(),))


class Beside:
    """Plays a short market now and then while a long one is played, so that both are timed in the same minute."""

    def __init__(self, name: str, args: argparse.Namespace, whole: int) -> None:
        self._file = data.load(SPECS[name])
        self._plan, self._whole, self.away = plan([self._file], args.fast, args.slow), whole, 0.0
        self.ratios: list[float] = []
        self._done, self._began = 0, 0.0

    def watch(self, windows: Iterator[Any]) -> Iterator[Any]:
        """Yields them; where another tenth is done, its rate is held against that of the short market. What reading
        takes does not count: the short market is read before."""
        self._began = time.perf_counter()
        while True:
            started = time.perf_counter()
            window = next(windows, None)
            self._began += time.perf_counter() - started
            if window is None:
                return
            yield window
            self._done += sum(map(len, window.values()))
            if self._done >= self._whole / 10:
                self._compare()

    def _compare(self) -> None:
        stopped = time.perf_counter()
        rate = self._done / (stopped - self._began)
        rates = [self._rate() for _ in range(5)]
        self.ratios.append(rate / median(rates))
        self._done, self._began = 0, time.perf_counter()
        self.away += self._began - stopped

    def _rate(self) -> float:
        started = time.perf_counter()
        played(self._plan, self._file, "event")
        return self._file.rows / (time.perf_counter() - started)


def played(made: Plan, file: data.MarketFile, path: str, digest: bool = True, beside: Beside | None = None) -> Result:
    """The one place where the benchmark calls the engine."""
    if path == "message":
        return backtest(made, data.stream([file]))
    if file.trades is not None:
        return play_trades(made, tickfiles.windows([file]), digest=digest)
    windows = data.windows([file])
    return play(made, windows if beside is None else beside.watch(windows), columns=path == "column", digest=digest)


def outcome(result: Result) -> dict[str, Any]:
    """An open position counts at the last close."""
    fills: dict[str, int] = {}
    for fill in result.fills:
        fills[fill.side] = fills.get(fill.side, 0) + 1
    pnl = sum(float(curve.equity[-1]) - curve.start for curve in result.curves.values())
    return {
        "trades": fills.get("sell", 0),  # long or flat: every sale ends a trade
        "orders": len(result.orders),
        "pnl": round(pnl, 6),
        "entries": result.entries,
        "digest": result.digest,
    }


def swept(file: data.MarketFile, digest: bool) -> dict[str, Any]:
    grid = Grid([axis("fast=5..14"), axis("slow=20..38:2")])
    study = Study((Slice(Dataset(plan([file]), (file,)), Period()),), grid, digest=digest)
    player, digests, found = Player(study), blake2b(digest_size=16), {"rows": 0, "trades": 0, "pnl": 0.0}
    for number in grid.kept.tolist():
        run = player(0, number)
        if run.summary is None:
            raise RuntimeError(f"{grid.at(number)}: {run.error}")
        digests.update(run.digest.encode())
        found["rows"] = run.summary.bars
        found["trades"] += run.summary.trades
        if grid.at(number) == {"fast": 10, "slow": 20}:
            found["pnl"] = round(run.summary.final - CASH, 6)
    return {**found, "runs": len(grid.kept), "digest": digests.hexdigest() if digest else ""}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """`engine_s` is from columns to the result; what is looked at afterwards is made then, and not counted."""
    imported = time.perf_counter()
    file = data.load(SPECS[args.market], flat=args.flat)
    loaded = time.perf_counter()
    beside = Beside(args.beside, args, file.rows) if args.beside else None
    if args.path == "sweep":
        warm()  # what is compiled; the peer's is, too, by a short sweep before
    started = time.perf_counter()
    if args.path == "sweep":
        found = swept(file, not args.no_digest)
        ended = time.perf_counter()
    else:
        made = plan([file], args.fast, args.slow)
        if args.warm:
            kernels.warm()
            played(made, file, args.path, not args.no_digest)
            started = time.perf_counter()
        result = played(made, file, args.path, not args.no_digest, beside)
        ended = time.perf_counter() - (beside.away if beside is not None else 0.0)
        rows = sum(one.bars for one in result.markets) if file.trades is None else len(file.trades.ts)
        found = {"rows": rows, **outcome(result)}
        if beside is not None:
            found["beside"] = median(beside.ratios)
    return {**found, "import_s": imported - _EXEC, "load_s": loaded - imported, "engine_s": ended - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=(*PATHS, "sweep"))
    parser.add_argument("market", choices=sorted(SPECS))
    parser.add_argument("--flat", action="store_true", help="read piece by piece while it plays")
    parser.add_argument("--fast", type=int, default=10)
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--no-digest", action="store_true", help="leave the digest out")
    parser.add_argument("--warm", action="store_true", help="once before it counts, with compiled parts loaded")
    parser.add_argument("--beside", choices=sorted(MARKETS), help="a short market, played after each tenth")
    args = parser.parse_args()
    sys.stdout.write(json.dumps(measure(args)) + "\n")


if __name__ == "__main__":
    main()
