"""The archive's commands, on the real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.digest import digest
from infra.archive import retain
from infra.cli.exits import Exit
from tests.infra.cli_tape import Cli


@pytest.fixture
def cli(tmp_path: Path, nats_url: str) -> Cli:
    return Cli(tmp_path, nats_url, "postgresql://127.0.0.1:1/nobody")  # the archive needs no database


async def test_an_archive_is_made_proven_and_read_from(cli: Cli) -> None:
    await cli.record(600)
    before = await cli.facts()
    sealed = cli("export", "--json")
    assert sealed.code == Exit.FINE, sealed.err
    assert sealed.json()["last"] == len(before)
    kept = cli("retain", "--keep", "50", "--json")
    assert kept.code == Exit.FINE, kept.err
    assert kept.json()["first"] == len(before) + 1 - retain.KEPT_MIN > 1
    after = (await cli.facts())[: len(before)]
    assert after == before
    assert digest(after) == digest(before)
    shown = cli("check", "--head", sealed.json()["head"])
    assert shown.code == Exit.FINE, shown.err
    assert "every message is as it was sealed" in shown.out


async def test_what_the_archive_commands_refuse(cli: Cli) -> None:
    await cli.record(20)
    nothing = cli("check")
    assert nothing.code == Exit.BAD_INPUT
    assert "there is no archive of the tape" in nothing.err
    assert cli("export").code == Exit.FINE
    part = next((cli.data_dir / "archive" / cli.tape).glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    found = cli("check", "--json")
    assert found.code == Exit.DIFFERENCE, found.err
    assert (found.json()["same"], found.json()["first"]) == (False, 1)
