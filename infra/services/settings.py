"""What to run, where, and how durable: the settings of the services, and the one error they raise."""

import difflib
import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

Durability = Literal["standard", "replicated", "always"]

_DURATION = re.compile(r"(\d+(ms|s|m|h))+")
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_SETTING_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")
_POSTGRES_FIXED = frozenset(
    {"config_file", "data_directory", "hba_file", "listen_addresses", "port", "unix_socket_directories"}
)


class ServiceError(Exception):
    """A service cannot be used; the message is one sentence that says why and what to do."""


class ServiceAway(ServiceError):
    """A service of somebody else's does not answer; it may later."""


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the NATS server and PostgreSQL are provided.

    `nats_url` (several servers separated by commas) and `postgres_dsn` replace the embedded server. `nats_secrets` is
    the folder with the keys of the roles (`<role>.nk`) that the server at `nats_url` knows, `nats_ca` the file of the
    authority that signed its certificate. `postgres_view_dsn` is the same database for who may only read it. To another
    machine everything is encrypted, unless `plaintext`. `nats_listen`: where the embedded bus listens; beyond loopback
    with a certificate of its own. A port of 0 means any free one; a replicated tier with a fixed port takes three in a
    row. `sync_interval` is a duration such as "10s" (None: 1 s); durability "always" syncs each write instead.
    """

    nats_url: str | None = None
    nats_secrets: str | None = None
    nats_ca: str | None = None
    plaintext: bool = False
    nats_listen: str = "127.0.0.1"
    nats_port: int = 0
    nats_monitor_url: str | None = None
    nats_monitor_port: int = 0
    nats_binary: str | None = None
    durability: Durability = "standard"
    sync_interval: str | None = None
    postgres_dsn: str | None = None
    postgres_view_dsn: str | None = None
    postgres_port: int = 0
    postgres_bin_dir: str | None = None
    postgres_settings: dict[str, str | int | float | bool] = {}
    start_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("nats_port", "nats_monitor_port", "postgres_port"):
            if not 0 <= getattr(self, name) <= 65_535:
                raise ValueError(f"{name} must be 0 (any free port) to 65535, not {getattr(self, name)}")
        if self.start_timeout_s <= 0:
            raise ValueError(f"start_timeout_s must be above 0 seconds, not {self.start_timeout_s}")
        if self.sync_interval is not None:
            self._check_sync_interval(self.sync_interval)
        if self.nats_url is not None and not self.plaintext:
            self._check_nats_url(self.nats_url)
        for name in ("postgres_dsn", "postgres_view_dsn"):
            check_dsn(name, getattr(self, name), self.plaintext)
        for name, value in self.postgres_settings.items():
            check_postgres_setting(name, value)

    def _check_nats_url(self, url: str) -> None:
        for one in url.split(","):
            parts = urlsplit(one.strip() if "://" in one else f"nats://{one.strip()}")
            if not is_loopback(parts.hostname or "") and parts.scheme not in ("tls", "wss") and self.nats_ca is None:
                raise ValueError(
                    f"nats_url names another machine, {parts.hostname}, without encryption: write tls:// or name the "
                    "authority of its certificate in nats_ca, or set plaintext where the way there is safe"
                )

    def _check_sync_interval(self, interval: str) -> None:
        if not _DURATION.fullmatch(interval):
            raise ValueError(f'sync_interval must be a duration such as "10s" or "2m", not "{interval}"')
        if self.durability == "always":
            raise ValueError('sync_interval has no meaning with durability "always"; leave one of them out')


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_dsn(name: str, dsn: str | None, plaintext: bool) -> None:
    """Raises ValueError for what libpq cannot read, without its words, which repeat the password; and for an address on
    another machine to which the connection would not be encrypted."""
    if dsn is None:
        return
    from psycopg import ProgrammingError  # only here: a command that needs no database starts without it
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(dsn)
    except (ProgrammingError, UnicodeError):
        raise ValueError(
            f"{name} cannot be read: write a URL as in postgresql://user@host:5432/database, with %40 and the like for "
            "special characters, or key=value pairs"
        ) from None
    hosts = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    far = [host for host in hosts if host and not host.startswith("/") and not is_loopback(host)]
    if far and not plaintext and parts.get("sslmode") not in _ENCRYPTED:
        raise ValueError(
            f"{name} names another machine, {far[0]}, without encryption: add sslmode=verify-full (or require), or set "
            "plaintext where the way there is safe"
        )


def check_postgres_setting(name: str, value: str | int | float | bool) -> None:
    """Raises ValueError for a name or value that must not be written to postgresql.conf."""
    if not _SETTING_NAME.fullmatch(name):
        raise ValueError(f'"{name}" in postgres_settings is not the name of a PostgreSQL setting')
    if name.lower() in _POSTGRES_FIXED:
        raise ValueError(f'"{name}" in postgres_settings is set by the system itself; leave it out')
    if any(ord(character) < 32 for character in str(value)):
        raise ValueError(f'the value of "{name}" in postgres_settings contains a control character')


def settings_from(values: Mapping[str, Any]) -> ServiceSettings:
    """Settings from parsed TOML or JSON. Raises ServiceError, naming the nearest known key for an unknown one."""
    known = ServiceSettings.__struct_fields__
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ServiceError(f'Unknown service setting "{key}"{hint}')
    try:
        return msgspec.convert(dict(values), ServiceSettings)
    except msgspec.ValidationError as error:
        raise ServiceError(f"Bad service settings: {error}") from None
