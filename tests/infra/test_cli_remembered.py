"""The screen's copy of what a tape says is a cache: with it, without it, of another tape or torn, the same is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.cli import remembered
from infra.cli.overview import Overview
from infra.cli.remembered import READ, Remembered
from infra.session.snapshots import folder_of
from infra.tapes.jetstream import JetStreamTape
from tests.infra.cli_tape import Cli

WORTH = 40


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "WORTH", WORTH)  # so that a small tape is worth a copy


async def test_what_is_remembered_is_what_is_read(tmp_path: Path, nats_url: str, postgres_dsn: str) -> None:
    cli = Cli(tmp_path, nats_url, postgres_dsn)
    await cli.record(60)
    tape = await JetStreamTape.connect(nats_url, cli.tape, create=False)
    try:
        whole = Overview()
        async for entry in tape.read(READ):
            whole.add(entry)
        first = Remembered(tape, tmp_path)
        assert await first.read() == whole
        assert first.before == 0
        again = Remembered(tape, tmp_path)
        assert await again.read() == whole
        assert again.before == whole.at
        tear(folder_of(tmp_path, tape.name) / "screen")
        late = Remembered(tape, tmp_path)
        assert await late.read() == whole
        assert late.before == 0
    finally:
        await tape.close()


async def test_a_copy_of_another_tape_is_not_used(tmp_path: Path, nats_url: str, postgres_dsn: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    tapes = []
    for folder, candles in ((one, 60), (two, 50)):
        folder.mkdir()
        cli = Cli(folder, nats_url, postgres_dsn)
        await cli.record(candles)
        tapes.append(await JetStreamTape.connect(nats_url, cli.tape, create=False))
    assert tapes[0].name != tapes[1].name
    try:
        await Remembered(tapes[0], one).read()
        folder_of(two, tapes[1].name).parent.mkdir(parents=True)
        folder_of(one, tapes[0].name).rename(folder_of(two, tapes[1].name))
        other = Remembered(tapes[1], two)
        found = await other.read()
        assert other.before == 0
        assert found.at <= await tapes[1].end()
    finally:
        for tape in tapes:
            await tape.close()


def tear(folder: Path) -> None:
    (copy,) = folder.iterdir()
    copy.write_bytes(copy.read_bytes()[:-1])
