"""A bus that listens beyond this machine encrypts, and nobody speaks to one that was to and does not."""

import gc
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from events.tape import TapeError
from infra.services import secrets
from infra.services.admission import accounts_for
from infra.services.certificates import Certificate, certificate
from infra.services.embedded import bus_alone
from infra.services.nats import NatsServer, living
from infra.services.nats_client import check_external
from infra.services.settings import ServiceError, ServiceSettings, settings_from
from infra.tapes.access import Access
from infra.tapes.jetstream import JetStreamTape
from tests.infra.test_permissions import message

# nats-py leaves the socket of a handshake that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
EVERYWHERE = "0.0.0.0"
PATIENCE_S = 30.0  # for an answer that comes within milliseconds on a quiet machine


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is refused here is refused again and again: one second of trying shows it."""
    monkeypatch.setattr("infra.tapes.bus.CONNECT_PATIENCE_S", 1.0)
    yield
    gc.collect()  # now, while the warnings of those sockets are not looked at


async def test_a_server_beyond_loopback_is_reached_with_its_authority_only(tmp_path: Path) -> None:
    where = secrets.make_folder(tmp_path)
    made = certificate(where, EVERYWHERE)
    assert certificate(where, EVERYWHERE) == made
    modes = {path.name: path.stat().st_mode & 0o777 for path in where.glob("*.key")}
    assert modes == {"ca.key": 0o600, "nats.key": 0o600}
    accounts = accounts_for(tmp_path, "main")
    async with NatsServer(tmp_path / "nats", accounts=accounts, host=EVERYWHERE, certificate=made) as server:
        assert server.url.startswith("tls://127.0.0.1:")
        access = secrets.access(str(where), "session", made.ca)
        await check_external([server.url], access)
        tape = await JetStreamTape.connect(server.url, "main", access=access)
        assert await tape.append("session.x", message("session.x"), expected=0) == 1
        assert [entry.seq async for entry in tape.read()] == [1]
        await tape.close()
        stranger = certificate(secrets.make_folder(tmp_path / "nats"), EVERYWHERE)
        for ca in (None, stranger.ca):
            other = Access(access.role, access.seed, ca)
            with pytest.raises(TapeError, match=r"certificate|verify"):
                await JetStreamTape.connect(server.url, "main", access=other, create=False)


async def test_three_servers_encrypt_among_themselves_too(tmp_path: Path) -> None:
    """With the words of one server. Who loses the server that it talks to goes on at another one, as safely."""
    settings = ServiceSettings(durability="replicated", nats_listen=EVERYWHERE)
    (tmp_path / "other").mkdir()
    stranger = certificate(secrets.make_folder(tmp_path / "other"), EVERYWHERE)
    async with bus_alone(tmp_path, settings, "main") as found:
        assert found is not None
        own, access = certificate(secrets.make_folder(tmp_path), EVERYWHERE), found.access("session")
        with pytest.raises(TapeError, match=r"certificate|verify"):
            await JetStreamTape.connect(found.nats, "main", access=Access(access.role, access.seed), create=False)
        for number, url in enumerate(found.nats_urls, 1):
            config = (tmp_path / "cluster" / str(number) / "nats.conf").read_text()
            route = int(re.findall(r'listen: "127.0.0.1:(\d+)"', config)[0])
            for port in (int(url.rpartition(":")[2]), route):
                assert b"PONG" not in said(port, None)
            assert [b"Authorization" in said(route, context(one)) for one in (None, stranger, own)] == [0, 0, 1]
        tape = await JetStreamTape.connect(found.nats, "main", replicas=3, access=access)
        assert await tape.append("session.x", message("session.x"), expected=0) == 1
        at = str(tape.client.connected_url.port)
        number = [url.rpartition(":")[2] for url in found.nats_urls].index(at) + 1
        for pid in living(tmp_path / "cluster" / str(number)):
            os.kill(pid, signal.SIGKILL)
        assert await tape.append("session.x", message("session.x", 1), expected=1) == 2
        assert str(tape.client.connected_url.port) != at
        await tape.close()


def context(by: Certificate | None) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE  # whom one joins is not asked here
    if by is not None:
        found.load_cert_chain(by.cert, by.key)
    return found


def said(port: int, encrypted: ssl.SSLContext | None) -> bytes:
    """All that a server says to somebody who wants in, until it hangs up."""
    heard = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as wire:
        way = encrypted.wrap_socket(wire) if encrypted is not None else wire
        way.sendall(b'CONNECT {"user":"route","pass":"wrong"}\r\nPING\r\n')
        while more := way.recv(65_536):
            heard += more
    return heard


async def test_a_server_that_does_not_encrypt_is_not_spoken_to(nats_server: NatsServer, tmp_path: Path) -> None:
    made = certificate(secrets.make_folder(tmp_path), EVERYWHERE)
    for url, access in ((nats_server.url, Access(ca=made.ca)), (nats_server.url.replace("nats", "tls"), Access())):
        with pytest.raises(TapeError, match="secure connection required"):
            await JetStreamTape.connect(url, "main", access=access)
        with pytest.raises(ServiceError, match="secure connection required"):
            await check_external([url], access)


@pytest.mark.parametrize(
    ("settings", "fine"),
    [
        ({"nats_url": "nats://127.0.0.1:4222"}, True),
        ({"nats_url": "localhost:4222, nats://[::1]:4222"}, True),
        ({"nats_url": "nats://10.0.0.1:4222"}, False),
        ({"nats_url": "nats://127.0.0.1:4222,bus.example:4222"}, False),
        ({"nats_url": "tls://bus.example:4222"}, True),
        ({"nats_url": "nats://bus.example:4222", "nats_ca": "/ca.pem"}, True),
        ({"nats_url": "nats://bus.example:4222", "plaintext": True}, True),
        ({"postgres_dsn": "postgresql://me@127.0.0.1/x"}, True),
        ({"postgres_dsn": "host=/run/postgresql"}, True),
        ({"postgres_dsn": "postgresql://me@db.example/x"}, False),
        ({"postgres_dsn": "postgresql://me@db.example/x?sslmode=prefer"}, False),
        ({"postgres_dsn": "postgresql://me@db.example/x?sslmode=verify-full"}, True),
        ({"postgres_view_dsn": "host=10.0.0.1 password=secret"}, False),
        ({"postgres_dsn": "host=10.0.0.1", "plaintext": True}, True),
    ],
)
def test_to_another_machine_all_is_encrypted_unless_the_settings_say_otherwise(
    settings: dict[str, str | bool], fine: bool
) -> None:
    if fine:
        settings_from(settings)
        return
    with pytest.raises(ServiceError, match="without encryption"):
        settings_from(settings)


def test_the_certificate_is_one_that_others_check(tmp_path: Path) -> None:
    made = certificate(secrets.make_folder(tmp_path), "bus.example")
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(made.cert, made.key)
    assert ssl.create_default_context(cafile=made.ca).get_ca_certs()
