"""The faults: each hits something that is there, says what it was, and returns when nothing is held back any more."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from scripts.chaos.observer import Observer
from scripts.chaos.proxy import Chooser, Proxy, Way, is_append
from scripts.chaos.stack import Stack, alive, killed, name, state, until, words
from scripts.parity import kill_everything

SKIP_MAX = 40  # messages that pass before the one that is meant: some market facts
DEATH_S = 10.0  # until a killed process is gone: the kernel needs milliseconds, a busy machine more
THERE_S = 420.0  # until there is something to hit: a session that starts on a very busy machine takes minutes


class Missed(Exception):
    """There was nothing to hit, so it is no fault."""


class Place(msgspec.Struct):
    """Where faults happen."""

    stack: Stack
    seen: Observer
    chance: random.Random


Server = NatsServer | PostgresServer
Fault = Callable[[Place], Awaitable[str]]


class Kind(msgspec.Struct, frozen=True):
    """`weight`: how often among all; `light` ones go together with others; `long` is left out of short campaigns."""

    name: str
    run: Fault
    weight: float
    light: bool = False
    long: bool = False


# Messages and connections


def message(way: Way, chooser: Chooser, *, copies: int = 1, cut: bool = False, bus: bool = True) -> Fault:
    """One message that is lost or doubled, or whose connection is cut in its place."""

    async def run(place: Place) -> str:
        proxy = place.stack.bus_proxy if bus else place.stack.database_proxy
        hit = proxy.arm(way, chooser, copies=copies, cut=cut, skip=place.chance.randint(0, SKIP_MAX))
        try:
            async with asyncio.timeout(THERE_S):
                return await hit
        except TimeoutError:
            hit.cancel()
            raise Missed(f"no such message within {THERE_S:g} s") from None

    return run


async def _links(proxy: Proxy) -> list[Any]:
    if not await until(lambda: proxy.links, THERE_S):
        raise Missed("no connection to hit")
    return list(proxy.links)


def cut_one(bus: bool) -> Fault:
    async def run(place: Place) -> str:
        link = place.chance.choice(await _links(place.stack.bus_proxy if bus else place.stack.database_proxy))
        link.cut()
        return f"cut {link}"

    return run


async def cut_all(place: Place) -> str:
    """Every connection to the bus, and no new ones for a while."""
    proxy = place.stack.bus_proxy
    links = await _links(proxy)
    proxy.refusing = True
    for link in links:
        link.cut()
    await asyncio.sleep(place.chance.uniform(0.0, 1.0))
    proxy.refusing = False
    return f"cut {len(links)} connections"


def stall(bus: bool, longest_s: float, *, cut: bool) -> Fault:
    """A connection on which nothing passes for a while; then it goes on, or turns out to be cut."""

    async def run(place: Place) -> str:
        link = place.chance.choice(await _links(place.stack.bus_proxy if bus else place.stack.database_proxy))
        seconds = place.chance.uniform(0.1, longest_s)
        link.flowing.clear()
        await asyncio.sleep(seconds)
        if cut:
            link.cut()
        link.flowing.set()
        return f"held {link} for {seconds:.1f} s"

    return run


async def half_open(place: Place) -> str:
    """A connection that is dead, of which neither end is told: its client has to find out by itself."""
    links = [link for link in await _links(place.stack.bus_proxy) if link.name]
    if not links:
        raise Missed("no client has connected")
    link = place.chance.choice(links)
    link.flowing.clear()
    return f"{link} is dead"


# Processes


async def _target(place: Place, kind: str) -> int:
    """A living process of the session."""
    found: list[int] = []

    def there() -> bool:
        found[:] = place.stack.session_pids(kind)
        return bool(found)

    if not await until(there, THERE_S):
        raise Missed(f"no process {kind}")
    return place.chance.choice(found)


async def _server(server: Server) -> int:
    """The process of a server that runs."""
    if not await until(lambda: not server.ended, THERE_S):
        raise Missed("the server does not run")
    return server.pid


async def _kill(pid: int) -> str:
    what = f"{pid} {name(pid)} {words(pid)[:60]}"
    if not killed(pid) or not await until(lambda: not alive(pid), DEATH_S):
        raise Missed(f"not there: {what}")
    return what


async def _stop(place: Place, pid: int, longest_s: float) -> str:
    seconds = place.chance.uniform(0.1, longest_s)
    what = f"{pid} {name(pid)} for {seconds:.1f} s"
    if not killed(pid, signal.SIGSTOP):
        raise Missed(f"not there: {what}")
    try:
        if not await until(lambda: state(pid) == "T", 1.0):
            raise Missed(f"not stopped: {what}")
        await asyncio.sleep(seconds)
    finally:
        killed(pid, signal.SIGCONT)
    return what


def kill(kind: str) -> Fault:
    async def run(place: Place) -> str:
        async with place.stack.session_lock:
            return await _kill(await _target(place, kind))

    return run


def stop(kind: str, longest_s: float) -> Fault:
    async def run(place: Place) -> str:
        return await _stop(place, await _target(place, kind), longest_s)

    return run


async def _session_ends(stack: Stack, by: Callable[[], Awaitable[str]]) -> str:
    """What ends the session, which is started again."""
    starts = stack.starts
    what = await by()
    if not await until(lambda: stack.starts > starts, THERE_S):
        raise RuntimeError(f"the session was not started again after {what}")
    return what


async def kill_session(place: Place) -> str:
    """The session's own process; what it had started has to notice by itself."""
    async with place.stack.session_lock:
        child = place.stack.child
        if child is None:
            raise Missed("no session")
        return await _session_ends(place.stack, lambda: _kill(child.pid))


