"""The archive: messages a second sealed, proven, restored and dropped, beside the same work done barely.

`python -m scripts.bench.archive` prints one JSON object. Works that are compared take turns; medians of `ROUNDS`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nats
import pyarrow as pa
import pyarrow.parquet as pq

from infra.archive.check import check
from infra.archive.export import export
from infra.archive.place import Place
from infra.archive.restore import restore
from infra.archive.retain import retain
from infra.services.nats import NatsServer
from infra.tapes.jetstream import JetStreamTape

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
ROUNDS = 1 if QUICK else 3
MESSAGES = 20_000 if QUICK else 200_000
WINDOW = 1_000


def quiet(_: int) -> None:
    pass


def bodies(count: int) -> list[tuple[str, bytes]]:
    """(subject below the tape, body) of candles and the signals that follow them, as a session of ten symbols has."""
    chance, found, price = random.Random(1), [], 100.0
    for number in range(count):
        made, ts, symbol = f"{chance.getrandbits(128):032x}", 1_700_000_040_000_000 + number * 1_000_000, number % 10
        price *= 1 + chance.gauss(0, 0.001)
        if number % 2:
            fact = {"type": "signal/1", "bot": f"ema{symbol}", "venue": "sim", "symbol": f"S{symbol}-USDT",
                    "target": str(number % 3), "confidence": 1.0, "reasons": ["ema 10 above 20"]}  # fmt: skip
            where = f"bot.ema{symbol}.signal"
        else:
            fact = {"type": "candle/1", "venue": "sim", "symbol": f"S{symbol}-USDT", "timeframe": "1m", "ts": ts,
                    "open": price, "high": price * 1.001, "low": price * 0.999, "close": price,
                    "volume": chance.random() * 100, "trades": number}  # fmt: skip
            where = f"market.sim.S{symbol}-USDT.candle"
        body = {"id": made, "cause": number, "by": f"{chance.getrandbits(128):032x}", "ts": ts, "facts": [fact]}
        found.append((where, json.dumps(body, separators=(",", ":")).encode()))
    return found


async def bare_publish(url: str, name: str, messages: list[tuple[str, bytes]]) -> float:
    """Seconds for the same messages with nats-py alone, a thousand on their way at a time."""
    client = await nats.connect(url)
    stream = client.jetstream()
    headers = {"Tape-Epoch": "1"}
    begun = time.perf_counter()
    for start in range(0, len(messages), WINDOW):
        await asyncio.gather(
            *(
                stream.publish(f"{name}.{where}", body, headers=dict(headers))
                for where, body in messages[start : start + WINDOW]
            )
        )
    took = time.perf_counter() - begun
    await client.close()
    return took


async def bare_read_and_write(url: str, name: str, count: int, path: Path) -> tuple[float, float]:
    """Seconds of nats-py's ordered consumer over the stream, and of Arrow writing subjects and bodies."""
    client = await nats.connect(url)
    found = await client.jetstream().subscribe(f"{name}.>", ordered_consumer=True)
    begun, subjects, data = time.perf_counter(), [], []
    for _ in range(count):
        message = await found.next_msg(timeout=10)  # all are there: only a dead server takes that long
        subjects.append(message.subject)
        data.append(message.data)
    read = time.perf_counter() - begun
    await client.close()
    begun = time.perf_counter()
    table = pa.table({"subject": subjects, "body": pa.array(data, pa.binary())})
    pq.write_table(table, path, compression="zstd", use_dictionary=["subject"], row_group_size=16_384)
    return read, time.perf_counter() - begun


def bare_check(place: Place) -> float:
    """Seconds for Arrow to read the columns of all parts into Python, and for a hash over the files."""
    begun = time.perf_counter()
    for part in place.parts():
        with place.trusted(part) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches(2_048, use_threads=False):
                batch.to_pydict()
    return time.perf_counter() - begun


