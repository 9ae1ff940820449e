"""Storage and import: rows a second against what the machine does with the same bytes, and memory at the peak.

`python -m scripts.bench.storage` prints one JSON object. Works that are compared take turns; medians of `ROUNDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import numpy as np

from events.block import Columns, pack, unpack
from events.codec import Codec
from events.decision import Decision
from events.market import CandleBlock
from events.timeframe import MINUTE
from infra.services.nats import NatsServer
from infra.store import Series, Writer, append, open_store
from infra.tapes.jetstream import JetStreamTape

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
ROUNDS = 3 if QUICK else 5
START = 978_307_200_000_000
"""2001: ten million minutes later nothing lies in the future, which importers refuse."""
SERIES = Series("bench", "BTC-USDT", "1m")
# What a fresh process does with a file, to its peak of resident memory in MB.
COLD = """
import sys, time
begun = time.perf_counter()
from infra.backtest import data
file = data.load(sys.argv[1], flat=sys.argv[2] == "flat")
at_hand = time.perf_counter() - begun
rows = sum(len(c) for w in data.windows([file]) for c in w.values()) if sys.argv[2] == "flat" else file.rows
print(at_hand, rows, peak(), "pandas" in sys.modules)
"""
# `ru_maxrss` would be that of the parent before exec, where that was more.
PEAK = """
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
"""
BARE_READ = """
import sys, time
begun = time.perf_counter()
import numpy, pyarrow.parquet
table = pyarrow.parquet.ParquetFile(sys.argv[1]).read()
columns = [numpy.frombuffer(c.chunk(0).buffers()[1], numpy.float64) for c in table.columns]
print(time.perf_counter() - begun)
"""
BARE = "import numpy, pyarrow.parquet; print(peak())"


def candles(rows: int, first: int = 0) -> Columns:
    """Prices of two decimals, volumes of eight, as Binance writes them; `first`: minutes before the first."""
    rng = np.random.default_rng(7)
    close = np.round(np.abs(40_000 + np.cumsum(rng.normal(0, 8, rows))) + 1_000, 2)
    open_ = np.concatenate((close[:1], close[:-1]))
    high = np.round(np.maximum(open_, close) + rng.random(rows) * 10, 2)
    low = np.round(np.minimum(open_, close) - rng.random(rows) * 10, 2)
    ts = START + np.arange(first + 1, first + rows + 1, dtype=np.int64) * MINUTE
    return Columns(ts, open_, high, low, close, np.round(rng.random(rows) * 50, 8), rng.integers(10, 3_000, rows))


def klines(path: Path, c: Columns) -> None:
    """As in Binance's archive: 12 columns, no header."""
    names = ("open", "high", "low", "close", "volume", "count")
    columns = [(c.ts // 1_000).tolist(), *(getattr(c, name).tolist() for name in names)]
    with path.open("w") as file:
        for t, o, h, l, e, v, n in zip(*columns, strict=True):
            q = v * e
            file.write(
                f"{t - 60_000},{o:.8f},{h:.8f},{l:.8f},{e:.8f},{v:.8f},{t - 1},{q:.8f},{n},{v / 2:.8f},{q / 2:.8f},0\n"
            )


def taken(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each; one turn each a round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found) for name, found in times.items()}


def entry(rows: int, seconds: float, floor: float | None = None, note: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"value": rows / seconds, "unit": "rows/s", "note": note}
    return found if floor is None else {**found, "floor": rows / floor, "ratio": floor / seconds}


def importing(folder: Path, rows: int) -> dict[str, Any]:
    import pyarrow.csv as pacsv

    from infra.backtest.data import load
    from infra.importers import read, read_parts

    path = folder / "BTCUSDT-1m-2020.csv"
    klines(path, candles(rows))
    size = path.stat().st_size
    s = taken({
        "arrow": lambda: pacsv.read_csv(path, pacsv.ReadOptions(autogenerate_column_names=True)),
        "read": lambda: read(path),
        "load": lambda: load(str(path)),
        "parts": lambda: sum(map(len, read_parts(path))),
        "sha256": lambda: hashlib.file_digest(path.open("rb"), "sha256"),
    })  # fmt: skip
    per = f"{size / rows:.0f} bytes a row; floor: pyarrow reads the 12 columns of the file, unchecked, on all cores"
    return {
        "import_csv": {**entry(rows, s["read"], s["arrow"], per), "goal": {"value": 1e6, "stretch_value": 3e6}},
        "load_csv": entry(rows, s["load"], s["sha256"], "import, SHA-256, tick and lot; floor: the SHA-256 alone"),
        "import_csv_in_pieces": entry(rows, s["parts"], s["arrow"], "bounded memory; floor as above"),
    }


def storing(folder: Path, rows: int) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.feather as feather

    whole = candles(rows)
    names = ("ts", "open", "high", "low", "close", "volume", "count")
    columns = [getattr(whole, name) for name in names]
    size = sum(one.nbytes for one in columns)
    path, arrow = folder / "1m.store", folder / "1m.arrow"
    append(path, SERIES, whole)
    feather.write_feather(pa.table(dict(zip(names, columns, strict=True))), arrow, compression="uncompressed")

    def ours(checked: bool) -> float:
        with open_store(path) as stored:
            found = stored.columns(check=checked)
        return sum(float(getattr(found, name).sum()) for name in names)

    def theirs() -> float:
        table = feather.read_table(arrow, memory_map=True)
        return sum(float(np.frombuffer(c.buffers()[1], c.type.to_pandas_dtype())[: len(c)].sum())
                   for column in table.columns for c in column.chunks)  # fmt: skip

    def chunked() -> int:
        with open_store(path) as stored:
            return sum(len(one) for one in stored.chunks())

    def blocks() -> int:
        with open_store(path) as stored:
            return sum(one.rows for one in stored.blocks())

    def written() -> None:
        target = folder / "again.store"
        target.unlink(missing_ok=True)
        append(target, SERIES, whole)

    s = taken({
        "copy": lambda: [one.copy() for one in columns],
        "sum": lambda: sum(float(one.sum()) for one in columns),
        "mapped": lambda: ours(False),
        "checked": lambda: ours(True),
        "arrow": theirs,
        "chunks": chunked,
        "pack": lambda: sum(one.rows for one in pack("bench", "BTC-USDT", "1m", whole)),
        "blocks": blocks,
        "write": written,
    })  # fmt: skip
    note = f"{size / rows:.0f} bytes a row"
    return {
        "store_mapped": entry(rows, s["mapped"], s["sum"], f"{note}, every value summed; floor: the sum in memory"),
        "store_mapped_against_arrow": entry(rows, s["mapped"], s["arrow"], "floor: Arrow IPC, mapped, summed as well"),
        "store_checked": entry(rows, s["checked"], s["sum"], "the same with the checksums"),
        "store_chunks": entry(rows, s["chunks"], s["copy"], "checked, flat memory; floor: a copy of the columns"),
        "store_blocks": entry(
            rows, s["blocks"], s["pack"], "candle blocks for the bus; floor: `pack` of what is in memory"
        ),
        "store_write": entry(rows, s["write"], None, "sealed and on the disk (fsync)"),
    }


async def _travel(path: Path, url: str) -> tuple[float, float]:
    """Seconds for blocks of the store onto a tape and back into columns, and for the same bytes with bare nats-py."""
    client = await nats.connect(url)
    stream = client.jetstream()
    tape = await JetStreamTape.connect(url, f"t{time.monotonic_ns()}")
    bare = f"b{time.monotonic_ns()}"
    await stream.add_stream(name=bare, subjects=[bare])
    codec, begun = Codec(), time.perf_counter()
    last, bodies = 0, []
    with open_store(path) as stored:
        for number, block in enumerate(stored.blocks()):
            bodies.append(Decision(f"{number:032x}", 0, "", START, (block,)))
            last = await tape.append("feed.bench.BTC-USDT", bodies[-1], expected=last)
    rows = 0
    async for entry in tape.read():
        rows += sum(len(unpack(fact)) for fact in entry.decision.facts if isinstance(fact, CandleBlock))
    ours, raw = time.perf_counter() - begun, [codec.encode(one) for one in bodies]
    begun = time.perf_counter()
    for body in raw:
        await stream.publish(bare, body)
    back = await stream.subscribe(bare, ordered_consumer=True)
    for _ in raw:
        await back.next_msg(timeout=10)  # all are there: only a dead server takes that long
    theirs = time.perf_counter() - begun
    if rows != sum(block.facts[0].rows for block in bodies):
        raise ValueError(f"{rows} rows came back")
    await tape.close()
    await client.close()
    return ours, theirs


async def travelling(folder: Path, rows: int) -> dict[str, Any]:
    path = folder / "1m.store"
    bus = NatsServer(folder / "nats")
    await bus.start()
    try:
        turns = [await _travel(path, bus.url) for _ in range(ROUNDS)]
    finally:
        await bus.stop()
    ours, theirs = (statistics.median(times) for times in zip(*turns, strict=True))
    note = (
        "blocks from the store onto a JetStream tape, each acknowledged, and read back into columns; floor: the same "
    )
    return {"blocks_over_the_bus": entry(rows, ours, theirs, f"{note}bytes, made before, with nats-py alone")}


def cold(spec: str, how: str) -> tuple[float, int, float, bool]:
    done = subprocess.run([sys.executable, "-c", PEAK + COLD, spec, how], capture_output=True, text=True, check=True)
    at_hand, rows, peak, pandas = done.stdout.split()
    return float(at_hand), int(rows), float(peak), pandas == "True"


def long_files(folder: Path, rows: int) -> tuple[Path, Path]:
    """The same candles as a store file and as Parquet, stamped by their open time."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    store, other = folder / "long.store", folder / "long.parquet"
    step = min(rows, 500_000)
    table = _table(candles(1))
    with Writer(store, SERIES) as writer, parquet.ParquetWriter(other, pa.table(table).schema) as beside:
        for first in range(0, rows, step):
            part = candles(min(step, rows - first), first)
            writer.add(part)
            beside.write_table(pa.table(_table(part)))
    return store, other


def _table(c: Columns) -> dict[str, Any]:
    named = {name: getattr(c, name) for name in ("open", "high", "low", "close", "volume")}
    return {"timestamp": (c.ts - MINUTE) // 1_000, **named}


def starting(folder: Path, big: int) -> dict[str, Any]:
    """Fresh processes: until columns are at hand, and memory at the peak."""
    from scripts.bench.market import XAU

    found: dict[str, Any] = {}
    if XAU.path.exists():
        turns = [(cold(XAU.spec, "whole"), _bare_read(XAU.path)) for _ in range(ROUNDS)]
        (_, rows, _, pandas), _ = turns[0]
        seconds, floor = (
            statistics.median(times) for times in zip(*((ours[0], bare) for ours, bare in turns), strict=True)
        )
        note = f"{rows:,} rows, with all imports (pandas: {pandas}); floor: numpy, pyarrow and the columns of the file"
        found["load_parquet_cold"] = {"value": seconds, "unit": "s", "floor": floor, "ratio": seconds / floor,
                                      "note": note, "goal": {"better": "less", "value": 0.25}}  # fmt: skip
    store, other = long_files(folder, big)
    for name, path, what in (("parquet", other, "Parquet"), ("store", store, "a store file")):
        seconds, rows, peak, _ = cold(f"{path}=bench/BTC-USDT@1m", "flat")
        found[f"windows_{name}_peak"] = _peak(peak, f"{rows:,} rows of {what}, checked in {seconds:.2f} s, in windows")
    return found


def _bare_read(path: Path) -> float:
    done = subprocess.run([sys.executable, "-c", BARE_READ, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _peak(peak: float, note: str) -> dict[str, Any]:
    bare = float(subprocess.run([sys.executable, "-c", PEAK + BARE], capture_output=True, text=True, check=True).stdout)
    goal = {"better": "less", "value": 1_000}
    note = f"{note}; floor: a process with numpy and pyarrow"
    return {"value": peak, "unit": "MB", "floor": bare, "ratio": peak / bare, "note": note, "goal": goal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000 if QUICK else 1_000_000)
    parser.add_argument("--big", type=int, default=500_000 if QUICK else 10_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storage-") as name:
        found = {
            **importing(Path(name), args.rows),
            **storing(Path(name), args.rows),
            **asyncio.run(travelling(Path(name), args.rows)),
            **starting(Path(name), args.big),
        }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
