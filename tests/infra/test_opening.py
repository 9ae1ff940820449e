"""Opening a tape for a session: one plan a tape, one session a tape."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from events import subjects
from events.codec import Codec
from events.decision import Recorded
from events.memory import MemoryTape
from infra.session.audit import plan_on
from infra.session.opening import SessionError, record_plan, sole_session

NOW = 1_700_000_000_000_000
PLAN = Plan(
    symbols=(SymbolPlan(venue="sim", symbol="A", timeframes=("5m",), tick=Decimal("0.10")),),
    bots=(BotPlan(name="b", venue="sim", symbol="A", params={"fast": 3, "slow": 8, "stop_atr": 1.5}),),
    accounts=(AccountPlan(cash=Decimal("1000.00")),),
)


class Written(MemoryTape):
    """A memory tape whose messages go through their bytes, as those of a bus do."""

    codec = Codec()

    def put(self, actor: str, decision, *, expected: int, epoch: int = 0) -> Recorded:  # type: ignore[no-untyped-def]
        return super().put(actor, self.codec.decode(self.codec.encode(decision)), expected=expected, epoch=epoch)


async def test_the_plan_is_put_on_an_empty_tape_and_read_back_the_same() -> None:
    tape = Written()
    await record_plan(tape, PLAN, NOW)
    (entry,) = tape.entries
    assert (entry.actor, entry.decision.kind, entry.decision.ts) == (subjects.SESSION, "session-started", NOW)
    assert await plan_on(tape) == PLAN


async def test_the_same_plan_again_adds_nothing() -> None:
    tape = Written()
    for later in range(3):
        await record_plan(tape, PLAN, NOW + later)
    assert len(tape.entries) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bots": ()}, "other bots"),
        ({"accounts": (AccountPlan(cash=Decimal(7)),)}, "other accounts"),
        ({"symbols": PLAN.symbols * 2, "bots": PLAN.bots * 2}, "other symbols and bots"),
        ({"bots": (msgspec.structs.replace(PLAN.bots[0], params={"fast": 4}),)}, "other bots"),
    ],
)
async def test_another_plan_is_refused_and_what_differs_named(changes: dict[str, object], named: str) -> None:
    tape = Written()
    await record_plan(tape, PLAN, NOW)
    with pytest.raises(SessionError, match=rf"'main' was recorded under another plan \({named}\).*--tape NAME"):
        await record_plan(tape, msgspec.structs.replace(PLAN, **changes), NOW)
    assert len(tape.entries) == 1


HOLD = """
import sys
from pathlib import Path
from infra.session.opening import sole_session
with sole_session(Path(sys.argv[1]), "main"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_session_at_a_time_across_processes_and_the_holder_named(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(SessionError, match=rf"already runs on tape 'main' \(process {other.pid}\).*tape stop"),
            sole_session(folder, "main"),
        ):
            pass
        with sole_session(folder, "another"):  # a tape of its own
            pass
        other.kill()  # not even a chance to clean up
    with sole_session(folder, "main"), pytest.raises(SessionError, match="already runs"), sole_session(folder, "main"):
        pass
    with sole_session(folder, "main"):
        pass
