"""`tape rebuild` of whole tapes into PostgreSQL, against reading the same tape and against copying the same rows.

Tapes, all made by the real deciders:

- `candles`: 25 symbols of noise, three timeframes, no bots: a message from the feed and one from the symbol a minute.
- `fills`: 20 bots that turn round every few minutes, with brackets: signals, verdicts, orders, fills.
- `session`: what `make run` leaves: 25 pairs from trades, books, heartbeats, outages, six bots.
- `session_from_bus`: the same from a JetStream tape instead of files.

A fact is one fact of a message; a candle block counts as its rows. Floors: `read`, the tape read and decoded, to
columns where it can be, and no more; `copy`, the rows that came of it by one binary COPY a table, into tables without
keys, as they lie in memory. The yardstick is the slower of the two: who reads and copies side by side cannot be faster.

`python -m scripts.bench.projection` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import nats
import numpy as np
import psycopg

from actors.plan import AccountPlan, BotPlan, Plan, Sizing, SymbolPlan
from events import subjects
from events.block import Columns
from events.codec import Codec
from events.fact import kind
from events.market import CandleBlock
from events.tape import Tape
from events.timeframe import MINUTE
from infra.backtest.engine import record
from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from infra.session.market import Stamped, candle_messages, merged
from infra.simulator.feed import stream
from infra.simulator.plan import default_plan
from infra.simulator.settings import SimulatorSettings
from infra.tapes.bus import EPOCH
from infra.tapes.file import FileTape
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.scan import warm
from projections.batches import BATCH, batched, no_collection
from projections.shell import rebuild
from projections.statements import BINARY, copy_in, quoted
from projections.tables import tables

START = 1_700_000_040_000_000
QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
ROUNDS = 1 if QUICK else 3
SIZE = 0.1 if QUICK else 1.0
IN_FLIGHT = 5_000
SAMPLE = 20_000  # facts
Recording = tuple[Plan, Iterator[Stamped]]


def noise(seed: int, rows: int, volatility: float) -> Columns:
    chance = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(chance.normal(0, volatility, rows))), 2)
    begin = np.concatenate(([100.0], close[:-1]))
    high = np.round(np.maximum(begin, close) * (1 + abs(chance.normal(0, volatility, rows))), 2)
    low = np.round(np.minimum(begin, close) * (1 - abs(chance.normal(0, volatility, rows))), 2)
    volume, count = np.round(chance.uniform(10, 1000, rows), 3), chance.integers(1, 500, rows)
    return Columns(START + MINUTE * np.arange(rows, dtype=np.int64), begin, high, low, close, volume, count)


def market(symbols: int, timeframes: tuple[str, ...], rows: int, volatility: float) -> tuple[Any, Iterator[Stamped]]:
    names = [f"S{number:02}-USDT" for number in range(symbols)]
    feeds = [candle_messages("sim", name, "1m", noise(n, rows, volatility)) for n, name in enumerate(names)]
    return tuple(SymbolPlan(venue="sim", symbol=name, timeframes=timeframes) for name in names), merged(feeds)


def candles() -> Recording:
    symbols, messages = market(25, ("5m", "1h"), int(4_000 * SIZE), 0.001)
    return Plan(symbols=symbols), messages


def fills() -> Recording:
    symbols, messages = market(5, (), int(3_000 * SIZE), 0.002)
    bots = tuple(
        BotPlan(name=f"bot{n}-{slow}", venue="sim", symbol=symbol.symbol, account=f"a{n}",
                params={"fast": 2, "slow": slow, "short": True, "stop_atr": 1.0, "target_atr": 1.5},
                sizing=Sizing(value=Decimal("0.05")))
        for n, symbol in enumerate(symbols) for slow in range(3, 7)
    )  # fmt: skip
    return Plan(symbols=symbols, bots=bots, accounts=tuple(AccountPlan(name=f"a{n}") for n in range(5))), messages


def session() -> Recording:
    settings = SimulatorSettings()
    messages = stream(settings, START - START % (15 * MINUTE))
    return default_plan(settings), islice(messages, int(60_000 * SIZE))


async def on_bus(url: str, tape: FileTape) -> JetStreamTape:
    """A file tape's messages on a stream, in the same order."""
    made, codec, sent = await JetStreamTape.connect(url, "session"), Codec(), 0
    client = await nats.connect(url)
    for entry in tape.scan():
        subject = subjects.subject(made.name, entry.actor, entry.decision.kind)
        await client.publish(subject, codec.encode(entry.decision), headers={EPOCH: "0"})
        sent += 1
        while sent % IN_FLIGHT == 0 and await made.end() < sent:
            await client.flush()
            await asyncio.sleep(0.01)
    await client.flush()
    while await made.end() < sent:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await client.close()
    return made