async def _round(url: str, folder: Path, messages: list[tuple[str, bytes]]) -> dict[str, float]:
    name, count, found = f"t{time.monotonic_ns()}", len(messages), {}
    tape = await JetStreamTape.connect(url, name)
    found["publish"] = await bare_publish(url, name, messages)
    read, write = await bare_read_and_write(url, name, count, folder / "bare.parquet")
    found["bare_export"] = read + write
    place = Place(str(folder / name), name)
    begun = time.perf_counter()
    await export(tape, place, quiet)
    found["export"] = time.perf_counter() - begun
    found["bytes"] = sum(part.size for part in place.parts()) / count
    begun = time.perf_counter()
    await check(place, None, quiet)
    found["check"] = time.perf_counter() - begun
    found["bare_check"] = bare_check(place)
    begun = time.perf_counter()
    await check(place, tape, quiet)
    found["compare"] = time.perf_counter() - begun
    begun = time.perf_counter()
    entries = sum([1 async for _ in tape.read()])
    found["read_stream"] = (time.perf_counter() - begun) / entries * count
    done = await retain(tape, place, count, quiet)
    begun = time.perf_counter()
    entries = sum([1 async for _ in tape.read()])
    found["read_joined"] = (time.perf_counter() - begun) / entries * count
    assert done.dropped
    await tape.bus.ask(f"STREAM.DELETE.{name}")
    await tape.close()
    begun = time.perf_counter()
    await restore(url, place, 1, quiet)
    found["restore"] = time.perf_counter() - begun
    found["peak_mb"] = _peak(url, name, folder / "again")
    return found


def _peak(url: str, name: str, folder: Path) -> float:
    """The largest resident set of an export in a process of its own, in MB."""
    command = [sys.executable, "-m", "scripts.bench.archive", "--child", url, name, str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _child(url: str, name: str, folder: str) -> None:
    tape = await JetStreamTape.connect(url, name, create=False)
    await export(tape, Place(folder, name), quiet)
    await tape.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # noqa: T201


async def measure() -> dict[str, Any]:
    messages = bodies(MESSAGES)
    with tempfile.TemporaryDirectory() as folder:
        async with NatsServer(Path(folder) / "nats") as bus:
            rounds = [await _round(bus.url, Path(folder), messages) for _ in range(ROUNDS)]
    s = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    return {
        "archive_export": _entry(s["export"], s["bare_export"],
            "stream to sealed Parquet; floor: nats-py's ordered consumer, then Arrow writing subject and body"),
        "archive_check": _entry(s["check"], s["bare_check"],
            "every message hashed; floor: Arrow reading the columns into Python, and a hash over the files"),
        "archive_compare": _entry(s["compare"], s["bare_check"], "the same, and each compared with the stream"),
        "archive_restore": _entry(s["restore"], s["publish"],
            "sealed Parquet to a stream, every message proven; floor: nats-py publishing them, 1,000 on their way"),
        "archive_read": _entry(s["read_joined"], s["read_stream"],
            "a tape read where all but the last thousand messages stand in the archive; floor: all on the stream"),
        "archive_size": {"value": s["bytes"], "unit": "bytes/message",
                         "note": f"bodies: {sum(len(body) for _, body in messages) / MESSAGES:.0f} bytes"},
        "archive_peak": {"value": s["peak_mb"], "unit": "MB", "note": f"export of {MESSAGES:,} messages, one process"},
    }  # fmt: skip


def _entry(ours: float, floor: float, note: str) -> dict[str, Any]:
    rate, bare = MESSAGES / ours, MESSAGES / floor
    return {"value": rate, "unit": "messages/s", "floor": bare, "ratio": rate / bare, "note": note}


if __name__ == "__main__":
    if "--child" in sys.argv:
        asyncio.run(_child(*sys.argv[2:]))
    else:
        print(json.dumps(asyncio.run(measure()), indent=1))  # noqa: T201
