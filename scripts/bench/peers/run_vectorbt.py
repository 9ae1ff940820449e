"""vectorbt: whole columns at once; the signals of a close are moved to the next candle, filled at its open.

`single`: one pair; the first call compiles (`cold_s`), the median of five more is the engine's. `sweep`: 100 pairs in
one call, after a short one that compiles.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from typing import Any

from work import CASH, FAST, FEE, SLOW, VARIANT, Watch, table, tell

watch = Watch()
warnings.filterwarnings("ignore")

import time  # noqa: E402

import numpy as np  # noqa: E402
import vectorbt as vbt  # noqa: E402

CALLS = 5
PAIRS = [(fast, slow) for fast in range(5, 15) for slow in range(20, 40, 2)]
SHORT = 1_000


def play(frame: Any, fast: int | Sequence[int], slow: int | Sequence[int]) -> Any:
    quick = vbt.MA.run(frame.close, fast, ewm=True, short_name="quick")
    late = vbt.MA.run(frame.close, slow, ewm=True, short_name="late")
    entries = quick.ma_crossed_above(late).vbt.signals.fshift(1)
    exits = quick.ma_crossed_below(late).vbt.signals.fshift(1)
    return vbt.Portfolio.from_signals(
        frame.close, entries, exits, price=frame.open, size=1, fees=FEE, init_cash=CASH, freq="1min"
    )


def single(frame: Any) -> None:
    played = play(frame, FAST, SLOW)
    watch.done("cold")
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        played = play(frame, FAST, SLOW)
        times.append(time.perf_counter() - started)
    watch.done("warm_calls")
    trades, pnl = played.trades.closed.count(), played.total_profit()
    watch.done("statistics")
    tell(watch, len(frame), trades, pnl, engine_s=statistics.median(times), note="warm; its trades are derived later")


def sweep(frame: Any) -> None:
    fast, slow = (list(one) for one in zip(*PAIRS, strict=True))
    short = play(frame.iloc[:SHORT], fast[:2], slow[:2])
    short.trades.closed.count(), short.total_profit()
    watch.done("cold")
    played = play(frame, fast, slow)
    watch.done("engine")
    trades, profits = int(np.sum(played.trades.closed.count())), np.asarray(played.total_profit())
    watch.done("statistics")
    tell(watch, len(frame), trades, profits[PAIRS.index((FAST, SLOW))], runs=len(PAIRS), note="PnL: of the pair 10/20")


watch.done("import")
data = table()
watch.done("load")
(sweep if VARIANT == "sweep" else single)(data)
