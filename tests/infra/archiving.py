"""Tapes to archive: what a system appends, and what strangers do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from events.decision import Decision, Recorded, digest_of
from infra.archive.place import Place
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