async def kill_all(place: Place) -> str:
    """Everything at once: session, Ray, bus and database."""
    stack = place.stack
    async with stack.session_lock, stack.bus_lock, stack.database_lock:
        child = stack.child
        if child is None or child.poll() is not None:
            raise Missed("no session")

        async def everything() -> str:
            count = kill_everything(child.pid)
            await asyncio.gather(_kill(await _server(stack.bus)), _kill(await _server(stack.database)))
            return f"{count} processes and both servers"

        return await _session_ends(stack, everything)


async def stop_session(place: Place) -> str:
    child = place.stack.child
    if child is None:
        raise Missed("no session")
    return await _stop(place, child.pid, 2.0)


async def _amid_appends(place: Place, pid: int) -> bool:
    """SIGKILL while an append is held between its writer and the server; false where that had ended by itself."""
    did: list[bool] = []
    hit = place.stack.bus_proxy.arm(
        "up", is_append, skip=place.chance.randint(0, SKIP_MAX), act=lambda: did.append(killed(pid))
    )
    try:  # after a full disk, its owner has perhaps just replaced it
        await until(lambda: hit.done() or not alive(pid), THERE_S)
    finally:
        hit.cancel()
    return did == [True]


async def kill_bus(place: Place) -> str:
    stack = place.stack
    async with stack.bus_lock:
        pid = await _server(stack.bus)
        hit = await _amid_appends(place, pid) if place.chance.random() < 0.5 else killed(pid)
        if not hit or not await until(lambda: not alive(pid), DEATH_S):
            raise Missed("nats-server was not hit")
        return f"{pid} nats-server"


async def stop_bus(place: Place) -> str:
    async with place.stack.bus_lock:
        return await _stop(place, await _server(place.stack.bus), 2.0)


async def kill_database(place: Place) -> str:
    stack = place.stack
    async with stack.database_lock:
        return await _kill(await _server(stack.database))


async def stop_database(place: Place) -> str:
    async with place.stack.database_lock:
        return await _stop(place, await _server(place.stack.database), 2.0)


def backend(number: int) -> Fault:
    """The projector's own process in PostgreSQL. SIGKILL takes all others down with it; SIGTERM ends one connection."""

    async def run(place: Place) -> str:
        async with place.stack.database_lock:
            if not await until(lambda: any(map(alive, place.seen.backends)), THERE_S):
                raise Missed("the projector is not connected")
            pid = place.chance.choice([pid for pid in place.seen.backends if alive(pid)])
            if number == signal.SIGSTOP:
                return await _stop(place, pid, 2.0)
            what = f"{pid} {words(pid)}"
            if not killed(pid, number) or not await until(lambda: not alive(pid), DEATH_S):
                raise Missed(f"not there: {what}")
            return what

    return run
