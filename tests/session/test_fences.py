"""The network between two writers is cut: the tape fences the earlier one, whoever it is."""

from __future__ import annotations

import asyncio

import pytest

from actors.plan import AccountPlan, BotPlan, Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from events import subjects
from events.control import ActorHalted
from events.decision import Decision
from events.feed import observed
from events.market import Candle
from events.tape import LostRace
from events.timeframe import MINUTE
from infra.session.lease import Patience, acquire
from infra.session.player import Feeds
from infra.tapes.jetstream import JetStreamTape
from tests.proxy import Proxy
from tests.session.looking import entries
from tests.session.market import START

FEED = subjects.feed("sim", "A")
PLAN = Plan(
    symbols=(SymbolPlan(venue="sim", symbol="A"),),
    bots=(BotPlan(name="b", venue="sim", symbol="A", params={"fast": 2, "slow": 4}),),
    accounts=(AccountPlan(),),
)
ACTORS = tuple(decider.actor for decider in deciders(PLAN))
PATIENCE_S = 60  # for what comes within a second on a quiet machine


def candle(minute: int) -> Decision:
    ts, close = START + minute * MINUTE, 10.0 + minute * 7 % 5
    return observed(FEED, ts, Candle("sim", "A", "1m", ts, close, close + 1, close - 1, close, 100.0))


async def test_on_either_side_of_a_cut_network_one_goes_on_and_the_other_ends(nats_url: str) -> None:
    """Neither end is told of the cut. Symbol, bot, account, feed and supervisor of the first wake up to lost races."""
    async with Proxy(nats_url) as proxy:
        far, near = await JetStreamTape.connect(proxy.url, "cut"), await JetStreamTape.connect(nats_url, "cut")
        first = await acquire(far, far.client, standby=False, say=len)
        old, running = Feeds(far, first.epoch), asyncio.ensure_future(Host(deciders(PLAN), far).run())
        await old.claim([FEED])
        for minute in range(1, 11):
            await old.publish(FEED, candle(minute))
        await settled(near, 10)
        for link in proxy.links:
            link.flowing.clear()
        late = asyncio.ensure_future(old.publish(FEED, candle(11)))

        second = await acquire(near, near.client, standby=True, say=len, patience=Patience(silent_s=1.0))
        assert second.claim.reason == "it does not answer for 1 s"
        new, other = Feeds(near, second.epoch), asyncio.ensure_future(Host(deciders(PLAN), near).run())
        await new.claim([FEED])
        for minute in range(11, 21):
            await new.publish(FEED, candle(minute))
        await settled(near, 20)
        end = await near.end()

        for link in proxy.links:
            link.flowing.set()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(LostRace):
                await late
            await new.publish(FEED, candle(21))
            with pytest.raises(LostRace):
                await running
            with pytest.raises(LostRace):
                await first.record(ActorHalted("bot.b", 1, "poison", ""), 1)
            assert (await first.lost()).epoch == 1
        await settled(near, 21)
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert [entry.epoch for entry in await entries(near, ["feed.>"], end)] == [second.epoch]
        await once_each(near)
        await far.close()
        await near.close()


async def settled(tape: JetStreamTape, minutes: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await entries(tape, ["market.sim.A.candle"])) < minutes:  # noqa: ASYNC110 - the tape is looked at
            await asyncio.sleep(0.1)
        end = -1
        while end != (end := await tape.end()):  # noqa: ASYNC110
            await asyncio.sleep(1.0)  # fifty times as long as a decision takes


async def once_each(tape: JetStreamTape) -> None:
    """No cause has been answered twice, and nobody has said anything after a later claim."""
    epochs = dict.fromkeys(ACTORS, 0)
    decided = await entries(tape, ["market.>", "bot.>", "account.>"])
    for entry in decided:
        assert entry.epoch >= epochs[entry.actor], f"{entry.actor} at {entry.seq}: an earlier writer after the claim"
        epochs[entry.actor] = entry.epoch
    assert set(epochs.values()) == {2}
    causes = [(entry.actor, entry.decision.by) for entry in decided if entry.decision.by]
    assert len(causes) == len(set(causes))
