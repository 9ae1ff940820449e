"""Three machines of one cluster: each nats-server in a network namespace of its own, joined by a bridge.

A server can be killed, and cut off: from everybody (its link is down), or from its peers alone (they are routed into a
black hole), so that clients still talk to it. Nothing refuses or resets a connection then; packets vanish.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from nats.aio.client import Client

from infra.services.nats import find_binary

_NETWORK = "10.213.77"
_READY_S = 60.0


class Machine:
    """One namespace and its server. `name` is the server's."""

    def __init__(self, number: int, folder: Path, tag: str) -> None:
        self.name = f"machine-{number}"
        self.address = f"{_NETWORK}.{number + 1}"
        self.url = f"nats://{self.address}:4222"
        self._space, self._link = f"tape-{tag}-{number}", f"tp{tag}{number}"
        self._folder = folder / str(number)
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self, bridge: str) -> None:
        ip("netns", "add", self._space)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        ip("link", "set", self._link, "master", bridge, "up")
        ip("-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self._space, "link", "set", device, "up")

    def start(self, peers: list[Machine]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        routes = ", ".join(f'"nats://{peer.address}:6222"' for peer in peers)
        config = self._folder / "nats.conf"
        config.write_text(
            f'server_name: "{self.name}"\nlisten: "{self.address}:4222"\njetstream {{ store_dir: "{self._folder}" }}\n'
            f'cluster {{ name: "machines", listen: "{self.address}:6222", routes: [{routes}] }}\n'
        )
        argv = ["ip", "netns", "exec", self._space, str(find_binary(None)), "-c", str(config)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def cut(self, peers: list[Machine], *, clients_too: bool) -> None:
        if clients_too:
            ip("link", "set", self._link, "down")
            return
        for peer in peers:
            ip("-n", self._space, "route", "add", "blackhole", f"{peer.address}/32")

    def heal(self, peers: list[Machine]) -> None:
        ip("link", "set", self._link, "up")
        for peer in peers:
            with suppress(OSError):  # it was not cut off in this way
                ip("-n", self._space, "route", "del", "blackhole", f"{peer.address}/32")

    def scrap(self) -> None:
        self.kill()
        with suppress(OSError):
            ip("netns", "del", self._space)


class Machines:
    """Needs root."""

    def __init__(self, folder: Path) -> None:
        tag = f"{os.getpid() % 100_000}"
        self._bridge = f"tpb{tag}"
        self.all = [Machine(number, folder, tag) for number in (1, 2, 3)]

    @property
    def url(self) -> str:
        return ",".join(machine.url for machine in self.all)

    def peers(self, machine: Machine) -> list[Machine]:
        return [other for other in self.all if other is not machine]

    def start(self, machine: Machine) -> None:
        machine.start(self.peers(machine))

    async def leader(self, stream: str) -> Machine | None:
        """Who leads the stream, as the first server that answers says."""
        for machine in self.all:
            with suppress(Exception):  # it is dead, cut off or without a leader: another one knows
                info = (await _asked(machine.url, f"STREAM.INFO.{stream}"))["cluster"]
                return next(one for one in self.all if one.name == info.get("leader"))
        return None

    async def __aenter__(self) -> Self:
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{_NETWORK}.1/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        for machine in self.all:
            machine.plug_in(self._bridge)
            self.start(machine)
        async with asyncio.timeout(_READY_S):
            while not await self._ready():  # noqa: ASYNC110 - a server, not a task, has to come up
                await asyncio.sleep(0.1)
        return self

    async def _ready(self) -> bool:
        with suppress(Exception):  # not yet
            return "error" not in await _asked(self.all[0].url, "INFO")
        return False

    async def __aexit__(self, *_: object) -> None:
        for machine in self.all:
            machine.scrap()
        ip("link", "del", self._bridge)


async def _asked(url: str, what: str) -> Any:
    client = Client()
    await client.connect(url, allow_reconnect=False, connect_timeout=1)
    try:
        return msgspec.json.decode((await client.request(f"$JS.API.{what}", b"", timeout=1)).data)
    finally:
        await client.close()


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
