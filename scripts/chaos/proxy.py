"""A TCP proxy that loses, doubles and cuts: by message where it is NATS, by packet for anything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import msgspec

Chooser = Callable[[bytes, bytes], bool]
"""By the protocol line and the payload of a message (a packet has no line): whether it is meant."""

Way = Literal["up", "down"]
"""To the server, or back from it."""

LINE_MAX = 1 << 20  # bytes of a protocol line: a server's first one names all that it can
PACKET = 65_536


def is_ack(line: bytes, payload: bytes) -> bool:
    """An answer to a JetStream publish, good or bad."""
    return b'"stream":' in payload and b'"seq":' in payload and b'"type":' not in payload


def is_delivery(line: bytes, payload: bytes) -> bool:
    """A message that a consumer delivers."""
    return b" $JS.ACK." in line


def is_append(line: bytes, payload: bytes) -> bool:
    """A decision on its way to the stream."""
    return line.startswith(b"HPUB ") and b"Nats-Expected-Last-Subject-Sequence" in payload


def is_told(line: bytes, payload: bytes) -> bool:
    """A report, a permit or a question of lock-step: plain messages outside the tape."""
    return line.startswith((b"PUB lockstep.", b"HPUB lockstep."))


def is_commit(line: bytes, payload: bytes) -> bool:
    """PostgreSQL's word that a transaction is in: command complete, its tag."""
    return b"COMMIT\0" in payload


class Rule(msgspec.Struct, eq=False):
    """What befalls the next message of its choice, after `skip` others: it comes `copies` times, and then perhaps its
    connection is `cut`; `act` is called while it is held here. `hit` says what it was, when it has happened."""

    way: Way
    chooser: Chooser
    hit: asyncio.Future[str]
    copies: int = 1
    cut: bool = False
    skip: int = 0
    act: Callable[[], object] | None = None


class Link:
    """One connection through the proxy. `flowing` cleared: nothing passes, and neither end is told."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.name = ""
        self.ends = [writer]
        self.flowing = asyncio.Event()
        self.flowing.set()

    def __str__(self) -> str:
        return f"connection {self.number}{f' of {self.name!r}' if self.name else ''}"

    def cut(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Proxy:
    """`url` stands for the server's. `links` are the connections there are, `refusing` turns new ones away."""

    def __init__(self, url: str, *, messages: bool = True, host: str = "127.0.0.1") -> None:
        self._upstream = urlsplit(url)
        self._messages, self._host = messages, host
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._count = 0
        self._rules: list[Rule] = []
        self.links: list[Link] = []
        self.refusing = False
        self.lost: list[bytes] = []

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._upstream.netloc.rpartition("@")
        return self._upstream._replace(netloc=f"{user}{at}{self._host}:{port}").geturl()

    def arm(
        self,
        way: Way,
        chooser: Chooser,
        *,
        copies: int = 1,
        cut: bool = False,
        skip: int = 0,
        act: Callable[[], object] | None = None,
    ) -> asyncio.Future[str]:
        """Says what befalls one message to come; the answer is what it was. Cancelled, it befalls none."""
        hit: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._rules.append(Rule(way, chooser, hit, copies, cut, skip, act))
        return hit

    def lose(self, count: int, chooser: Chooser, *, cut: bool = False) -> None:
        """Swallows the next `count` such messages on their way back; with `cut`, the connection is cut instead."""
        self._rules.clear()
        for _ in range(count):
            self.arm("down", chooser, copies=0, cut=cut)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=LINE_MAX)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._closing = True
        for link in self.links:
            link.cut()
            link.flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._count += 1
        link = Link(self._count, writer)
        self.links.append(link)
        try:
            if not (self.refusing or self._closing):
                await self._connect(link, reader, writer)
        except (OSError, asyncio.IncompleteReadError):  # the server is away: so is what stands before it
            pass
        finally:
            self.links.remove(link)
            link.cut()
            for end in link.ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _connect(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._upstream.hostname, self._upstream.port
        up_reader, up_writer = await asyncio.open_connection(host, port, limit=LINE_MAX)
        link.ends.append(up_writer)
        if not self._closing:
            await _first(self._pass(link, "up", reader, up_writer), self._pass(link, "down", up_reader, writer))

    async def _pass(self, link: Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        take = self._message if self._messages else _packet
        while True:
            line, payload = await take(link, reader)
            if not line and not payload:
                return
            await link.flowing.wait()
            copies, cut = self._befallen(link, way, line, payload)
            for _ in range(copies):
                writer.write(line + payload)
            await writer.drain()
            if cut:
                return

    def _befallen(self, link: Link, way: Way, line: bytes, payload: bytes) -> tuple[int, bool]:
        self._rules = [rule for rule in self._rules if not rule.hit.cancelled()]
        for rule in self._rules:
            if rule.way != way or not rule.chooser(line, payload):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            self._rules.remove(rule)
            if rule.copies == 0:
                self.lost.append(line + payload)
            if rule.act is not None:
                rule.act()
            words = (line or payload[:40]).decode(errors="replace").split()
            rule.hit.set_result(f"{' '.join(words[:2])} on {link}")
            return (0 if rule.cut else rule.copies), rule.cut
        return 1, False

    async def _message(self, link: Link, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        """A protocol line and, where it has one, its payload."""
        line = await reader.readuntil(b"\r\n")
        if line[:4] in (b"MSG ", b"HMSG", b"PUB ", b"HPUB"):
            return line, await reader.readexactly(int(line.split()[-1]) + 2)
        if line.startswith(b"CONNECT "):
            link.name = str(msgspec.json.decode(line[8:]).get("name", ""))
        return line, b""


async def _packet(link: Link, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    return b"", await reader.read(PACKET)


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    """Runs both until one ends, as it does with its connection."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
