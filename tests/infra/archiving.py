"""Tapes to archive: what a system appends, and what strangers do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from events.decision import Decision, Recorded, digest_of
from infra.archive.model import Part, encoded
from infra.archive.parquet import SCHEMA
from infra.archive.place import Place, file_hash
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.stored import Stored
from tests.contract.making import KINDS, fact

ACTORS = ("market.binance.BTC-USDT", "bot.ema", "account.main")
_numbers = itertools.count(1)


def quiet(_: int) -> None:
    pass


@asynccontextmanager
async def opened(url: str, name: str | None = None) -> AsyncIterator[JetStreamTape]:
    tape = await JetStreamTape.connect(url, name or f"archived-{next(_numbers)}")
    try:
        yield tape
    finally:
        await tape.close()


async def fill(tape: JetStreamTape, count: int, *, start: int = 0, odd: bool = True) -> None:
    """Decisions of three actors that answer each other; among them bytes of strangers."""
    last: dict[str, int] = {}
    by = ""
    for number in range(start, start + count):
        if odd and number % 40 == 17:
            body = (b"", b"\xff\xfe no text", b'{"id":1}', b"x" * 5_000)[number // 40 % 4]
            await tape.client.request(f"{tape.name}.odd{'.a.b' * (number % 3)}", body, timeout=10)
            continue
        actor = ACTORS[number % 3]
        if actor not in last:
            found = await tape.last(actor)
            last[actor] = found.seq if found else 0
        cause = number % 3 and number
        made = Decision(digest_of(b"%d" % number), cause, by if cause else "", 1_700_000_000_000_000 + number,
                        (fact(number, KINDS[number % 3]),))  # fmt: skip
        by = made.id
        last[actor] = await tape.append(actor, made, expected=last[actor], epoch=number // 30)


async def everything(tape: JetStreamTape) -> list[Recorded]:
    return [entry async for entry in tape.read()]


async def kept(tape: JetStreamTape) -> list[Stored]:
    first = (await tape.look()).first
    return [message async for message in tape.stored(after=first - 1)]


def place_in(folder: Path, tape: JetStreamTape) -> Place:
    return Place(str(folder), tape.name)


async def delete(tape: JetStreamTape) -> None:
    """As if the server's disk were new."""
    await tape.bus.ask(f"STREAM.DELETE.{tape.name}")


def rows_of(folder: Path, part: Part) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / part.tape / part.file).to_pylist()
    return found


def rewrite(folder: Path, part: Part, rows: list[dict[str, Any]]) -> None:
    """The part's file made anew with these rows, and a manifest that has the new file's hash: a careful forger."""
    path = folder / part.tape / part.file
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    forged = msgspec.structs.replace(part, size=path.stat().st_size, hash=file_hash(path))
    path.with_suffix(".json").write_bytes(encoded(forged))
