"""What a NATS server is told: nats.conf, and beside it who may do what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from infra.services.certificates import Certificate

ACCOUNTS = "accounts.conf"


class Routes(msgspec.Struct, frozen=True):
    """A server's place in a cluster: its own route port and those of all members, on loopback.

    Who is let in as a member hears and says everything, past all roles: hence the password, made for one run.
    """

    port: int
    ports: tuple[int, ...]
    password: str


class Described(msgspec.Struct, frozen=True):
    """A server as its configuration describes it; a port of 0 is one that the server chooses."""

    directory: Path
    name: str
    port: int
    monitor_port: int
    sync_interval: str | None
    routes: Routes | None
    roles: bool
    host: str = "127.0.0.1"
    certificate: Certificate | None = None

    def text(self) -> str:
        home, name = json.dumps(str(self.directory)), json.dumps(self.name)
        sync = f"\n  sync_interval: {json.dumps(self.sync_interval)}" if self.sync_interval else ""
        text = f"""# Generated at each start.
server_name: {name}
listen: "{self.host}:{self.port or -1}"
http: "127.0.0.1:{self.monitor_port or -1}"
ports_file_dir: {home}
jetstream {{
  store_dir: {home}{sync}
}}
"""
        if self.certificate is not None:
            cert, key = json.dumps(self.certificate.cert), json.dumps(self.certificate.key)
            text += f"tls {{ cert_file: {cert}, key_file: {key} }}\n"
        if self.roles:
            text += f"include ./{ACCOUNTS}\n"
        if self.routes is None:
            return text
        member = f"route:{self.routes.password}"
        routes = ", ".join(f'"nats://{member}@127.0.0.1:{port}"' for port in self.routes.ports)
        return f"""{text}cluster {{
  name: "tickertape"
  listen: "127.0.0.1:{self.routes.port}"
  authorization {{ user: "route", password: "{self.routes.password}" }}
  routes: [{routes}]
}}
"""


def write_config(path: Path, text: str) -> None:
    """For the server alone to read: the password of a cluster's routes is in it."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        os.fchmod(output.fileno(), 0o600)
        output.write(text)


def write_accounts(directory: Path, text: str) -> None:
    """Replaces what a server reads at its start and at SIGHUP. Whole or not at all."""
    draft = directory / f".{ACCOUNTS}.{os.getpid()}"
    draft.write_text(text)
    draft.replace(directory / ACCOUNTS)
