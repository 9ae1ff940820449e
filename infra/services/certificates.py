"""An authority of the data folder's own, and a certificate for its bus: for when that listens beyond this machine."""

from __future__ import annotations

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.services.secrets import keep

_AUTHORITY_DAYS, _SERVER_DAYS, _RENEWED_DAYS = 3650, 397, 30


class Certificate(msgspec.Struct, frozen=True):
    """Paths of PEM files: the server's certificate and key, and the authority's certificate, which clients need."""

    cert: str
    key: str
    ca: str


def certificate(where: Path, host: str) -> Certificate:
    """The certificate for a server that listens at `host`, made where there is none, or none for long enough."""
    ca, ca_key = _authority(where)
    cert, key = where / "nats.pem", where / "nats.key"
    if not _serves(cert, key, ca, host):
        fresh = ec.generate_private_key(ec.SECP256R1())
        made = _builder("tickertape bus", ca.subject, fresh.public_key(), _SERVER_DAYS)
        made = made.add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        key.unlink(missing_ok=True)
        keep(key, _private(fresh))
        cert.write_bytes(made.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Certificate(str(cert), str(key), str(where / "ca.pem"))


def _authority(where: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = where / "ca.pem", where / "ca.key"
    if not (path.exists() and key_path.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tickertape authority")])
        made = _builder("tickertape authority", name, key.public_key(), _AUTHORITY_DAYS)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        key_path.unlink(missing_ok=True)
        keep(key_path, _private(key))
        path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    found = serialization.load_pem_private_key(key_path.read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(path.read_bytes()), found


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of other machines may be behind
        .not_valid_after(now + timedelta(days=days))
    )


def _names(host: str) -> list[x509.GeneralName]:
    """What clients may call the server: this machine, by its name and by the address where it listens."""
    names = {"localhost", socket.gethostname(), socket.getfqdn()}
    addresses = {"127.0.0.1", "::1"}
    try:
        addresses.add(str(ipaddress.ip_address(host)))
    except ValueError:
        names.add(host)
    return [
        *(x509.DNSName(name) for name in sorted(names)),
        *(x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(addresses)),
    ]


def _serves(cert: Path, key: Path, ca: x509.Certificate, host: str) -> bool:
    if not (cert.exists() and key.exists()):
        return False
    found = x509.load_pem_x509_certificate(cert.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    until = found.not_valid_after_utc - datetime.now(UTC)
    return list(names) == _names(host) and found.issuer == ca.subject and until > timedelta(days=_RENEWED_DAYS)


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
