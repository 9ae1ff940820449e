"""An archive on S3: the same as in a folder, over a real server on loopback."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest

from infra.archive.check import check
from infra.archive.export import export
from infra.archive.model import ArchiveDamaged, ArchiveError
from infra.archive.place import Place
from infra.archive.restore import restore
from infra.archive.retain import retain
from tests.s3 import BUCKET

from .archiving import delete, everything, fill, kept, opened, quiet

SECRET = "hunter2hunter2hunter2"


@pytest.fixture
def endpoint(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return f"endpoint=http://{s3_store}"


async def test_there_and_back_over_s3(nats_url: str, endpoint: str, s3_store: str) -> None:
    async with opened(nats_url) as tape:
        place = Place(f"s3://{BUCKET}/some/where?{endpoint}", tape.name)
        await fill(tape, 200)
        await export(tape, place, quiet, rows=64)
        await fill(tape, 50, start=200)
        done = await export(tape, place, quiet, rows=64)
        assert sorted(place.names()) == sorted(name for part in place.parts() for name in (part.file, part.manifest))
        assert (await check(place, tape, quiet)).compared == done.last == 251  # one says what was sealed before
        before = await everything(tape)
        assert (await retain(tape, place, 200, quiet, kept=10)).first == 200
    async with opened(nats_url, place.tape) as tape:
        assert await everything(tape) == before
        assert (await tape.last("bot.ema")) == [entry for entry in before if entry.actor == "bot.ema"][-1]
        stored = await kept(tape)
        await delete(tape)
    await restore(nats_url, place, 1, quiet)
    async with opened(nats_url, place.tape) as tape:
        assert (await everything(tape)) == before[:251]
        assert (await kept(tape))[199:] == stored[: 251 - 199]
    part = place.parts()[1]
    url = f"http://{s3_store}/{BUCKET}/some/where/{place.tape}/{part.file}"
    request = urllib.request.Request(url, method="DELETE")
    (await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)).close()
    with pytest.raises(ArchiveDamaged, match=f"{part.file} is missing") as caught:
        await check(place, None, quiet)
    assert caught.value.seq == part.first


async def test_errors_of_a_store_say_where_and_tell_no_secret(endpoint: str) -> None:
    with pytest.raises(ArchiveError, match=r"the archive s3://nowhere/main") as caught:
        Place(f"s3://nowhere?{endpoint}", "main").write("a", b"")
    assert SECRET not in str(caught.value)
    with pytest.raises(ArchiveError, match="cannot list the archive s3://tapes/main"):
        Place("s3://tapes?endpoint=http://127.0.0.1:1", "main").parts()
    with pytest.raises(ArchiveError, match="credentials") as caught:
        Place(f"s3://somebody:{SECRET}@tapes", "main")
    assert SECRET not in str(caught.value)
    with pytest.raises(ArchiveError, match="known are endpoint"):
        Place("s3://tapes?secret=x", "main")
    with pytest.raises(ArchiveError, match="neither a folder nor"):
        Place("gs://tapes", "main")
