"""Messages a second from the feed to the projection, unthrottled, beside bare publishers and consumers.

Ours: a session with one process of symbols, one of bots, one of the account, and the projector, real services; every
candle leads to a decision of its symbol and a signal, signals to orders and fills. The clock runs from the first
candle's call until the projector has committed what the last one led to.

The yardstick: as many processes, the same sizes, on the same server at another time: the feed publishes, two processes
consume and publish one message for each, a third two, a sixth consumes all; uvloop, nats-py's ordered push consumers,
publishes with ack, as many at once as there are symbols. Nothing is guarded, decided, or written into a database.

`python -m scripts.bench.live` runs this too; `python -m scripts.bench.throughput` prints this alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats
import uvloop

from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from events.codec import Codec
from infra.config import Config, SessionSettings
from infra.services.nats import NatsServer
from infra.session.player import Player
from infra.session.run import Session, session
from infra.tapes.jetstream import JetStreamTape
from scripts.bench.packing import candle

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
SYMBOLS = tuple(f"S{number}" for number in range(10))
BLOCKS = (50, 2) if QUICK else (150, 5)
"""Minutes a block, and blocks of each."""

WARM_UP = 5
POLL_S = 0.05
PATIENCE_S = 120.0


def config(folder: Path) -> Config:
    return Config(
        data_dir=str(folder),
        session=SessionSettings(dashboard=False, processes=3),
        symbols=tuple(SymbolPlan(venue="sim", symbol=name) for name in SYMBOLS),
        bots=tuple(
            BotPlan(name=name.lower(), venue="sim", symbol=name, strategy="scripts.bench.live:InAndOut",
                    sizing=Sizing(method="quantity", value=Decimal(1)))
            for name in SYMBOLS
        ),
        accounts=(AccountPlan(cash=Decimal(10**9)),),
    )  # fmt: skip


async def side_by_side(each: Callable[[str], Awaitable[None]]) -> None:
    """Every symbol's messages in order, one at a time; the symbols at once."""
    await asyncio.gather(*(each(name) for name in SYMBOLS))


async def ours(live: Session, first: int, minutes: int) -> float:
    """Messages a second, from the first candle's call until everybody has dealt with the last one."""
    player = Player(live.feeds, None)
    messages = {name: [candle(name, first + number) for number in range(minutes)] for name in SYMBOLS}
    before = await live.tape.end()

    async def feed(name: str) -> None:
        for actor, message in messages[name]:
            await player.publish(actor, message)

    began = time.perf_counter()
    await side_by_side(feed)
    while not await live.settled():  # noqa: ASYNC110 - processes are asked
        await asyncio.sleep(POLL_S)
    return (await live.tape.end() - before) / (time.perf_counter() - began)


async def hop(url: str, step: int, sizes: Sequence[int]) -> None:
    """A process of the yardstick: what it consumes, and the sizes of what it publishes for each."""
    client = await nats.connect(url)
    jetstream, places = client.jetstream(), asyncio.Semaphore(len(SYMBOLS))
    tasks: set[asyncio.Task[None]] = set()

    async def publish(body: bytes) -> None:
        for number, size in enumerate(sizes):
            await jetstream.publish(f"bare.{step}.{number}", body[:10] + b"x" * (size - 10))
        places.release()

    async def forward(message: Any) -> None:
        await places.acquire()
        task = asyncio.ensure_future(publish(message.data))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await jetstream.subscribe(f"bare.{step - 1}.*", cb=forward, ordered_consumer=True)
    await client.flush()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@contextmanager
def started(module: str, arguments: Sequence[Sequence[str]]) -> Iterator[None]:
    """Processes of a yardstick, `module --hop ARGUMENTS` each, while the block lasts; all of them have said `ready`."""
    children = []
    try:
        for own in arguments:
            children.append(subprocess.Popen([sys.executable, "-m", module, "--hop", *own], stdout=subprocess.PIPE))
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def hops(url: str, sizes: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
    lines = [[url, str(step), *map(str, own)] for step, own in enumerate(sizes) if step]
    return started("scripts.bench.throughput", lines)


async def bare(client: nats.NATS, sizes: Sequence[Sequence[int]], minutes: int) -> float:
    """Messages a second, from the first publish until the last message has been consumed."""
    jetstream = client.jetstream()
    await jetstream.purge_stream("bare")
    count = minutes * len(SYMBOLS) * sum(len(own) for own in sizes)
    seen, over = 0, asyncio.Event()

    async def consume(_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            over.set()

    watching = await jetstream.subscribe("bare.>", cb=consume, ordered_consumer=True)

    async def feed(name: str) -> None:
        for number in range(minutes):
            await jetstream.publish("bare.0.0", b"%010d" % number + b"x" * (sizes[0][0] - 10))

    began = time.perf_counter()
    await side_by_side(feed)
    async with asyncio.timeout(PATIENCE_S):
        await over.wait()
    took = time.perf_counter() - began
    await watching.unsubscribe()
    return count / took


async def sizes_of(tape: JetStreamTape) -> list[list[int]]:
    """Bytes of a candle; of the decision on it; of a signal; of an order and a fill."""
    codec, newest = Codec(), {}
    async for entry in tape.read(["feed.>", "market.>", "bot.>", "account.>"]):
        newest[entry.actor.partition(".")[0], entry.decision.kind] = len(codec.encode(entry.decision))
    account = [newest["account", "order-placed"], newest["account", "fill"]]
    return [[newest["feed", "candle"]], [newest["market", "candle"]], [newest["bot", "signal"]], account]


async def throughput(minutes: int, blocks: int) -> dict[str, Any]:
    rates: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder))
        async with session(settings, settings.plan()) as live, NatsServer(Path(folder) / "bare") as plain:
            live.start()
            for number in range(WARM_UP):  # one by one, so that each minute's orders are filled in the next
                await ours(live, 1 + number, 1)
            sizes = await sizes_of(live.tape)
            client = await nats.connect(plain.url)
            await client.jetstream().add_stream(name="bare", subjects=["bare.>"])
            with hops(plain.url, sizes):
                await bare(client, sizes, WARM_UP)
                for block in range(blocks):
                    mine = await ours(live, 1 + WARM_UP + block * minutes, minutes)
                    rates.append((mine, await bare(client, sizes, minutes)))
            await client.close()
    ratio = statistics.median(mine / floor for mine, floor in rates)
    value, floor = (statistics.median(column) for column in zip(*rates, strict=True))
    return {
        "throughput": {
            "value": round(value), "unit": "messages/s", "floor": round(floor), "ratio": round(ratio, 2),
            "note": f"feed to projection, {len(SYMBOLS)} symbols, {blocks} blocks of {minutes} minutes in turns",
            "goal": {"better": "more", "ratio": 0.5},
        }
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hop", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=int, default=BLOCKS[0], help="a block")
    parser.add_argument("--blocks", type=int, default=BLOCKS[1])
    chosen = parser.parse_args()
    if chosen.hop:
        url, step, *sizes = chosen.hop
        uvloop.run(hop(url, int(step), [*map(int, sizes)]))
        return
    sys.stdout.write(json.dumps(uvloop.run(throughput(chosen.minutes, chosen.blocks)), indent=1) + "\n")


if __name__ == "__main__":
    main()
