"""A connection to NATS that reports what befalls it, and JetStream's API as plain requests."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import msgspec
import nats.errors

from events.tape import TapeError

from .access import NOBODY, Access, encrypted, shown
from .client import TapeClient

log = logging.getLogger(__name__)

EPOCH = "Tape-Epoch"
MIN_VERSION = (2, 12)  # the first server whose ack subjects, heartbeats and batch guards are the ones used here
CONNECT_PATIENCE_S = 10.0  # a server of this machine starts in under a second; with a large store it takes longer
API_TIMEOUT_S = 5.0  # a healthy server answers in milliseconds, an R3 group amid an election in seconds

NO_MESSAGE = 10037
NO_STREAM = 10059
NAME_IN_USE = 10058
_VIOLATION = re.compile(r'(?i)permissions violation for publish to "([^"]+)"')
_RETRIED_API_ERRORS = {10004, 10005, 10008, 10009}  # a cluster that still comes up: no quorum, peers or leader

BusTrouble = (nats.errors.Error, OSError, asyncio.TimeoutError)
"""What a request may raise while the connection or the server is away."""


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct):
    """JetStream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


ack_of = msgspec.json.Decoder(Ack).decode


class ApiError(TapeError):
    """JetStream answered with an error; `code` is its `err_code`."""

    def __init__(self, what: str, code: int, text: str) -> None:
        super().__init__(f"JetStream refused {what}: {text} (error {code})")
        self.code = code

    @property
    def passing(self) -> bool:
        """Whether asking again a little later makes sense."""
        return self.code in _RETRIED_API_ERRORS


class NotAllowed(TapeError):
    """The server refuses what this role may not do."""


class Bus:
    """One connection to NATS. It reconnects for ever; `reconnects` counts how often it did."""

    def __init__(self, label: str, access: Access = NOBODY) -> None:
        self.client = TapeClient()
        self._access = access
        self.refused: set[str] = set()
        """Subjects, in lower case as nats-py names them, to which the server lets this role publish nothing."""
        self._label = label
        self._closing = False
        self._trouble = ""
        self._listeners: set[asyncio.Event] = set()

    async def connect(self, url: str) -> None:
        """`url` may name several servers, separated by commas. Raises TapeError where none answers or is new enough."""
        servers = [one.strip() for one in url.split(",")]
        self.client.encrypted = encrypted(url, self._access)
        try:
            async with asyncio.timeout(CONNECT_PATIENCE_S):
                await self.client.connect(
                    servers,
                    name=f"tickertape {self._label}",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # it is slept for; loopback or one network: a refused attempt costs next to nothing
                    ping_interval=2,  # two lost pings: a link that died and told neither end is noticed in 6 s
                    error_cb=self._error,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    closed_cb=self._closed,
                    **self._access.options(),
                )
        except TapeError:
            await self.close()
            raise
        except (*BusTrouble, ValueError) as error:
            await self.close()
            reason = str(error) or self._trouble or "no answer"
            if "authorization" in reason.lower():
                raise TapeError(
                    f"the NATS server at {shown(url)} refuses {self._access.name}: {self._access.hint}"
                ) from error
            raise TapeError(f"no NATS server answers at {shown(url)}: {reason}; is it running?") from error
        try:
            check_version(str(self.client.connected_server_version), shown(url))
        except TapeError:
            await self.close()
            raise

    @property
    def reconnects(self) -> int:
        """Counted before the client calls itself connected again: `_reconnected` comes a round trip after that."""
        return self.client.stats["reconnects"]

    @property
    def api(self) -> str:
        """What stands before a request to JetStream."""
        return self._access.api

    async def close(self) -> None:
        self._closing = True
        await self.client.close()

    def listen(self, changed: asyncio.Event) -> None:
        """Sets `changed` after every reconnect, until `unlisten`."""
        self._listeners.add(changed)

    def unlisten(self, changed: asyncio.Event) -> None:
        self._listeners.discard(changed)

    async def ask(self, what: str, body: Any = None, *, timeout_s: float = API_TIMEOUT_S) -> Any:
        """One request to JetStream's API. Raises ApiError, or one of BusTrouble."""
        payload = b"" if body is None else msgspec.json.encode(body)
        subject = f"{self.api}.{what}"
        try:
            answer = await self.client.ask_directly(subject, b"", payload, timeout_s)
        except BusTrouble:
            self.check_allowed(subject)
            raise
        found = msgspec.json.decode(answer.data)
        if error := found.get("error"):
            raise ApiError(what, error.get("err_code", 0), error.get("description", ""))
        return found

    async def ask_patiently(self, what: str, body: Any = None, *, patience_s: float) -> Any:
        """As `ask`, but a server that is away or an R3 group without a leader is waited for. Raises TapeError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while True:
            try:
                return await self.ask(what, body)
            except ApiError as error:
                if not error.passing or loop.time() > deadline:
                    raise
            except BusTrouble as error:
                if self.client.is_closed or loop.time() > deadline:
                    raise TapeError(f"NATS did not answer {what}: {error or type(error).__name__}") from error
            await asyncio.sleep(0.05)

    def check_allowed(self, subject: str) -> None:
        """Raises NotAllowed where the server has refused the subject."""
        if subject.lower() in self.refused:
            raise NotAllowed(f"{self._access.name} may not publish to {subject}")

    async def _error(self, error: Exception) -> None:
        if self.client.is_connecting:
            self._trouble = str(error) or type(error).__name__
            self.client.hang_up()
            if "authorization" in self._trouble.lower():
                raise error  # out of `connect`, which would try the same key again and again
        if found := _VIOLATION.search(str(error)):
            self.refused.add(found[1].lower())
            self.client.interrupt(str(error))
        # Every refused attempt to reconnect ends here too; the loss itself was reported by `_disconnected`.
        level = logging.DEBUG if self.client.is_reconnecting or self.client.is_connecting else logging.WARNING
        log.log(level, "%s: %s", self._label, error or type(error).__name__)

    async def _disconnected(self) -> None:
        if not self._closing:
            log.warning("%s: lost the connection to NATS; reconnecting", self._label)

    async def _reconnected(self) -> None:
        log.warning("%s: connected to NATS again", self._label)
        for changed in self._listeners:
            changed.set()

    async def _closed(self) -> None:
        for changed in self._listeners:
            changed.set()
        if not self._closing:
            log.error("%s: the connection to NATS is closed for good: %s", self._label, self.client.last_error)


def check_version(text: str, where: str) -> None:
    """Raises TapeError where the server is older than MIN_VERSION."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise TapeError(f"the NATS server at {where} is {text.strip('<>')}; {wanted} or newer is needed")
