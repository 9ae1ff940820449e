"""What is secret, in files of its own: `<data folder>/secrets/`, closed to others. Only paths leave this module."""

from __future__ import annotations

import os
from pathlib import Path

from infra.services.roles import NAMES
from infra.services.settings import ServiceError
from infra.tapes.access import Access

FOLDER = "secrets"


def folder(home: Path) -> Path:
    return home / FOLDER


def make_folder(home: Path) -> Path:
    """The folder, closed to others, made where it is missing."""
    found = folder(home)
    found.mkdir(mode=0o700, exist_ok=True)
    found.chmod(0o700)
    return found


def keep(path: Path, secret: str) -> None:
    """Writes a secret that nobody else may read; one that is there stays. Whole or not at all, whoever else tries."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(secret)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def seed_path(where: Path, role: str) -> Path:
    return where / f"{role}.nk"


def public_keys(home: Path) -> dict[str, str]:
    """The public key of each role; keys that are missing are made. Raises ServiceError."""
    where = make_folder(home)
    return {role: _public_key(seed_path(where, role)) for role in NAMES}


def _public_key(path: Path) -> str:
    import nkeys

    if not path.exists():
        keep(path, nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode() + "\n")
    try:
        return str(nkeys.from_seed(path.read_bytes().strip()).public_key.decode())
    except (OSError, nkeys.NkeysError):
        raise ServiceError(f'"{path}" holds no key that can be read; move it away, and a new one is made.') from None


def access(where: str | None, role: str, ca: str | None = None) -> Access:
    """How to connect as a role. `where`: the folder of the keys, None for a server without roles."""
    if role not in NAMES:
        raise ValueError(f"{role!r} is no role: there are {', '.join(NAMES)}")
    return Access(ca=ca) if where is None else Access(role, str(seed_path(Path(where), role)), ca)
