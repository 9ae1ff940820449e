"""What the live path is made of: the same four publishes, with one thing more at each rung, in turns.

- `bare`: nats-py's ordered push consumers and publishes with ack, on a server without roles (the yardstick of `live`).
- `tape`: the same hops with this system's tape: facts are decoded and encoded, appends name their place and id.
- `roles`: the same on a server with roles, each process as its own.
- `whole, no projector`: a session whose projector stands still meanwhile (SIGSTOP): deciders, and everybody who hears.
- `whole`: the session.

A leg is from one stamp of the server to the next; the first one begins at the feed's call.
`python -m scripts.bench.legs` prints one JSON object: µs at p50 and p99 of each rung, by leg and in all.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import msgspec
import nats
import uvloop

from events.codec import Codec
from events.decision import Decision, Recorded, derived
from infra.services.embedded import embedded
from infra.services.nats import NatsServer
from infra.session.run import session
from infra.tapes.access import NOBODY, Access
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.reader import ack_parts
from scripts.bench import live
from scripts.bench.live import ACCOUNT, BOT, FEED, HOPS, MARKET, candle, config, paced, percentile, until_quiet
from scripts.bench.throughput import started
from scripts.parity import descendants

ACTORS = (FEED, MARKET, BOT, ACCOUNT)
ROLES = ("feed", "symbol", "bot", "account")
TAPE = "hops"
WARM_UP = 50

Stamps = list[list[float]]
"""A row a candle: the feed's call, then the server's stamps on the four messages, µs."""


async def tape_hop(url: str, place: int, access: Access, said: Decision) -> None:
    """One process of `tape` and `roles`: it answers each message with the same facts."""
    tape = await JetStreamTape.connect(url, TAPE, create=False, access=access)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    actor, last = ACTORS[place], 0
    async for entry in tape.follow([f"{ACTORS[place - 1]}.>"]):
        last = await tape.append(actor, derived(actor, entry, said.facts), expected=last)


def hops(url: str, access: Callable[[str], Access], said: Sequence[Decision]) -> AbstractContextManager[None]:
    codec = Codec()
    lines = [
        [url, str(place), msgspec.json.encode(access(ROLES[place])).decode(), codec.encode(said[place]).decode()]
        for place in range(1, HOPS)
    ]
    return started("scripts.bench.legs", lines)


class Hops:
    """The feed of `tape` and `roles`."""

    def __init__(self, tape: JetStreamTape) -> None:
        self.tape, self.number, self.last = tape, 0, 0
        self.sent: list[float] = []

    async def publish(self) -> None:
        self.number += 1
        message = candle(self.number)
        self.sent.append(time.time_ns() / 1e3)
        self.last = await self.tape.append(FEED, message, expected=self.last)

    async def stamps(self) -> Stamps:
        found: Stamps = [[sent] for sent in self.sent]
        at: dict[int, int] = {}
        number = 0
        async for entry in self.tape.read():
            at[entry.seq] = row = at[entry.decision.cause] if entry.actor != FEED else number
            number += entry.actor == FEED
            found[row].append(entry.known_at)
        return found


async def bare_stamps(url: str, sent: dict[int, float]) -> Stamps:
    client = await nats.connect(url)
    found: Stamps = [[at] for at in sent.values()]
    try:
        for place in range(HOPS):
            messages = await client.jetstream().subscribe(f"bare.{place}", ordered_consumer=True)
            for _ in range(len(sent)):
                message = await messages.next_msg(timeout=5)
                found[int(message.data[:10])].append(ack_parts(message.reply)[2] / 1e3)
    finally:
        await client.close()
    return found


async def whole_stamps(tape: JetStreamTape, sent: dict[str, float]) -> dict[int, list[float]]:
    """By the number of the candle."""
    found: dict[int, list[float]] = {}
    number, at = 0, dict[int, tuple[int, int]]()  # the candle's number, and which of the legs
    async for entry in tape.read():
        if entry.actor == FEED:
            number += 1
            at[entry.seq], found[number] = (number, 0), [sent[entry.decision.id], entry.known_at]
        elif entry.decision.cause in at:
            row, leg = at[entry.decision.cause]
            if (
                leg + 1 < HOPS and entry.actor == ACTORS[leg + 1]
            ):  # a fill answers the market's message, as the signal does
                at[entry.seq] = row, leg + 1
                found[row].append(entry.known_at)
    return found


def projector() -> int:
    """Its pid."""
    for one in descendants(os.getpid()):
        if b"Projector" in Path(f"/proc/{one}/cmdline").read_bytes():
            return one
    raise RuntimeError("there is no process of the projector")


async def samples_of(tape: JetStreamTape) -> list[Decision]:
    newest: dict[str, Recorded] = {}
    async for entry in tape.read():
        newest[entry.actor] = entry
    return [newest[actor].decision for actor in ACTORS]


async def measured(candles: int, blocks: int, gap_s: float) -> dict[str, Any]:
    async with AsyncExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        settings = config(folder / "session")
        running = await held.enter_async_context(session(settings, settings.plan()))
        own = await held.enter_async_context(embedded(folder / "roles", tape=TAPE))
        plain = [await held.enter_async_context(NatsServer(folder / name)) for name in ("bare", "tape")]
        feed = live.Feed(running.feeds)
        running.start()
        await live._first_decision(running, feed)
        await paced(feed.publish, WARM_UP, gap_s)
        await until_quiet(running.tape)
        said = await samples_of(running.tape)
        sizes = await live.sizes_of(running.tape)
        client = await nats.connect(plain[0].url)
        held.push_async_callback(client.close)
        await client.jetstream().add_stream(name="bare", subjects=["bare.>"])
        bare = live.Bare(client, sizes)
        bound = await JetStreamTape.connect(plain[1].url, TAPE)
        first = await JetStreamTape.connect(own.nats, TAPE, access=own.access("session"))
        roles = await JetStreamTape.connect(own.nats, TAPE, create=False, access=own.access("feed"))
        for tape in (bound, first, roles):
            held.push_async_callback(tape.close)
        with ExitStack() as children:
            children.enter_context(live.hops(plain[0].url, sizes))
            children.enter_context(hops(plain[1].url, lambda _: NOBODY, said))
            children.enter_context(hops(own.nats, own.access, said))
            one, two = Hops(bound), Hops(roles)
            stopped = projector()
            still: set[int] = set()
            rungs: list[Callable[[], Awaitable[None]]] = [bare.publish, one.publish, two.publish, feed.publish]
            for publish in rungs[:3]:
                await paced(publish, WARM_UP, gap_s)
            skip = feed.number
            for _ in range(blocks):
                for publish in rungs:
                    await paced(publish, candles, gap_s)
                before = feed.number
                os.kill(stopped, signal.SIGSTOP)
                try:
                    await paced(feed.publish, candles, gap_s)
                finally:
                    os.kill(stopped, signal.SIGCONT)
                still |= set(range(before + 1, feed.number + 1))
                await until_quiet(running.tape)
        whole = await whole_stamps(running.tape, feed.sent)
        late = {number: row for number, row in whole.items() if number > skip}
        found = {
            "bare": (await bare_stamps(plain[0].url, bare.sent))[WARM_UP:],
            "tape": (await one.stamps())[WARM_UP:],
            "roles": (await two.stamps())[WARM_UP:],
            "whole, no projector": [row for number, row in late.items() if number in still],
            "whole": [row for number, row in late.items() if number not in still],
        }
    return {name: legs(rows) for name, rows in found.items()}


def legs(rows: Stamps) -> dict[str, Any]:
    """Rows that came to a decision."""
    through = [row for row in rows if len(row) == HOPS + 1]
    if len(through) < len(rows) / 2:
        raise RuntimeError(f"only {len(through)} of {len(rows)} candles came to their end")
    found: dict[str, Any] = {"candles": len(through)}
    for place, name in enumerate(ROLES):
        found[name] = round(statistics.median(row[place + 1] - row[place] for row in through))
    for percent in (50, 99):
        found[f"p{percent}"] = round(percentile([row[-1] - row[0] for row in through], percent))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hop", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--candles", type=int, default=100, help="a block")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--gap-ms", type=float, default=8.0)
    chosen = parser.parse_args()
    if chosen.hop:
        url, place, access, said = chosen.hop
        known = Codec().decode(said.encode())
        uvloop.run(tape_hop(url, int(place), msgspec.json.decode(access, type=Access), known))
        return
    found = uvloop.run(measured(chosen.candles, chosen.blocks, chosen.gap_ms / 1e3))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
