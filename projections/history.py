"""Whether a tape still is the one that was projected: a server may lose its end in a power cut, and grow again."""

from __future__ import annotations

from events.decision import Recorded
from events.tape import HistoryLost, Tape

from .batches import closing
from .outcome import AnotherTape, HistoryGone, another_tape
from .state import mark


async def check(tape: Tape, schema: str, held: str, seq: int, origin: str, head: str) -> None:
    """Compares what a checkpoint says with the tape. Raises AnotherTape and HistoryGone."""
    if held != tape.name:
        raise another_tape(schema, held, tape.name)
    end = await tape.end()
    if end < seq:
        raise HistoryGone(HistoryLost(tape.name, seq, end))
    if seq:
        if (await _at(tape, 1)).decision.id != origin:
            raise AnotherTape(f"the tables hold another tape of the name {tape.name!r}")
        recognise(tape.name, await _at(tape, seq), seq, head, end)


def recognise(tape: str, entry: Recorded, seq: int, head: str, end: int) -> None:
    """Raises HistoryGone where the message that stands at a checkpoint's sequence is not the one it was."""
    if head not in ("", mark(entry)):
        raise HistoryGone(HistoryLost(tape, seq, end))


async def _at(tape: Tape, seq: int) -> Recorded:
    async with closing(tape.read(after=seq - 1)) as stored:
        return await anext(aiter(stored))
