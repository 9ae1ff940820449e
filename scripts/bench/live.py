"""The live path against bare JetStream hops: real processes, one server, blocks of both in turns.

A candle is followed from the moment before the feed publishes it to the server's time stamp on what it led to:

- `decision`: feed, symbol, bot, account; four publishes, the last one is the account's order.
- `fill`: the next candle fills that order: feed, symbol, account; three publishes, the last one is the fill.

The yardstick is the same number of processes on the same server: each consumes with nats-py's ordered push consumer
under uvloop and publishes a message of the same size with ack, `JetStreamContext.publish`. Idle sides stay connected.

`python -m scripts.bench.live` prints one JSON object, with `throughput` in it; the options size the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats
import uvloop

from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.codec import Codec
from events.decision import Decision, Recorded
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from events.trading import Fill
from infra.config import Config, SessionSettings
from infra.services.nats import NatsServer
from infra.session.player import Player
from infra.session.run import Session, session
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.reader import ack_parts
from scripts.bench.throughput import BLOCKS, QUICK, started, throughput

START = 1_700_000_040_000_000
FEED, MARKET = subjects.feed("sim", "A"), subjects.market("sim", "A")
BOT, ACCOUNT = subjects.bot("b"), subjects.account("main")
HOPS = 4


class InAndOut(Strategy):
    """Long on every second candle, flat on the others: every candle makes a signal, an order and, next, a fill."""

    def __init__(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.seen += 1
        return Target(float(self.seen % 2))


def config(folder: Path) -> Config:
    return Config(
        data_dir=str(folder),
        session=SessionSettings(dashboard=False),
        symbols=(SymbolPlan(venue="sim", symbol="A"),),
        bots=(BotPlan(name="b", venue="sim", symbol="A", strategy="scripts.bench.live:InAndOut",
                      sizing=Sizing(method="quantity", value=Decimal(1))),),
        accounts=(AccountPlan(),),
    )  # fmt: skip


def candle(number: int) -> Decision:
    ts = START + number * MINUTE
    price = 100.0 + number % 7
    return observed(FEED, ts, Candle("sim", "A", "1m", ts, price, price + 1, price - 1, price + 0.5, 1000.0))


class Feed:
    """Publishes candles and remembers when, in µs of the wall clock, which the server stamps with as well."""

    def __init__(self, tape: JetStreamTape) -> None:
        self._player = Player(tape, None)
        self.sent: dict[str, float] = {}
        self.number = 0

    async def publish(self) -> None:
        self.number += 1
        message = candle(self.number)
        self.sent[message.id] = time.time_ns() / 1e3
        await self._player.publish(FEED, message)


class Bare:
    """The yardstick's feed; the other processes are `hop`s."""

    def __init__(self, client: nats.NATS, sizes: Sequence[int]) -> None:
        self._jetstream = client.jetstream()
        self._size = sizes[0]
        self.sent: dict[int, float] = {}

    async def publish(self) -> None:
        number = len(self.sent)
        body = b"%010d" % number + b"x" * (self._size - 10)
        self.sent[number] = time.time_ns() / 1e3
        await self._jetstream.publish("bare.0", body)


async def hop(url: str, place: int, size: int) -> None:
    """One process of the yardstick."""
    client = await nats.connect(url)
    jetstream = client.jetstream()

    async def forward(message: Any) -> None:
        await jetstream.publish(f"bare.{place}", message.data[:10] + b"x" * (size - 10))

    await jetstream.subscribe(f"bare.{place - 1}", cb=forward, ordered_consumer=True)
    await client.flush()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def hops(url: str, sizes: Sequence[int]) -> AbstractContextManager[None]:
    return started("scripts.bench.live", [[url, str(place), str(sizes[place])] for place in range(1, HOPS)])


async def paced(publish: Any, count: int, gap_s: float) -> None:
    """A candle's whole way ends well before the next one starts: latency, not throughput, is what is measured."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(count):
        await publish()
        due += gap_s
        await asyncio.sleep(max(0.0, due - loop.time()))


async def until_quiet(tape: JetStreamTape) -> None:
    end = -1
    while end != (end := await tape.end()):  # noqa: ASYNC110
        await asyncio.sleep(0.5)


async def sizes_of(tape: JetStreamTape) -> list[int]:
    """Bytes of the four messages on a candle's way."""
    codec, newest = Codec(), {}
    async for entry in tape.read():
        newest[entry.actor] = len(codec.encode(entry.decision))
    return [newest[actor] for actor in (FEED, MARKET, BOT, ACCOUNT)]


