"""Machines as far as the network goes: namespaces joined by a bridge; and three of them with a nats-server each.

One can be cut off: from everybody (its link is down), or from some alone (they are routed into a black hole), so that
others still talk to it. Nothing refuses or resets a connection then; packets vanish.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from nats.aio.client import Client

from infra.services.nats import find_binary

_READY_S = 60.0


class Space:
    """One namespace, with the network's address `number + 1`."""

    def __init__(self, network: str, tag: str, number: int) -> None:
        self.address = f"{network}.{number + 1}"
        self._space, self._link = f"tape-{tag}-{number}", f"tp{tag}{number}"

    def plug_in(self, bridge: str) -> None:
        ip("netns", "add", self._space)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        ip("link", "set", self._link, "master", bridge, "up")
        ip("-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self._space, "link", "set", device, "up")

    def words(self, *words: str) -> list[str]:
        """A command, to be run in here. `ip netns exec` would keep disks mounted that others unmount."""
        return ["nsenter", f"--net=/run/netns/{self._space}", *words]

    def cut(self, others: Sequence[Space] = ()) -> None:
        """From some, or from everybody."""
        if not others:
            ip("link", "set", self._link, "down")
        for other in others:
            ip("-n", self._space, "route", "add", "blackhole", f"{other.address}/32")

    def heal(self, others: Sequence[Space] = ()) -> None:
        ip("link", "set", self._link, "up")
        for other in others:
            with suppress(OSError):  # it was not cut off in this way
                ip("-n", self._space, "route", "del", "blackhole", f"{other.address}/32")

    def remove(self) -> None:
        with suppress(OSError):
            ip("netns", "del", self._space)


class Network:
    """A bridge, and this machine on it at `address`. Needs root."""

    def __init__(self) -> None:
        self.tag = f"{os.getpid() % 100_000}"
        self.network = f"10.213.{os.getpid() % 250}"
        self.address = f"{self.network}.1"
        self._bridge = f"tpb{self.tag}"
        self._spaces: list[Space] = []

    def space(self, number: int) -> Space:
        """A namespace that is plugged in; numbers begin with 1."""
        made = Space(self.network, self.tag, number)
        self._spaces.append(made)
        made.plug_in(self._bridge)
        return made

    def __enter__(self) -> Self:
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for space in self._spaces:
            space.remove()
        ip("link", "del", self._bridge)


class Machine:
    """A namespace and its server. `name` is the server's; its store is below `folder`."""

    def __init__(self, number: int, folder: Path, space: Space, sync: str | None = None) -> None:
        self.name = f"machine-{number}"
        self.folder = folder / str(number)
        self.space = space
        self.url = f"nats://{space.address}:4222"
        self._sync = f', sync_interval: "{sync}"' if sync else ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, peers: Sequence[Machine]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        here = self.space.address
        routes = ", ".join(f'"nats://{peer.space.address}:6222"' for peer in peers)
        config = self.folder / "nats.conf"
        config.write_text(
            f'server_name: "{self.name}"\nlisten: "{here}:4222"\n'
            f'jetstream {{ store_dir: "{self.folder}"{self._sync} }}\n'
            f'cluster {{ name: "machines", listen: "{here}:6222", routes: [{routes}] }}\n'
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.space.words(str(find_binary(None)), "-c", str(config)), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def cut(self, peers: Sequence[Machine], *, clients_too: bool) -> None:
        self.space.cut(() if clients_too else [peer.space for peer in peers])

    def heal(self, peers: Sequence[Machine]) -> None:
        self.space.heal([peer.space for peer in peers])


class Machines:
    """Needs root. `sync`: the servers' interval."""

    def __init__(self, folder: Path, sync: str | None = None) -> None:
        self._folder, self._sync = folder, sync
        self._network = Network()
        self.all: list[Machine] = []

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
        self._network.__enter__()
        self.all = [Machine(n, self._folder, self._network.space(n), self._sync) for n in (1, 2, 3)]
        for machine in self.all:
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
            machine.kill()
        self._network.__exit__()


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
