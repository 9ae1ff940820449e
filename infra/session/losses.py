"""What a session does about a tape that has lost messages since the tables were last brought up to date."""

from __future__ import annotations

import logging
import time

import psycopg

from events.control import TapeShortened
from events.tape import Tape
from infra.session.lease import Lease
from projections.shell import history_lost

log = logging.getLogger("tickertape.session")


async def record_loss(tape: Tape, lease: Lease, dsn: str) -> None:
    """Says on the tape that it is shorter than the tables, or another one than they know. The projector mends them.

    Where the database is away, the projector finds out when it is back; then the log alone says so.
    """
    try:
        lost = await history_lost(dsn, tape)
    except psycopg.OperationalError as error:
        log.warning("whether the tape is what the tables know cannot be said yet: %s", str(error).strip())
        return
    if lost is not None:
        log.error("%s", lost)
        now = time.time_ns() // 1000
        await lease.record(TapeShortened(now, lost.known, lost.end), now)
