"""A server whose store is put back to an earlier state, as a power cut does: whoever knew more says so and stops."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from events.tape import HistoryLost
from infra.services.nats import NatsServer
from infra.tapes.jetstream import JetStreamTape

from .conftest import GATHER_S
from .making import Following, all_of, decision, fill

BTC, EMA = "market.binance.BTC-USDT", "bot.ema"


class PutBack:
    """One server; `remember` keeps its store as it is, `put_back` ends it and takes it there again."""

    def __init__(self, folder: Path) -> None:
        self.server = NatsServer(folder / "server")
        self._store, self._kept = folder / "server" / "jetstream", folder / "kept"

    async def remember(self) -> None:
        await self.server.stop()
        shutil.copytree(self._store, self._kept)
        await self.server.start()

    async def put_back(self, regrow: int = 0) -> None:
        """With `regrow`, other messages follow before those who knew the old ones are connected again."""
        await self.server.kill()
        shutil.rmtree(self._store)
        shutil.copytree(self._kept, self._store)
        if regrow:
            async with NatsServer(self._store.parent) as elsewhere:  # on another port
                tape = await JetStreamTape.connect(elsewhere.url, "main")
                for number in range(regrow):
                    actor = (BTC, EMA)[number % 2]
                    last = await tape.last(actor)
                    await tape.append(actor, decision("other", number), expected=last.seq if last else 0)
                await tape.close()
        await self.server.start()


@pytest.mark.parametrize("gather_s", [0.0, GATHER_S], ids=["told", "asking"])
@pytest.mark.parametrize("regrow", [0, 10, 25], ids=["shorter", "as long", "longer"])
async def test_readers_and_writers_notice_that_the_end_is_gone(tmp_path: Path, regrow: int, gather_s: float) -> None:
    put = PutBack(tmp_path)
    async with put.server:
        tape = await JetStreamTape.connect(put.server.url, "main", gather_s=gather_s)
        await fill(tape, [BTC, EMA], 10)
        await put.remember()
        made = await fill(tape, [BTC, EMA], 10, start=10)
        following, filtered = Following(tape.follow()), Following(tape.follow(["bot.>"]))
        await following.seen(20)
        await filtered.seen(10)
        await put.put_back(regrow)
        said = rf"known up to 20, .* ends at {10 + regrow}"
        for follower in (following, filtered):
            with pytest.raises(HistoryLost, match=said):
                await follower.seen(100)
        actor, last = made[-1]
        for entry, expected in ((last, 18), (decision("next", 1), 20)):  # neither taken for done, nor put upon it
            with pytest.raises(HistoryLost, match=said):
                await tape.append(actor, entry, expected=expected)
        assert [entry.seq for entry in await all_of(tape.read())] == list(range(1, 11 + regrow))
        await tape.close()


async def test_from_the_first_moment_of_a_new_connection_what_was_known_is_looked_for(tmp_path: Path) -> None:
    """nats-py calls itself connected some time before it says that it was not: on a busy machine, that is long."""
    put, over = PutBack(tmp_path), asyncio.Event()
    async with put.server:
        tape = await JetStreamTape.connect(put.server.url, "main")
        await fill(tape, [BTC], 10)
        await put.remember()
        actor, last = (await fill(tape, [BTC], 1, start=10))[0]
        flush = tape.client.flush

        async def held(*_: Any) -> None:
            await over.wait()
            await flush()

        tape.client.flush = held  # type: ignore[method-assign]
        await put.put_back()
        while not tape.client.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        with pytest.raises(HistoryLost, match="known up to 11, it ends at 10"):
            await tape.append(actor, last, expected=10)
        over.set()
        await tape.close()


async def test_a_restart_without_loss_is_none(tmp_path: Path) -> None:
    put = PutBack(tmp_path)
    async with put.server:
        tape = await JetStreamTape.connect(put.server.url, "main")
        made: list[Any] = await fill(tape, [BTC, EMA], 10)
        following = Following(tape.follow())
        await following.seen(10)
        await put.remember()
        assert await tape.append(*made[-1], expected=8) == 10  # what stands is found standing, also after a reconnect
        await fill(tape, [BTC, EMA], 10, start=10)
        assert len(await following.seen(20)) == 20
        await following.stop()
        await tape.close()
