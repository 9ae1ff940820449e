"""Who may do what in the embedded PostgreSQL: one role writes the tables, another reads them."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from infra.services.secrets import keep

PROJECTOR, VIEWER = "tickertape_projector", "tickertape_viewer"

_GRANTS = Path(__file__).with_name("roles.sql")


def password_file(where: Path, role: str) -> Path:
    """In the form that libpq reads: a connection names the file, so that the password is in no address."""
    return where / f"{role}.pgpass"


def address(where: Path, role: str, port: int) -> str:
    """A URL without a secret; it works for whoever may read the role's file."""
    file = quote(str(password_file(where, role)), safe="")
    return f"postgresql://{role}@127.0.0.1:{port}/postgres?passfile={file}"


async def ensure(superuser: str, where: Path) -> None:
    """Makes roles and passwords that are missing, and grants what each may; again is nothing new. Raises psycopg's."""
    async with await psycopg.AsyncConnection.connect(superuser, connect_timeout=10) as connection:
        await connection.execute("SET password_encryption = 'scram-sha-256'")
        # Two starts cannot run at once here, but a rebuild may lock tables whose owner is looked at.
        for role in (PROJECTOR, VIEWER):
            known = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if await known.fetchone() is None:
                await connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
            file = password_file(where, role)
            if not file.exists():
                keep(file, f"127.0.0.1:*:*:{role}:{secrets.token_urlsafe(24)}\n")
            password = file.read_text().strip().rpartition(":")[2]
            # Its verifier, made here: a password in a statement could come to stand in the server's log.
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            await connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(verifier)))
        await connection.execute(_GRANTS.read_bytes())
