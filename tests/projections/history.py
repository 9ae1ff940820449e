"""Tapes as a running system would leave them, made from a seed: markets with gaps, bots, orders, fills, mishaps."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import numpy as np

from events import control as c
from events import market as m
from events import trading as t
from events.block import Columns, pack
from events.decision import Decision, digest_of
from events.fact import Fact
from events.memory import MemoryTape
from events.timeframe import MINUTE

START = 1_700_000_040_000_000  # 2023-11-14 22:14 UTC
SYMBOLS = ("BTC-USDT", "ETH-USDT", "XRP-USDT")
FEE = Decimal("0.00050000")
D = Decimal


class History:
    """Writes onto `tape` step by step; one step is a minute of one symbol."""

    def __init__(self, seed: int, name: str = "main") -> None:
        self.tape, self.seed = MemoryTape(name), seed
        self.chance = Random(seed)
        self.ts = START
        self.cash = D(100_000)
        self.position: dict[str, tuple[Decimal, Decimal]] = {}
        self.orders = 0
        self.paused = False
        self.refused = 0
        self._numbers = 0

    def put(self, actor: str, *facts: Fact, ts: int | None = None) -> int:
        self._numbers += 1
        last = self.tape._last.get(actor)
        name = digest_of(f"{self.seed}{actor}{self._numbers}{facts}".encode())
        decision = Decision(name, 0, "", self.ts if ts is None else ts, facts)
        return self.tape.put(actor, decision, expected=last.seq if last else 0).seq

    def begin(self) -> None:
        self.put("session.plan", c.SessionStarted(self.ts, {"symbols": list(SYMBOLS), "nested": {"a": 1.5}}, "h"))
        self.put("account.main", c.ActorClaimed("account.main", 1, "host/1", "1"), ts=0)
        self.put("account.main", c.AccountOpened("main", self.ts, "USDT", "100000"))
        for symbol in SYMBOLS:
            bot = f"bot-{symbol}"
            self.put(f"feed.sim.{symbol}", m.FeedOpened("sim", symbol, self.ts, self.ts - MINUTE))
            started = c.BotStarted(bot, "main", "sim", symbol, "1m", self.ts, "ema-cross", 1, {"fast": 3, "slow": 8})
            self.put(f"bot.{bot}", started)
        self.warm_up()

    def warm_up(self) -> None:
        for symbol in SYMBOLS[:2]:
            ts = self.ts - MINUTE * np.arange(60, 0, -1)
            price = 100 + np.arange(60) / 8
            counts = np.arange(60) if symbol == SYMBOLS[0] else None
            columns = Columns(ts, price, price + 1, price - 1, price + 0.5, price / 3, counts)
            self.put(f"market.sim.{symbol}", *pack("sim", symbol, "1m", columns))

    def run(self, minutes: int) -> History:
        self.begin()
        for _ in range(minutes):
            self.ts += MINUTE
            for symbol in SYMBOLS:
                self.minute(symbol)
            if self.chance.random() < 0.2:
                self.mishap()
        return self

    def minute(self, symbol: str) -> None:
        chance, market = self.chance, f"market.sim.{symbol}"
        if chance.random() < 0.1:
            self.put(market, m.GapFound("sim", symbol, "1m", self.ts, self.ts, 1))
            if chance.random() < 0.7:
                late = m.CandleBackfilled("sim", symbol, "1m", self.ts, 1.0, 2.0, 0.5, 1.5, 10.0)
                self.put(market, late, m.GapFilled("sim", symbol, "1m", self.ts, self.ts, 1))
            return
        close = round(100 + chance.uniform(-5, 5), 2)
        bar = ("sim", symbol, "1m", self.ts, close - 0.5, close + 1, close - 1, close, chance.uniform(0, 9), 7)
        self.put(f"feed.sim.{symbol}", m.Candle(*bar))
        extra = (m.Candle(*bar[:2], "5m", *bar[3:]),) if self.ts % (5 * MINUTE) == 0 else ()
        self.put(market, m.Candle(*bar), *extra)
        if chance.random() < 0.05:
            self.put(market, m.CandleRevised(*bar[:8], 1234.5, 8), m.DataFlagged("sim", symbol, self.ts, "odd", "x"))
        if chance.random() < 0.4:
            self.trade(symbol, D(repr(close)))

    def trade(self, symbol: str, price: Decimal) -> None:
        bot, chance = f"bot-{symbol}", self.chance
        target = chance.choice((-1.0, 0.0, 0.5, 1.0))
        signal = t.Signal(bot, "sim", symbol, self.ts, target, float(price), stop=1.0, reasons=("up", "left"))
        asked = self.put(f"bot.{bot}", signal)
        name = self.tape.entries[asked - 1].decision.id
        if chance.random() < 0.2:
            refusal = t.RiskRefused("main", bot, "sim", symbol, self.ts, name, "cooldown", "12 s left")
            self.put("account.main", refusal)
            return
        qty = D(chance.randrange(1, 2000)).scaleb(-3)
        self.orders += 1
        order, side = f"o{self.orders}", chance.choice(("buy", "sell"))
        sized = None if chance.random() < 0.2 else qty
        placed = t.OrderPlaced(order, "main", bot, "sim", symbol, self.ts, side, "market", "entry", sized)
        self.put("account.main", t.RiskApproved("main", bot, "sim", symbol, self.ts, name, sized), placed)
        self.work(order, bot, symbol, side, qty, price)

    def work(self, order: str, bot: str, symbol: str, side: str, qty: Decimal, price: Decimal) -> None:
        chance, what = self.chance, ("main", bot, "sim", symbol, self.ts)
        if chance.random() < 0.1:
            self.put("account.main", t.OrderRejected(order, *what, "lot", "too small"))
            return
        if chance.random() < 0.1:
            self.put("account.main", t.OrderTriggered(order, *what, price))
        part = (qty / 2).quantize(D("0.001")) if chance.random() < 0.3 else qty
        if part:
            self.put("account.main", self.fill(order, bot, symbol, side, part, price, qty - part))
        if part != qty:
            self.put("account.main", t.OrderCancelled(order, *what, "expired"))

    def fill(
        self, order: str, bot: str, symbol: str, side: str, qty: Decimal, price: Decimal, leaves: Decimal
    ) -> t.Fill:
        """As an account would reckon; a fill may take a position through zero here."""
        held, average = self.position.get(bot, (D(0), D(0)))
        signed = qty if side == "buy" else -qty
        after = held + signed
        realized = D(0)
        if held and (held > 0) != (signed > 0):
            closed = min(qty, abs(held))
            realized = (price - average) * closed * (1 if held > 0 else -1)
        if not after:
            average = D(0)
        elif held * after < 0 or not held:
            average = price
        elif abs(after) > abs(held):
            average = ((average * abs(held) + price * qty) / abs(after)).quantize(D("1e-12"))
        fee = (qty * price * FEE).quantize(D("1e-8"))
        self.cash -= signed * price + fee
        self.position[bot] = (after, average)
        role = "exit" if held * signed < 0 else "entry"
        ids = (f"{order}-f1", order, "main", bot, "sim", symbol, self.ts, side, role)
        return t.Fill(*ids, qty, price, fee, "taker", realized, after, average, self.cash, leaves)

    def mishap(self) -> None:
        pick, symbol = self.chance.randrange(8), SYMBOLS[0]
        match pick:
            case 0:
                self.put("command.operator", c.PauseBot("*", self.ts, "me", "lunch"))
                self.put(f"bot.bot-{symbol}", c.BotPaused(f"bot-{symbol}", self.ts, "lunch"))
            case 1:
                self.put(f"bot.bot-{symbol}", c.BotResumed(f"bot-{symbol}", self.ts, "back"))
            case 2:
                self.put("account.main", c.TradingRestricted("main", self.ts, "close-only", "drill"))
            case 3:
                self.put("account.main", c.TradingReleased("main", self.ts, "over"))
            case 4:
                raw = c.Quarantined("import", self.ts, "nan", "row 7", b"\x00\xffraw")
                at = self.put("quarantine.import", raw)
                self.refused += 1
                if self.refused % 2:
                    self.put("quarantine.operator", c.QuarantineDropped(at, 0, self.ts, "me", "gone"))
            case 5:
                self.put(f"feed.sim.{symbol}", c.Unreadable(f"main.feed.sim.{symbol}.candle", "no JSON", b"\xff{"))
            case 6:
                self.put(f"feed.sim.{symbol}", m.FeedInterrupted("sim", symbol, self.ts, "lost\u00e9"))
                self.put("supervisor.session", c.ActorHalted("bot.x", 5, "poison", "why"))
            case _:
                # What no table can hold, and what no order knows: parked, each for what cannot be shown of it.
                self.put(f"market.sim.{symbol}", m.DataFlagged("sim", symbol, self.ts, "zero", "a\0b"))
                self.put(f"market.sim.{symbol}", m.Candle("sim", symbol, "1m", 2**62, 1.0, 1.0, 1.0, 1.0, 1.0))
                self.put("account.main", t.OrderCancelled("none", "main", "b", "sim", symbol, self.ts, "x"))
                # This one only the database refuses: there is no such number in its JSON.
                started = c.BotStarted("odd", "main", "sim", symbol, "1m", self.ts, "s", 1, {"a": float("inf")})
                self.put("bot.odd", started)


def history(seed: int, minutes: int = 60, name: str = "main") -> MemoryTape:
    return History(seed, name).run(minutes).tape


def first(tape: MemoryTape, entries: int) -> MemoryTape:
    """A tape that holds only the beginning of another."""
    part = MemoryTape(tape.name)
    for entry in tape.entries[:entries]:
        last = part._last.get(entry.actor)
        part.put(entry.actor, entry.decision, expected=last.seq if last else 0)
    return part
