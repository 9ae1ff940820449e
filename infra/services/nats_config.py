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
            text += f"tls {{ {self._certified(self.certificate)} }}\n"
        if self.roles:
            text += f"include ./{ACCOUNTS}\n"
        return text if self.routes is None else f"{text}{self._cluster(self.routes)}"

    def _cluster(self, member: Routes) -> str:
        """Who joins must have the password and, where there are certificates, one of the data folder's authority."""
        routes = ", ".join(f'"nats://route:{member.password}@127.0.0.1:{port}"' for port in member.ports)
        text = f"""cluster {{
  name: "tickertape"
  listen: "127.0.0.1:{member.port}"
  authorization {{ user: "route", password: "{member.password}" }}
  routes: [{routes}]
"""
        if self.certificate is not None:
            ca = json.dumps(self.certificate.ca)
            text += f"  tls {{ {self._certified(self.certificate)}, ca_file: {ca}, verify: true }}\n"
        return f"{text}}}\n"

    @staticmethod
    def _certified(by: Certificate) -> str:
        return f"cert_file: {json.dumps(by.cert)}, key_file: {json.dumps(by.key)}"


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
