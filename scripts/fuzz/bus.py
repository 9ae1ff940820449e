"""Mutated messages onto a real bus, among sound ones, under actors and projections at work."""

from __future__ import annotations

import asyncio
import hashlib
import time
from array import array
from collections import Counter
from pathlib import Path

import msgspec

from events import subjects
from events.codec import Codec
from events.control import Unreadable
from infra.session.opening import record_plan
from infra.session.player import Player
from infra.tapes.jetstream import JetStreamTape
from scripts.fuzz.child import Child, act, project
from scripts.fuzz.market import Market, plan
from scripts.fuzz.mutants import Mutant, Mutator

TAPE = "fuzz"
AT_ONCE = 64  # messages on their way to the server
LAG_MAX = 5_000  # messages the actors may be behind, so that stamps are judged soon after they were made
_SAMPLE_S = 2.0
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


class Sample(msgspec.Struct, frozen=True):
    """Resident memory in kB at a time in seconds after the start."""

    at_s: float
    facts: int
    actors: int
    projector: int
    server: int


class Run(msgspec.Struct):
    sent: Sent
    samples: list[Sample]
    took_s: float
    alive: bool
    caught_up: bool


def hash_of(body: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big")


class Stranger:
    """Publishes mutants, and takes note of each sequence."""

    def __init__(self, tape: JetStreamTape, sent: Sent) -> None:
        self._tape, self._sent = tape, sent
        self._codec = Codec()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def say(self, mutant: Mutant, pending: set[asyncio.Task[None]]) -> None:
        subject = subjects.subject(self._tape.name, mutant.actor, mutant.kind)
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
        await self._places.acquire()
        task = asyncio.create_task(self._publish(subject, mutant, unreadable))
        pending.add(task)
        task.add_done_callback(pending.discard)

    async def _publish(self, subject: str, mutant: Mutant, unreadable: bool) -> None:
        try:
            answer = await self._tape.client.ask_directly(subject, mutant.headers, mutant.body, 60.0)
            ack = msgspec.json.decode(answer.data)
            if "error" in ack:
                self._sent.refused[str(ack["error"]["description"])] += 1
                return
            self._sent.seqs.append(ack["seq"])
            self._sent.hashes.append(hash_of(mutant.body))
            if unreadable:
                self._sent.unreadable.append(ack["seq"])
        except Exception as error:
            self._sent.refused[type(error).__name__] += 1
        finally:
            self._places.release()


def resident_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def _progress(folder: Path, began: float, sent: Sent, actors: Child, projector: Child) -> None:
    with (folder / "progress.log").open("a") as log:
        took = time.monotonic() - began
        newest = sent.seqs[-1] if sent.seqs else 0
        log.write(f"{took:.0f} s: {sent.facts} facts, at {newest}, actors {actors.at}, projector {projector.at}\n")


async def play(folder: Path, url: str, dsn: str, count: int, seed: int, server: int, most_s: float) -> Run:
    """Publishes `count` mutated facts, or for `most_s` seconds, among sound ones in step with the clock.

    `server`: the bus's process id.
    """
    tape = await JetStreamTape.connect(url, TAPE)
    await record_plan(tape, plan(), time.time_ns() // 1000)
    actors = Child("actors", act, folder, url, TAPE, plan())
    projector = Child("projector", project, folder, url, TAPE, dsn)
    try:
        return await _played(folder, tape, actors, projector, count, seed, server, most_s)
    finally:
        actors.stop()
        projector.stop()
        await tape.close()


async def _played(
    folder: Path,
    tape: JetStreamTape,
    actors: Child,
    projector: Child,
    count: int,
    seed: int,
    server: int,
    most_s: float,
) -> Run:
    sent, samples, mutator = Sent(), list[Sample](), Mutator(seed)
    market, player, stranger = Market(seed, time.time_ns() // 1000), Player(tape, None), Stranger(tape, sent)
    for actor, message in market.opening():
        await player.publish(actor, message)
    while not actors.at and actors.alive:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    pending: set[asyncio.Task[None]] = set()
    began, sampled = time.monotonic(), 0.0

    def sample() -> None:
        at = time.monotonic() - began
        _progress(folder, began, sent, actors, projector)
        samples.append(Sample(at, sent.facts, *(resident_kb(pid) for pid in (actors.pid, projector.pid, server))))

    while sent.facts < count and actors.alive and projector.alive and time.monotonic() - began < most_s:
        now = time.time_ns() // 1000
        while market.ts + 1_000_000 <= now:
            for actor, message in market.second():
                await player.publish(actor, message)
                sent.good += 1
        mutator.now = market.ts
        for _ in range(AT_ONCE):
            await stranger.say(mutator.next(), pending)
        if time.monotonic() - began > sampled:
            sampled += _SAMPLE_S
            sample()
        while sent.seqs and max(sent.seqs[-AT_ONCE:]) - actors.at > LAG_MAX and actors.alive:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await asyncio.gather(*pending)
    took = time.monotonic() - began
    caught_up = await _ended(tape, actors, projector)
    sample()
    return Run(sent, samples, took, actors.alive and projector.alive, caught_up)


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