async def reading(tape: Tape) -> tuple[float, int]:
    """Seconds, and the facts that were read."""
    facts, began = 0, time.perf_counter()
    with no_collection():
        async for batch in batched(tape, 0, BATCH):
            facts += batch.weight
    return time.perf_counter() - began, facts


async def decoding(tape: Tape) -> float:
    """Facts a second of the codec alone, from memory to objects: of some thousand messages that are no blocks."""
    codec, bodies, facts = Codec(), list[bytes](), 0
    async with aclosing(batched(tape, 0, BATCH)) as batches:
        async for batch in batches:
            entries = [entry for entry in batch.entries() if entry.decision.kind != kind(CandleBlock)]
            bodies += [codec.encode(entry.decision) for entry in entries]
            facts += sum(len(entry.decision.facts) for entry in entries)
            if facts >= SAMPLE:
                break
    with no_collection():
        began = time.perf_counter()
        for body in bodies:
            codec.decode(body)
        return facts / (time.perf_counter() - began)


async def copying(dsn: str, schema: str) -> tuple[float, int]:
    """Seconds for all rows of a schema's tables into tables without keys, and how many these are."""
    took, rows = 0.0, 0
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare")
        for name, table in tables().items():
            source = quoted(schema, name)
            async with connection.cursor() as cursor:
                out = f"COPY {source} ({', '.join(table.columns)}) TO STDOUT ({BINARY})".encode()
                async with cursor.copy(out) as copy:
                    data = b"".join([bytes(piece) async for piece in copy])
                await cursor.execute(f"CREATE TABLE bare.{name} (LIKE {source})".encode())
                began = time.perf_counter()
                async with cursor.copy(copy_in(f"bare.{name}", table)) as copy:
                    await copy.write(data)
                took += time.perf_counter() - began
                rows += cursor.rowcount
    return took, rows


async def compared(dsn: str, tape: Tape, goal: float, stretch: float) -> dict[str, Any]:
    shares, rates, floors, notes = [], [], [], []
    for _ in range(ROUNDS):
        codec = await decoding(tape)
        read, facts = await reading(tape)
        began = time.process_time()
        report = await rebuild(dsn, tape, schema="bench")
        own = time.process_time() - began
        copy, rows = await copying(dsn, "bench")
        floor = max(read, copy)
        rates.append(facts / report.seconds)
        floors.append(facts / floor)
        shares.append(floor / report.seconds)
        notes.append((codec, facts / read, rows / copy, rows, own / facts * 1e6))
        if report.parked:
            raise ValueError(f"{report.parked} facts were parked")
    codec, read_rate, copy_rate, rows, own = (median(column) for column in zip(*notes, strict=True))
    note = (
        f"{report.entries:,} messages, {facts:,} facts, {rows:,.0f} rows; the codec alone {codec:,.0f} facts/s, "
        f"reading alone {read_rate:,.0f} facts/s, "
        f"copying alone {copy_rate:,.0f} rows/s; the projector's own processor time {own:.1f} us a fact"
    )
    return {
        "value": round(median(rates)), "unit": "facts/s", "floor": round(median(floors)),
        "ratio": round(median(shares), 3), "note": note,
        "goal": {"better": "more", "value": goal, "stretch_value": stretch},
    }  # fmt: skip


async def measured(folder: Path) -> dict[str, Any]:
    postgres, bus = PostgresServer(folder / "postgres"), NatsServer(folder / "nats")
    await postgres.start()
    await bus.start()
    found: dict[str, Any] = {}
    warm()  # as on any machine that has rebuilt a long tape before
    try:
        for name, recording in (("candles", candles()), ("fills", fills()), ("session", session())):
            tape = FileTape(folder / name, fsync="close")
            await record(*recording, tape)
            found[f"rebuild_{name}"] = await compared(postgres.dsn, tape, 150e3, 250e3)
            if name == "session":
                streamed = await on_bus(bus.url, tape)
                found["rebuild_session_from_bus"] = await compared(postgres.dsn, streamed, 150e3, 250e3)
                await streamed.close()
            await tape.close()
    finally:
        await bus.stop()
        await postgres.stop()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickertape-bench-") as folder:
        sys.stdout.write(json.dumps(asyncio.run(measured(Path(folder))), indent=1) + "\n")


if __name__ == "__main__":
    main()
