"""`tape verify`: every decision derived again from the tape alone."""

from __future__ import annotations

import msgspec

from infra.cli.context import Context
from infra.cli.exits import Exit
from infra.cli.reach import looking
from infra.cli.screen import pairs


async def verify(context: Context) -> int:
    from infra.session.audit import audit

    screen = context.screen
    async with looking(context.config()) as (tape, _):
        end = await tape.end()
        with screen.progress("deriving again", end) as advance:
            verdict = await audit(tape, lambda seq: advance(seq))
    rows = [
        ("tape", tape.name),
        ("messages", f"{verdict.entries:,}"),
        ("decisions checked", f"{verdict.decisions:,}"),
        ("digest", verdict.digest),
    ]
    if verdict.undecided:
        rows.insert(
            3, ("still to be decided", f"{verdict.undecided:,} (the session ended before; the next one decides)")
        )
    if verdict.taken:
        rows.insert(
            3,
            (
                "decided by other versions",
                f"{verdict.taken:,} (taken as they stand)",
            ),
        )
    different = verdict.difference is not None
    said = f"DIFFERENT at {verdict.difference}" if different else "Every decision is what its causes lead to."
    screen.result({"tape": tape.name, "same": not different, **msgspec.to_builtins(verdict)}, pairs(rows), said)
    return Exit.DIFFERENCE if different else Exit.FINE
