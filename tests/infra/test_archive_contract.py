"""The tape's contract once more, over a stream on which hardly more than the last message is ever left."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.decision import Decision
from events.tape import Tape
from infra.archive import export as exporting
from infra.archive import retain as retaining
from infra.archive.place import Place
from infra.tapes.jetstream import JetStreamTape
from tests.contract.conftest import Kind
from tests.contract.test_tape_contract import *  # noqa: F403 - every test of it, those to come as well

from .archiving import quiet

del test_eight_writers_race_for_one_actor  # noqa: F821 - its writers are processes that open tapes of their own
_numbers = itertools.count(1)


class Shrinking(JetStreamTape):
    """Drops what it can: after each of the first appends, then after every tenth."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.place: Place | None = None

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        seq = await super().append(actor, decision, expected=expected, epoch=epoch)
        if self.place is not None and (seq < 5 or seq % 10 == 0):
            await exporting.export(self, self.place, quiet)
            await retaining._Dropping(self.bus, self.name, self.place.location).run(seq)
            assert (await self.look()).first >= seq  # more where this append was an old one again
        return seq


@pytest.fixture
async def opened(nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kind]:
    async def unsaid(*_: object) -> None:
        """The contract's sequences leave no room for what an export records."""

    async def nobody(*_: object) -> None:
        """Readers that are behind would stop it; those of the contract are only ever new or at the end."""

    monkeypatch.setattr(exporting, "record", unsaid)
    monkeypatch.setattr(retaining, "_SETTLE_S", 0)  # nothing else is on its way
    name, handles = f"shrinking-{next(_numbers)}", list[Shrinking]()

    async def another() -> Tape:
        handles.append(await Shrinking.connect(nats_url, name))
        return handles[-1]

    first = await another()
    handles[0].place = Place(str(tmp_path), name)
    yield Kind("shrinking", first, another, nats_url)
    for handle in handles:
        await handle.close()


@pytest.fixture
def tape(opened: Kind) -> Tape:
    return opened.tape
