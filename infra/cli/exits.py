"""Exit codes, and how whatever goes wrong becomes one sentence and one of them."""

from __future__ import annotations

import sys
import time
import traceback
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """What a caller can rely on; documented in `--help` and in the README of this package."""

    FINE = 0
    DIFFERENCE = 1
    BAD_INPUT = 2
    NO_SERVICE = 3
    IN_THE_WAY = 4
    HALTED = 5
    INTERRUPTED = 130


HELP = (
    "Exit codes: 0 fine; 1 a check found a difference; 2 bad usage, configuration or input; 3 a service (bus, "
    "database) cannot be had; 4 another session is in the way; 5 an actor halted; 70 an error of the program; "
    "130 interrupted twice."
)
BROKEN = 70  # EX_SOFTWARE of sysexits.h: an error nobody foresaw


class Failure(Exception):
    """One clear sentence with what to do, and the exit code it means."""

    def __init__(self, sentence: str, code: Exit = Exit.BAD_INPUT) -> None:
        super().__init__(sentence)
        self.code = code


# By full name, so that nothing has to be imported to know an error; a test keeps the names true.
KNOWN: dict[str, Exit] = {
    "infra.config.ConfigError": Exit.BAD_INPUT,
    "infra.importers.model.ImportError_": Exit.BAD_INPUT,
    "infra.sweep.errors.SweepError": Exit.BAD_INPUT,
    "infra.session.audit.NoSession": Exit.BAD_INPUT,
    "infra.session.opening.SessionError": Exit.BAD_INPUT,
    "infra.session.lease.SessionHeld": Exit.IN_THE_WAY,
    "infra.session.cluster.Halted": Exit.HALTED,
    "infra.services.settings.ServiceError": Exit.NO_SERVICE,
    "infra.archive.model.ArchiveDamaged": Exit.DIFFERENCE,
    "infra.archive.model.ArchiveError": Exit.BAD_INPUT,
    "infra.archive.retain.Behind": Exit.IN_THE_WAY,
    "actors.roster.BadPlan": Exit.BAD_INPUT,
    "actors.strategies.UnknownStrategy": Exit.BAD_INPUT,
    "actors.decider.Poison": Exit.HALTED,
    "events.tape.LostRace": Exit.IN_THE_WAY,
    "events.tape.TapeDamaged": Exit.DIFFERENCE,
    "events.tape.TapeError": Exit.NO_SERVICE,
    "infra.backtest.data.DataError": Exit.BAD_INPUT,
    "projections.outcome.RebuildNeeded": Exit.DIFFERENCE,
    "projections.outcome.ProjectionError": Exit.IN_THE_WAY,
    "psycopg.OperationalError": Exit.NO_SERVICE,
}


def explained(error: BaseException) -> tuple[str, Exit] | None:
    """The sentence and the code of an error that is known, else None."""
    if isinstance(error, Failure):
        return str(error), error.code
    for cls in type(error).__mro__:
        code = KNOWN.get(f"{cls.__module__}.{cls.__qualname__}")
        if code is not None:
            text = str(error).strip() or cls.__name__
            if cls.__name__ == "SessionError" and "already runs" in text:
                code = Exit.IN_THE_WAY
            return text, code
    return None


def logged(error: BaseException, data_dir: Path) -> Path | None:
    """Writes the traceback below the data folder; None where even that fails."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = data_dir / "logs" / f"error-{stamp}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(sys.argv)
        path.write_text(f"{command}\n" + "".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path
