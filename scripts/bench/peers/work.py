"""What every peer's script shares. It runs in the peer's environment: standard library, pandas and pyarrow only.

A script is called `SCRIPT FILE.parquet [VARIANT]` and prints one JSON object: rows, trades, pnl and the seconds of
import, load, set-up and engine. The work is that of `scripts.bench.engine`, in the idiom of the peer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

EXEC = time.perf_counter()
CASH, FEE = 1_000_000.0, 0.001
FAST, SLOW = 10, 20
PATH = Path(sys.argv[1])
VARIANT = sys.argv[2] if len(sys.argv) > 2 else ""
ETH = PATH.stem.startswith("eth")
DIGITS = 2 if ETH else 3
"""Decimals of a price of this file."""


class Watch:
    """Seconds by the name of what has just ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = EXEC

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[f"{name}_s"] = now - self._last
        self._last = now


def table() -> Any:
    """The file as a DataFrame indexed by its times, those at which candles open."""
    import pandas as pd

    frame = pd.read_feather(PATH) if PATH.suffix == ".feather" else pd.read_parquet(PATH)
    frame.index = pd.to_datetime(frame.pop("timestamp"), unit="ms")
    frame.index.name = "time"
    return frame


def tell(watch: Watch, rows: int, trades: int, pnl: float, **more: Any) -> None:
    found = {"rows": rows, "trades": int(trades), "pnl": float(pnl), **watch.seconds, **more}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