async def ours(tape: JetStreamTape, sent: dict[str, float], skip: int) -> dict[str, list[float]]:
    """µs from the feed's call to the server's stamp on the account's order, and on the fill."""
    took: dict[str, list[float]] = {"decision": [], "fill": []}
    started: dict[int, float] = {}
    number = 0
    async for entry in tape.read():
        cause = entry.decision.cause
        if entry.actor == FEED:
            number += 1
            if number > skip:
                started[entry.seq] = sent[entry.decision.id]
        elif cause in started:
            began = started[entry.seq] = started[cause]
            if entry.actor == ACCOUNT:
                took["fill" if _fills(entry) else "decision"].append(entry.known_at - began)
    return took


def _fills(entry: Recorded) -> bool:
    return any(isinstance(fact, Fill) for fact in entry.decision.facts)


async def bare(url: str, sent: dict[int, float], skip: int) -> dict[str, list[float]]:
    client = await nats.connect(url)
    took: dict[str, list[float]] = {"decision": [], "fill": []}
    try:
        for name, place in (("fill", HOPS - 2), ("decision", HOPS - 1)):
            messages = await client.jetstream().subscribe(f"bare.{place}", ordered_consumer=True)
            for _ in range(len(sent)):
                message = await messages.next_msg(timeout=5)
                number, stamped = int(message.data[:10]), ack_parts(message.reply)[2] / 1e3
                if number >= skip:
                    took[name].append(stamped - sent[number])
    finally:
        await client.close()
    return took


async def latency(candles: int, blocks: int, gap_s: float) -> dict[str, Any]:
    warm_up = 50
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder))
        # The floor is of a server without roles: what they cost is part of the ratio.
        async with session(settings, settings.plan()) as live, NatsServer(Path(folder) / "bare") as plain:
            feed = Feed(live.feeds)
            live.start()
            await _first_decision(live, feed)
            await paced(feed.publish, warm_up, gap_s)
            await until_quiet(live.tape)
            skip = feed.number
            sizes = await sizes_of(live.tape)
            url = plain.url
            client = await nats.connect(url)
            await client.jetstream().add_stream(name="bare", subjects=["bare.>"])
            yardstick = Bare(client, sizes)
            with hops(url, sizes):
                await paced(yardstick.publish, warm_up, gap_s)
                for _ in range(blocks):
                    await paced(feed.publish, candles, gap_s)
                    await paced(yardstick.publish, candles, gap_s)
                await until_quiet(live.tape)
            floor = await bare(url, yardstick.sent, warm_up)
            await client.close()
            found = await ours(live.tape, feed.sent, skip)
    return {**_compared("decision", HOPS, found, floor), **_compared("fill", HOPS - 1, found, floor)}


async def _first_decision(live: Session, feed: Feed) -> None:
    await feed.publish()
    while await live.tape.last_match(f"{BOT}.signal") == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _compared(
    name: str, publishes: int, found: dict[str, list[float]], floor: dict[str, list[float]]
) -> dict[str, Any]:
    result = {}
    for percent in (50, 99):
        value, bound = percentile(found[name], percent), percentile(floor[name], percent)
        result[f"candle_to_{name}_p{percent}"] = {
            "value": round(value), "unit": "us", "floor": round(bound), "ratio": round(value / bound, 2),
            "note": f"{publishes} publishes; {len(found[name])} candles; floor: as many bare JetStream hops",
        }  # fmt: skip
    return result


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(len(ordered) * percent / 100))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hop", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--candles", type=int, default=100, help="a block")
    parser.add_argument("--blocks", type=int, default=4 if QUICK else 15)
    parser.add_argument("--gap-ms", type=float, default=8.0)
    chosen = parser.parse_args()
    if chosen.hop:
        url, place, size = chosen.hop
        uvloop.run(hop(url, int(place), int(size)))
        return
    found = uvloop.run(latency(chosen.candles, chosen.blocks, chosen.gap_ms / 1e3))
    found |= uvloop.run(throughput(*BLOCKS))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
