"""Records golden histories: `python -m tests.histories.recording NAME KIND`, once and never again.

KIND is `exchange` (the simulated exchange in lock-step), `candles` (candles and commands, running freely) or `faults`
(as `candles`, with processes that die and are taken over). A history of the running system is `--bus URL TAPE`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import takewhile
from random import Random

import msgspec

from actors.plan import AccountPlan, BotPlan, Limits, Plan, Sizing, SymbolPlan
from events import control, market, subjects
from events.codec import Codec
from events.decision import Recorded
from events.fact import Fact
from events.feed import command, observed
from events.memory import MemoryTape
from events.timeframe import MINUTE
from infra.session.audit import audit
from infra.session.opening import record_plan
from infra.simulator import SimulatorSettings, default_plan, source
from infra.tapes.jetstream import JetStreamTape
from tests.histories.files import About, Line, line, write
from tests.simulation.clock import run
from tests.simulation.world import Market, World

START = 1_760_000_400_000_000  # 2025-10-09 09:00 UTC
D = Decimal


def exchange() -> tuple[Plan, Market]:
    """Trades, books, heartbeats, outages and what fills them, for 40 minutes."""
    settings = SimulatorSettings(pairs=5, history_minutes=60, activity=12.0)
    end = START + 40 * MINUTE
    stream = takewhile(lambda one: one[0] <= end, source(settings, START, ())(0, ""))
    return default_plan(settings), [(feed, message) for _, feed, message in stream]


def candles() -> tuple[Plan, Market]:
    """Every shipped strategy and way of sizing, limits that bind, a hole, late and revised bars, commands, garbage."""
    symbols = (
        SymbolPlan(venue="sim", symbol="AAA", timeframes=("5m",)),
        SymbolPlan(venue="sim", symbol="BBB"),
    )
    bots = (
        BotPlan(name="cross", venue="sim", symbol="AAA", params={"fast": 3, "slow": 8}),
        BotPlan(name="cross5", venue="sim", symbol="AAA", timeframe="5m", params={"fast": 2, "slow": 5}),
        BotPlan(name="momentum", venue="sim", symbol="BBB", strategy="momentum", params={"slow": 14, "fast": 6},
                sizing=Sizing(method="risk", value=D("0.01"))),
        BotPlan(name="breakout", venue="sim", symbol="BBB", strategy="breakout",
                sizing=Sizing(method="quantity", value=D(7))),
        BotPlan(name="all-in", venue="sim", symbol="AAA", account="second", params={"fast": 2, "slow": 6},
                sizing=Sizing(method="all-in", value=D(1))),
    )  # fmt: skip
    limits = Limits(daily_loss=D("0.05"), positions=3, symbol_fraction=D("0.4"), cooldown=120)
    accounts = (AccountPlan(limits=limits), AccountPlan(name="second", cash=D(5_000)))
    return Plan(symbols=symbols, bots=bots, accounts=accounts), [*_walk(Random(5), 600)]


def _walk(chance: Random, minutes: int) -> Market:
    found: Market = []
    price = {"AAA": 100.0, "BBB": 20.0}
    held: list[market.Candle] = []

    def put(ts: int, fact: Fact, symbol: str) -> None:
        actor = subjects.feed("sim", symbol)
        found.append((actor, observed(actor, ts, fact)))

    for minute in range(1, minutes + 1):
        for symbol, last in price.items():
            ts = START + minute * MINUTE
            close = price[symbol] = round(
                last * (1 + chance.gauss(0.0002 * (1 if minute % 120 < 60 else -1), 0.004)), 2
            )
            high, low = round(max(last, close) * 1.002, 2), round(min(last, close) * 0.998, 2)
            candle = market.Candle("sim", symbol, "1m", ts, last, high, low, close, chance.choice((3.0, 40.0, 900.0)))
            if minute in (100, 101, 102) or chance.random() < 0.01:
                held.append(candle)
                continue
            put(ts, candle, symbol)
            if held and chance.random() < 0.1:
                put(ts, held.pop(0), symbol)
            if chance.random() < 0.01:
                put(ts, msgspec.structs.replace(candle, close=low), symbol)
            if minute == 500:  # a price too far away to be believed at once
                put(
                    ts + MINUTE // 2,
                    msgspec.structs.replace(candle, ts=ts + MINUTE, high=high * 9, close=high * 9),
                    symbol,
                )
            if chance.random() < 0.005:
                put(ts, msgspec.structs.replace(candle, high=low / 2), symbol)
        found += [(subjects.COMMAND, command(fact, fact.ts)) for fact in _commands(minute, START + minute * MINUTE)]  # type: ignore[attr-defined]
    return found


def _commands(minute: int, ts: int) -> Sequence[Fact]:
    who = ("*" if minute % 2 else "main", ts, "operator", "as it should be")
    match minute:
        case 150:
            return (control.PauseBot("cross", ts, "operator", "a look at it"),)
        case 180:
            return (control.ResumeBot("*", ts, "operator", "go on"),)
        case 220 | 300 | 380 | 461:
            level = {220: "no-new-risk", 300: "close-only", 380: "cancel-all", 461: "flatten"}[minute]
            return (control.RestrictTrading(*who[:3], level, who[3]),)
        case 250 | 330 | 400 | 481:
            return (control.ReleaseTrading(*who),)
        case _:
            return ()


SCENARIOS: dict[str, tuple[Callable[[], tuple[Plan, Market]], bool, int]] = {
    "exchange": (exchange, True, 10),
    "candles": (candles, False, 0),
    "faults": (candles, True, 60),
}
"""What is played, whether in lock-step, and how many faults strike."""


async def simulated(kind: str) -> tuple[MemoryTape, list[Line]]:
    make, lockstep, faults = SCENARIOS[kind]
    plan, stream = make()
    world = World(plan, stream, seed=11, faults=faults)
    await record_plan(world.tape, plan, START)
    await world.play(lockstep=lockstep)
    codec = Codec()
    return world.tape, [line(entry, codec.encode(entry.decision)) for entry in world.tape.entries]


async def from_bus(url: str, name: str) -> tuple[JetStreamTape, list[Line]]:
    tape = await JetStreamTape.connect(url, name, create=False)
    return tape, [line(entry, await body(tape, entry)) async for entry in tape.read()]


async def body(tape: JetStreamTape, entry: Recorded) -> bytes:
    """The bytes as they stand there: of what cannot be read, the fact has them."""
    first = entry.decision.facts[0]
    return first.raw if isinstance(first, control.Unreadable) else Codec().encode(entry.decision)


async def found_by_audit(tape: MemoryTape | JetStreamTape) -> About:
    verdict = await audit(tape)
    assert verdict.difference is None, str(verdict.difference)
    assert (verdict.undecided, verdict.taken) == (0, 0)
    return About(verdict.entries, verdict.decisions, verdict.digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("kind", nargs="?", choices=SCENARIOS)
    parser.add_argument("--bus", nargs=2, metavar=("URL", "TAPE"))
    chosen = parser.parse_args()
    if chosen.bus:

        async def recorded() -> tuple[list[Line], About]:
            tape, lines = await from_bus(*chosen.bus)
            try:
                return lines, await found_by_audit(tape)
            finally:
                await tape.close()

        lines, told = asyncio.run(recorded())
    else:
        tape, lines = run(simulated(chosen.kind))
        told = asyncio.run(found_by_audit(tape))
    write(chosen.name, lines, told)
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
