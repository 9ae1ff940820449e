"""What the machine itself costs at the common work, with nothing of an engine: the floors of the engine's cases.

`python -m scripts.bench.floor loop MARKET`: the bare cross in a Python loop over lists of floats, with money in floats.
`python -m scripts.bench.floor columns MARKET`: every open and close touched once by numpy.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from scripts.bench.market import MARKETS

FEE = 0.001


def cross(opens: list[float], closes: list[float], fast: int = 10, slow: int = 20) -> dict[str, Any]:
    """Averages that begin with the first close; the first `slow` candles only warm them up."""
    a, b = 2 / (fast + 1), 2 / (slow + 1)
    quick = late = closes[0]
    held, above, wanted = False, False, None
    trades, cash, position = 0, 0.0, 0.0
    for row, price in enumerate(closes):
        if wanted is not None:
            cash -= opens[row] * (wanted - position) + opens[row] * FEE
            trades += wanted == 0.0
            position, wanted = wanted, None
        quick += a * (price - quick)
        late += b * (price - late)
        before, above = above, quick > late
        if row < slow or before == above:
            continue
        if above != held:
            held, wanted = above, float(above)
    return {"trades": trades, "pnl": cash + position * closes[-1]}


def main() -> None:
    import pyarrow.parquet as pq

    what, market = sys.argv[1], MARKETS[sys.argv[2]]
    table = pq.read_table(market.path, columns=["open", "close"])
    opens, closes = (table[name].combine_chunks().to_numpy() for name in ("open", "close"))
    lists = opens.tolist(), closes.tolist()
    if what == "loop":
        started = time.perf_counter()
        found = cross(*lists)
        engine_s = time.perf_counter() - started
    else:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            touched = float((opens * closes).sum())
            times.append(time.perf_counter() - started)
        engine_s, found = sorted(times)[len(times) // 2], {"touched": touched}
    sys.stdout.write(json.dumps({"rows": len(closes), "engine_s": engine_s, **found}) + "\n")


if __name__ == "__main__":
    main()
