"""A TCP proxy on loopback that knows enough of the NATS protocol to lose chosen messages on their way back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Chooser = Callable[[bytes, bytes], bool]
"""By the protocol line and the payload of a message from the server: whether to lose it."""


def is_ack(line: bytes, payload: bytes) -> bool:
    """An answer to a JetStream publish, good or bad."""
    return b'"stream":' in payload and b'"seq":' in payload and b'"type":' not in payload


def is_delivery(line: bytes, payload: bytes) -> bool:
    """A message that a consumer delivers."""
    return b" $JS.ACK." in line


class Proxy:
    """`lose(n, chooser)` swallows the next n such messages; with `cut`, the connection is cut in their place."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._left = 0
        self._chooser: Chooser = is_ack
        self._cut = False
        self._closing = False
        self.lost: list[bytes] = []

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lose(self, count: int, chooser: Chooser, *, cut: bool = False) -> None:
        self._left, self._chooser, self._cut = count, chooser, cut

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._closing = True
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            ends.append(up_writer)
            self._writers.add(up_writer)
            if not self._closing:
                await _first(_copy(reader, up_writer), self._filter(up_reader, writer))
        except OSError:  # the server is away: so is what stands before it
            pass
        finally:
            for end in ends:
                end.transport.abort()
                self._writers.discard(end)
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            payload = b""
            if line[:4] in (b"MSG ", b"HMSG"):
                payload = await reader.readexactly(int(line.split()[-1]) + 2)
                if self._left and self._chooser(line, payload):
                    self._left -= 1
                    self.lost.append(line + payload)
                    if self._cut:
                        return
                    continue
            writer.write(line + payload)
            await writer.drain()


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    """Runs both until one ends, as it does with its connection."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
