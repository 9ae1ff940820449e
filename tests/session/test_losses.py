"""A session that starts on a tape which its tables know further says so on the tape."""

from __future__ import annotations

import psycopg

from events.control import TapeShortened
from infra.services.nats import NatsServer
from infra.session.lease import acquire
from infra.session.losses import record_loss
from infra.tapes.jetstream import JetStreamTape
from projections.shell import project_to_end
from tests.contract.making import all_of, fill

DEAD = "postgresql://127.0.0.1:1/nothing"


async def test_a_tape_that_is_shorter_than_its_tables_is_recorded_once(
    nats_server: NatsServer, nats_url: str, postgres_dsn: str
) -> None:
    tape = await JetStreamTape.connect(nats_url, "main")
    await fill(tape, ["bot.ema"], 20)
    await project_to_end(postgres_dsn, tape)
    lease = await acquire(tape, tape.client, standby=False, say=print)
    await record_loss(tape, lease, postgres_dsn)
    await record_loss(tape, lease, DEAD)
    assert await all_of(tape.read(["*.*.tape-shortened"])) == []
    with psycopg.connect(postgres_dsn) as connection:  # as if the tables had seen more than there is
        connection.execute("UPDATE tickertape.checkpoints SET seq = 90")
    await record_loss(tape, lease, postgres_dsn)
    (said,) = await all_of(tape.read(["*.*.tape-shortened"]))
    (fact,) = said.decision.facts
    assert isinstance(fact, TapeShortened)
    assert (fact.known, fact.end) == (90, 21)
    await lease.release("test")
    await tape.close()
