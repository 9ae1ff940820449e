"""Mutated messages onto a real bus, among sound ones, under actors and projections at work."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from psycopg.conninfo import conninfo_to_dict

from events import subjects
from events.codec import Codec
from events.control import Unreadable
from events.decision import Decision
from infra.session.opening import record_plan
from infra.session.player import Player
from infra.tapes.client import Delivery
from infra.tapes.jetstream import JetStreamTape
from scripts.fuzz.child import Child, act, project
from scripts.fuzz.corpus import Mutant
from scripts.fuzz.market import Market, plan
from scripts.fuzz.mutants import Mutator
from scripts.fuzz.watch import Sample, Watch, server_of

TAPE = "fuzz"
AT_ONCE = 256  # messages on their way to the server
AT_A_TIME = 64  # of them in one write
_LARGE = 100_000  # bytes of a message that goes alone
CAREFUL_EVERY = 10  # seconds: one of them is published as a session does
_ANSWER_S = 60.0  # a server that is busy with others answers later, but not by that much
LAG_MAX = 5_000  # messages the actors may be behind, so that stamps are judged soon after they were made
_SAMPLE_S = 5.0
_REST_S = 90.0  # after a long run: by then a server has let go of what it keeps of messages that were read lately
_LONG = 100_000  # facts
_END_S = 900.0  # for the actors and the projector to reach the end: ample, for a hang is what is looked for


class Sent(msgspec.Struct):
    """What was published: by kind, how many facts; by message, its sequence and the start of the hash of its bytes."""

    messages: int = 0
    facts: int = 0
    good: int = 0
    by_kind: Counter[str] = msgspec.field(default_factory=Counter)
    unreadable_by_kind: Counter[str] = msgspec.field(default_factory=Counter)
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    seqs: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    hashes: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    unreadable: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    slowest_us: int = 0
    slowest: str = ""


class Run(msgspec.Struct):
    sent: Sent
    samples: list[Sample]
    took_s: float
    alive: bool
    caught_up: bool


def hash_of(body: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big")


class Stranger:
    """Publishes mutants, many on their way at once, and takes note of each sequence."""

    def __init__(self, tape: JetStreamTape, sent: Sent) -> None:
        self._tape, self._sent = tape, sent
        self._codec = Codec()
        self._inbox = tape.client.new_inbox()
        self._waiting: dict[str, tuple[int, bool] | None] = {}  # of a mutant: its hash, and whether it is no fact
        self._lines: list[bytes] = []
        self._number = 0
        self._room = asyncio.Event()

    async def begin(self) -> None:
        await self._tape.client.subscribe_directly(f"{self._inbox}.*", self._answered)

    async def say(self, mutant: Mutant) -> None:
        subject = f"{self._tape.name}.{mutant.actor}.{mutant.kind}"
        began = time.thread_time()  # of the processor: others are at work on it
        found = self._codec.decode_or_unreadable(subject, mutant.body)
        took = int((time.thread_time() - began) * 1e6)
        sent = self._sent
        if took > sent.slowest_us:
            sent.slowest_us, sent.slowest = took, f"{mutant.how}, {len(mutant.body)} bytes"
        sent.messages += 1
        sent.facts += mutant.facts
        sent.by_kind[mutant.how] += mutant.facts
        unreadable = isinstance(found.facts[0], Unreadable)
        if unreadable:
            sent.unreadable_by_kind[mutant.how] += mutant.facts
        size = len(mutant.headers) + len(mutant.body)
        if size > self._tape.client.max_payload:
            sent.refused["larger than the server takes"] += 1
            return
        self._put(subject, mutant.headers, mutant.body, (hash_of(mutant.body), unreadable))
        if len(self._lines) >= AT_A_TIME or size > _LARGE:
            await self.send()

    def say_soundly(self, actor: str, message: Decision) -> None:
        """As a feed does that does not look who else writes on it."""
        self._put(f"{self._tape.name}.{actor}.{message.kind}", b"", self._codec.encode(message), None)

    def _put(self, subject: str, headers: bytes, body: bytes, note: tuple[int, bool] | None) -> None:
        self._number += 1
        self._waiting[str(self._number)] = note
        sizes = f"{len(headers)} {len(headers) + len(body)}" if headers else f"{len(body)}"
        verb = "HPUB" if headers else "PUB"
        line = f"{verb} {subject} {self._inbox}.{self._number} {sizes}\r\n".encode(errors="surrogateescape")
        self._lines.append(b"".join((line, headers, body, b"\r\n")))

    async def send(self) -> None:
        """What was said and is not on its way yet; waits for room first."""
        await self._come_down_to(AT_ONCE)
        lines, self._lines = self._lines, []
        await self._tape.client.publish_lines(lines)

    async def _come_down_to(self, count: int) -> None:
        while len(self._waiting) - len(self._lines) > count:
            self._room.clear()
            async with asyncio.timeout(_ANSWER_S):
                await self._room.wait()

    async def end(self) -> None:
        await self.send()
        try:
            await self._come_down_to(0)
        except TimeoutError:
            self._sent.refused["no answer"] += len(self._waiting)

    def _answered(self, answer: Delivery) -> None:
        found = self._waiting.pop(answer.subject.rpartition(".")[2], None)
        self._room.set()
        ack = msgspec.json.decode(answer.data) if answer.data else {"error": {"description": answer.headers.decode()}}
        if "error" in ack:
            self._sent.refused[str(ack["error"]["description"])] += 1
            return
        if found is None:
            return
        digest, unreadable = found
        self._sent.seqs.append(ack["seq"])
        self._sent.hashes.append(digest)
        if unreadable:
            self._sent.unreadable.append(ack["seq"])


def _progress(folder: Path, began: float, sent: Sent, actors: Child, projector: Child) -> None:
    with (folder / "progress.log").open("a") as log:
        took = time.monotonic() - began
        newest = sent.seqs[-1] if sent.seqs else 0
        log.write(f"{took:.0f} s: {sent.facts} facts, at {newest}, actors {actors.at}, projector {projector.at}\n")


async def play(folder: Path, url: str, dsn: str, count: int, seed: int, most_s: float) -> Run:
    """Publishes `count` mutated facts, or for `most_s` seconds, among sound ones in step with the clock."""
    tape = await JetStreamTape.connect(url, TAPE)
    await record_plan(tape, plan(), time.time_ns() // 1000)
    actors = Child("actors", act, folder, url, TAPE, plan())
    projector = Child("projector", project, folder, url, TAPE, dsn)
    try:
        bus, database = urlsplit(url).port or 0, int(conninfo_to_dict(dsn).get("port") or 0)
        processes = {"actors": actors.pid, "projector": projector.pid, "bus": server_of(bus), "this": os.getpid()}
        watch = Watch(processes, {"database": server_of(database)})
        return await _played(folder, tape, actors, projector, watch, count, seed, most_s)
    finally:
        actors.stop()
        projector.stop()
        await tape.close()


async def _played(
    folder: Path,
    tape: JetStreamTape,
    actors: Child,
    projector: Child,
    watch: Watch,
    count: int,
    seed: int,
    most_s: float,
) -> Run:
    sent, mutator = Sent(), Mutator(seed)
    market, player, stranger = Market(seed, time.time_ns() // 1000), Player(tape, None), Stranger(tape, sent)
    await stranger.begin()
    for actor, message in market.opening():
        await player.publish(actor, message)
    while not actors.at and actors.alive:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    began, sampled = time.monotonic(), 0.0
    while sent.facts < count and actors.alive and projector.alive and time.monotonic() - began < most_s:
        now = time.time_ns() // 1000
        while market.ts + 1_000_000 <= now:
            sent.good += await _said(market, player, stranger)
        mutator.now = market.ts
        for _ in range(AT_A_TIME):
            await stranger.say(mutator.next())
        if time.monotonic() - began > sampled:
            sampled += _SAMPLE_S
            watch.look(sent.facts)
            _progress(folder, began, sent, actors, projector)
        while sent.seqs and max(sent.seqs[-AT_ONCE:]) - actors.at > LAG_MAX and actors.alive:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await stranger.end()
    took = time.monotonic() - began
    caught_up = await _ended(tape, actors, projector)
    watch.look(sent.facts)
    if sent.facts >= _LONG:
        await asyncio.sleep(_REST_S)
        watch.look(sent.facts)
    return Run(sent, watch.samples, took, actors.alive and projector.alive, caught_up)


async def _said(market: Market, player: Player, stranger: Stranger) -> int:
    """The next second: now and then by what writes with expectations, and has to read up on what strangers wrote."""
    careful, said = market.ts // 1_000_000 % CAREFUL_EVERY == 0, list(market.second())
    for actor, message in said:
        if careful:
            await stranger.send()
            await player.publish(actor, message)
        else:
            stranger.say_soundly(actor, message)
    return len(said)


async def _ended(tape: JetStreamTape, actors: Child, projector: Child) -> bool:
    """Whether both have dealt with all there is."""
    deadline, still, end = time.monotonic() + _END_S, 0, 0
    while time.monotonic() < deadline and actors.alive and projector.alive:
        before, end = end, await tape.end()
        heard = await tape.last_match(f"{subjects.COMMAND}.>")
        feeds = [await tape.last_match(f"{subjects.feed(one.venue, one.symbol)}.>") for one in plan().symbols]
        there = projector.at >= end and actors.at >= max(heard, *feeds)
        still = still + 1 if there and end == before else 0
        if still >= 3:
            return True
        await asyncio.sleep(0.2)
    return False
