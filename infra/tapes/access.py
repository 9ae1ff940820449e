"""As what a process connects to the bus: a role and the file with its key. Paths only, so it may be sent and shown."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import msgspec

from events.tape import TapeError

BARE_API = "$JS.API"
ROLE_API = "JS.API"
"""JetStream's API as roles see it. Their accounts have no JetStream of their own, which would answer as well under
the usual name, only to say that there is none."""


class Access(msgspec.Struct, frozen=True):
    """`role` None: a server without roles. `seed`: the file of the role's nkey; `ca`: that of the authority."""

    role: str | None = None
    seed: str | None = None
    ca: str | None = None

    @property
    def api(self) -> str:
        return ROLE_API if self.role else BARE_API

    @property
    def name(self) -> str:
        return f"the role {self.role}" if self.role else "a client without a role"

    @property
    def hint(self) -> str:
        where = f'"{self.seed}" does not hold its key' if self.role else "name the folder of the keys (`nats_secrets`)"
        return f"{where}; `tape serve` makes keys for an embedded server"

    def options(self) -> dict[str, Any]:
        """What nats-py's `connect` is told. Raises TapeError where a file cannot be read."""
        found: dict[str, Any] = {}
        if self.role is not None and self.seed is not None:
            _readable(self.seed, f"the key of the role {self.role}")
            found |= {"nkeys_seed": self.seed, "inbox_prefix": inbox(self.role)}
        if self.ca is not None:
            _readable(self.ca, "the certificate authority")
            found["tls"] = ssl.create_default_context(cafile=self.ca)
        return found


NOBODY = Access()


def inbox(role: str) -> str:
    """Where answers and deliveries to a role go: the only part of a tape's account that its own account imports."""
    return f"deliver.{role}"


def encrypted(url: str, access: Access) -> bool:
    """Whether a connection is to be made with TLS or not at all."""
    return access.ca is not None or url.startswith("tls://")


def shown(url: str) -> str:
    """An address without the name and password that may stand in it."""
    return re.sub(r"//[^/@,]*@", "//", url)


def _readable(path: str, what: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise TapeError(f'{what} cannot be read from "{path}": {error.strerror}') from None
