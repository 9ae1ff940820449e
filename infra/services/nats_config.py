"""What a NATS server is told: nats.conf, and beside it who may do what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

ACCOUNTS = "accounts.conf"


class Routes(msgspec.Struct, frozen=True):
    """A server's place in a cluster: its own route port and those of all members, on loopback."""

    port: int
    ports: tuple[int, ...]


class Described(msgspec.Struct, frozen=True):
    """A server as its configuration describes it; a port of 0 is one that the server chooses."""

    directory: Path
    name: str
    port: int
    monitor_port: int
    sync_interval: str | None
    routes: Routes | None
    roles: bool

    def text(self) -> str:
        home, name = json.dumps(str(self.directory)), json.dumps(self.name)
        sync = f"\n  sync_interval: {json.dumps(self.sync_interval)}" if self.sync_interval else ""
        text = f"""# Generated at each start.
server_name: {name}
listen: "127.0.0.1:{self.port or -1}"
http: "127.0.0.1:{self.monitor_port or -1}"
ports_file_dir: {home}
jetstream {{
  store_dir: {home}{sync}
}}
"""
        if self.roles:
            text += f"include ./{ACCOUNTS}\n"
        if self.routes is None:
            return text
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes.ports)
        return text + (
            f'cluster {{\n  name: "tickertape"\n  listen: "127.0.0.1:{self.routes.port}"\n  routes: [{routes}]\n}}\n'
        )


def write_accounts(directory: Path, text: str) -> None:
    """Replaces what a server reads at its start and at SIGHUP. Whole or not at all."""
    draft = directory / f".{ACCOUNTS}.{os.getpid()}"
    draft.write_text(text)
    draft.replace(directory / ACCOUNTS)
