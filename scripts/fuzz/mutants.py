"""Messages gone wrong: golden facts, recorded messages and facts of the running market, changed with their structure
in mind, and then as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from events import subjects
from events.block import Columns, pack
from events.codec import Codec
from events.decision import Decision
from events.fact import kind
from events.feed import observed
from scripts.fuzz.corpus import NUMBERS, VALUES, Corpus, Json, Mutant
from scripts.fuzz.market import BARS, TICKS, VENUE

LARGEST = 1_048_576 - 512  # the server's limit of a message, less its headers
BATCH_MAX = 96

_AMOUNTS = ("open", "high", "low", "close", "volume", "count", "price", "qty", "bid", "ask", "rows")


class Mutator:
    """Makes mutants. `now` is the market's time in µs: a stamp that lies between it and the clock is plausible."""

    def __init__(self, seed: int) -> None:
        self.chance, self.corpus = Random(seed), Corpus()
        self.now, self._id = 0, 0
        self._codec = Codec()
        names = ("pause-bot/1", "resume-bot/1", "release-trading/1", "restrict-trading/1")
        self._commands = [fact for fact in self.corpus.facts if fact["type"] in names]
        self._ways: list[tuple[float, Callable[[], Mutant]]] = [
            (40, self._values), (12, self._shape), (8, self._tagged), (8, self._head), (8, self._bytes),
            (12, self._golden), (6, self._block), (5, self._order), (4, self._elsewhere), (4, self._command),
            (3, self._foreign), (2, self._headers), (1, self._text), (1, self._deep), (1, self._address),
            (0.05, self._crowd),
        ]  # fmt: skip
        self._weights = [weight for weight, _ in self._ways]
        self._large_every, self._made = 5_000, 0

    def next(self) -> Mutant:
        self._made += 1
        if self._made % self._large_every == 0:
            return self._large()
        return self.chance.choices(self._ways, self._weights)[0][1]()

    # What is sound, to begin with.

    def _symbol(self) -> str:
        return self.chance.choice((*BARS, *TICKS))

    def _number(self) -> str:
        self._id += 1
        return f"m{self._id}"

    def _sound(self, symbol: str) -> Json:
        chance = self.chance
        ts = self.now
        if symbol in BARS or chance.random() < 0.2:
            return {"type": "candle/1", "venue": VENUE, "symbol": symbol, "timeframe": "1s", "ts": ts, "open": 100.0,
                    "high": 101.0, "low": 99.0, "close": 100.5, "volume": 7.0, "count": 3}  # fmt: skip
        if chance.random() < 0.7:
            return {"type": "trade/1", "venue": VENUE, "symbol": symbol, "ts": ts, "price": 100.0, "qty": 1.0,
                    "side": "buy", "id": self._number()}  # fmt: skip
        return chance.choice((
            {"type": "feed-heartbeat/1", "venue": VENUE, "symbol": symbol, "ts": ts},
            {"type": "feed-opened/1", "venue": VENUE, "symbol": symbol, "ts": ts, "complete_from": ts},
            {"type": "feed-interrupted/1", "venue": VENUE, "symbol": symbol, "ts": ts, "reason": "lost"},
        ))  # fmt: skip

    def _message(self, how: str, symbol: str, facts: list[Json]) -> Mutant:
        """A whole message; where its facts can be read, with the id of its content, as a gateway gone mad sends it."""
        actor = subjects.feed(VENUE, symbol)
        name = self.chance.choice(("", "x", "0" * 32, f"{self.chance.getrandbits(128):032x}"))
        rest = f'"cause": 0, "by": "", "ts": {self.now}, "facts": {json.dumps(facts)}}}'
        body = f'{{"id": "{name}", {rest}'.encode()
        last = str(facts[-1].get("type", "")).partition("/")[0] or "candle"
        name = last if last.isascii() and last.replace("-", "").isalnum() and len(last) < 40 else "candle"
        if self.chance.random() < 0.9:
            try:
                found = self._codec.decode(f'{{"id": "x", {rest}'.encode())
                body = self._codec.encode(observed(actor, found.ts, *found.facts))
                name = kind(found.facts[-1])
            except ValueError:
                pass
        return Mutant(how, actor, name, body, len(facts))

    def _batch(self, how: str, change: Callable[[Json], None], most: int = BATCH_MAX) -> Mutant:
        symbol = self._symbol()
        facts = [self._sound(symbol) for _ in range(self.chance.randint(1, most))]
        for fact in facts:
            change(fact)
        return self._message(how, symbol, facts)

    # Facts of the right shape with wrong values: as a rule each is refused on its own.

    def _values(self) -> Mutant:
        ways = (
            ("number", self._amount),
            ("stamp", self._stamp),
            ("contradiction", self._contradict),
            ("name", self._name),
        )
        how, change = self.chance.choice(ways)
        return self._batch(how, change)

    def _amount(self, fact: Json) -> None:
        names = [name for name in _AMOUNTS if name in fact]
        for name in self.chance.sample(names, min(len(names), self.chance.randint(1, 2))):
            number = self.chance.choice(NUMBERS)
            if number != number or abs(number) == float("inf") or abs(number) > 2**63:
                number = -1.0  # JSON has no words for these; `_shape` says them all the same
            fact[name] = int(number) if name in ("count", "rows") else float(number)
        if not names:
            self._stamp(fact)

    def _stamp(self, fact: Json) -> None:
        second, day = 1_000_000, 86_400_000_000
        stamps = (
            0, -1, 1, -(2**63), 2**63 - 1, 946_684_799_999_999, 946_684_800_000_000, 4_102_444_800_000_000,
            4_102_444_800_000_001, 7_258_118_400_000_000, self.now + 60 * second, self.now + day, self.now + 400 * day,
            self.now - day, self.now - 3_600 * second, self.now + 1, self.now - 1,
            self.now - self.chance.randint(0, 10**9),
        )  # fmt: skip
        fact["ts"] = self.chance.choice(stamps)
        if "complete_from" in fact:
            fact["complete_from"] = self.chance.choice(stamps)

    def _contradict(self, fact: Json) -> None:
        if "high" not in fact:
            return self._amount(fact)
        a, b = self.chance.sample(("open", "high", "low", "close"), 2)
        fact[a], fact[b] = fact[b], fact[a]
        if fact["low"] <= min(fact["open"], fact["close"]) and fact["high"] >= max(fact["open"], fact["close"]):
            fact["high"] = fact["low"] / 2
        return None

    def _name(self, fact: Json) -> None:
        name = self.chance.choice([name for name in ("venue", "symbol", "timeframe") if name in fact])
        other = TICKS[0] if fact["symbol"] in BARS else BARS[0]
        names = ("", "SIM", "sim ", other, "1m", "١s", "é", "a.b", ">", "x" * 300, "\x00", "5s")
        fact[name] = self.chance.choice(names)

    def _golden(self) -> Mutant:
        """Golden facts of every type as a feed might say them, with one or two fields of another value."""
        symbol, chance = self._symbol(), self.chance
        facts = []
        for _ in range(chance.choice((1, 1, 4, 16))):
            fact = {**chance.choice(self.corpus.facts)}
            here = {"venue": VENUE, "symbol": symbol, "timeframe": "1s", "ts": self.now, "complete_from": self.now}
            fact |= {name: value for name, value in here.items() if name in fact}
            for name in chance.sample(sorted(fact), min(len(fact), chance.choice((1, 1, 2)))):
                fact[name] = self._other(fact[name])
            facts.append(fact)
        return self._message("golden", symbol, facts)

    def _other(self, value: Any) -> Any:
        """Mostly of the same type, so that the codec takes it."""
        chance = self.chance
        if chance.random() < 0.1:
            return chance.choice(VALUES)
        match value:
            case bool():
                return not value
            case int():
                return chance.choice((value + 1, -value, 0, 2**63 - 1, -(2**63), self.now, 2**53 + 1))
            case float():
                return chance.choice((-value, 0.0, 1e300, 5e-324, value * 10, 1e15))
            case str():
                return chance.choice(("", "0", "-1", "1e5", "NaN", "x" * 300, "\x00", "é", value + "0", "1" * 40))
            case list():
                return chance.choice(([], value * 2, value[:1], [None]))
            case dict():
                return chance.choice(({}, {**value, "x": 1}, dict.fromkeys(value)))
            case _:
                return chance.choice(VALUES)

    # Other shapes, which the codec refuses.

    def _shape(self) -> Mutant:
        symbol, chance = self._symbol(), self.chance
        fact = self._sound(symbol)
        name = chance.choice(sorted(fact))
        how = chance.choice(("drop", "add", "rename", "type", "double", "words"))
        if how == "drop":
            del fact[name]
        elif how == "add":
            fact[chance.choice(("colour", "Type", "", "ts ", "é"))] = chance.choice(VALUES)
        elif how == "rename":
            fact[f"{name}x"] = fact.pop(name)
        elif how == "type":
            fact[name] = chance.choice(VALUES)
        elif how == "words":
            fact[name] = chance.choice(NUMBERS)
        found = self._message(f"field {how}", symbol, [fact])
        if how == "double":
            text = f'"{name}":'.encode()
            found = found._replace(body=found.body.replace(text, text + b'"again",' + text, 1))
        return found

    def _tagged(self) -> Mutant:
        tags = ("candle", "candle/2", "candle/0", "candle/-1", "candle/" + "9" * 30, "candle/" + "9" * 5_000, "/1", "",
                "/", "trade/01", "Candle/1", "nonsense/1", "actor-claimed/1", "unreadable/1", "x" * 3_000)  # fmt: skip
        symbol = self._symbol()
        fact = self._sound(symbol)
        fact["type"] = self.chance.choice((*tags, *self.corpus.tags))
        return self._message("tag", symbol, [fact])

    def _head(self) -> Mutant:
        symbol = self._symbol()
        facts = [self._sound(symbol) for _ in range(self.chance.choice((1, 1, 8)))]
        for fact in facts if self.chance.random() < 0.5 else ():
            self._amount(fact)
        found = self._message("head", symbol, facts)
        head = json.loads(found.body)
        name = self.chance.choice(("id", "cause", "by", "ts", "facts"))
        head[name] = self.chance.choice((*VALUES, *NUMBERS, "0" * 32, "f" * 32, self.now))
        if self.chance.random() < 0.2:
            del head[name]
        return found._replace(body=json.dumps(head).encode())

    def _deep(self) -> Mutant:
        symbol, depth = self._symbol(), self.chance.choice((50, 500, 900, 5_000, 100_000))
        opening, closing = self.chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        nested = opening * depth + b"1" + closing * depth
        found = self._message("nesting", symbol, [self._sound(symbol)])
        name = self.chance.choice((b'"ts":', b'"facts":', b'"type":'))
        return found._replace(body=found.body.replace(name, name + nested + b',"z":', 1))

    def _text(self) -> Mutant:
        symbol, chance = self._symbol(), self.chance
        fact = self._sound(symbol)
        name = chance.choice([name for name, value in fact.items() if isinstance(value, str)])
        fact[name] = chance.choice(("x", "\x00", "é", "😀", '"', "\\")) * chance.choice((200, 5_000, 60_000))
        return self._message("long text", symbol, [fact])

    def _crowd(self) -> Mutant:
        """More in one message than its answer has room for."""
        symbol, count = self._symbol(), self.chance.choice((200, 999, 1_000, 1_001, 3_000))
        facts = [self._sound(symbol) for _ in range(count)]
        change = self.chance.choice((self._stamp, self._amount, self._contradict, self._name))
        for fact in facts:
            change(fact)
        return self._message("crowd", symbol, facts)

    def _large(self) -> Mutant:
        symbol = self._symbol()
        fact = self._sound(symbol)
        way = self.chance.randrange(4)
        if way == 0:
            return Mutant("large", subjects.feed(VENUE, symbol), "candle", bytes(LARGEST))
        if way == 1:
            fact["venue"] = self.chance.choice(("x", "é", "\x00")) * 150_000
        elif way == 2:
            fact["type"] = "x" * 900_000
        else:
            fact["x" * 900_000] = 1
        return self._message("large", symbol, [fact])

    # Blocks of history.

    def _block(self) -> Mutant:
        symbol, chance = self._symbol(), self.chance
        rows = chance.choice((1, 2, 5, 50))
        stamps = self.now - 10**6 * np.arange(rows, 0, -1, dtype=np.int64) - 3_600_000_000
        prices = np.full(rows, 100.0)
        if chance.random() < 0.3:
            stamps = chance.choice((stamps[::-1].copy(), stamps * 0, stamps + 10**15, stamps // 7, -stamps))
        if chance.random() < 0.3:
            prices = prices * chance.choice((-1.0, 0.0, np.nan, np.inf, 1e300, 5e-324))
        columns = Columns(stamps, prices, prices, prices, prices, prices)
        fact = json.loads(self._codec.encode(Decision("", 0, "", 0, tuple(pack(VENUE, symbol, "1s", columns)))))[
            "facts"
        ][0]
        name = chance.choice(("ts", "open", "high", "low", "close", "volume", "count", "rows", "timeframe"))
        if name == "rows":
            fact[name] = chance.choice((0, -1, rows + 1, 2**40, 4_001))
        elif name != "timeframe":
            raw = base64.b64decode(fact[name])
            fact[name] = chance.choice((
                base64.b64encode(raw[:-1]).decode(), base64.b64encode(raw + b"\0" * 8).decode(), "", "####", "AA=A",
                base64.b64encode(chance.randbytes(len(raw))).decode(), fact[name] + "=",
            ))  # fmt: skip
        return self._message("block", symbol, [fact])

    # Sound facts where or when they do not belong.

    def _order(self) -> Mutant:
        symbol, chance, now = self._symbol(), self.chance, self.now
        second = 1_000_000
        heartbeat: Json = {"type": "feed-heartbeat/1", "venue": VENUE, "symbol": symbol, "ts": now - 100 * second}
        opened: Json = {
            "type": "feed-opened/1",
            "venue": VENUE,
            "symbol": symbol,
            "ts": now,
            "complete_from": now - second,
        }
        lost: Json = {"type": "feed-interrupted/1", "venue": VENUE, "symbol": symbol, "ts": now, "reason": "?"}
        old, again = self._sound(symbol), self._sound(symbol)
        old["ts"] = now - now % second - chance.randint(1, 100) * second
        facts = chance.choice((
            [heartbeat], [opened, opened], [lost, opened], [opened, lost, opened], [old], [again, again], [again, old],
            [old, old, heartbeat, again], [lost, heartbeat, opened],
        ))  # fmt: skip
        return self._message("order", symbol, facts)

    def _foreign(self) -> Mutant:
        """What belongs to another role, on a feed: golden facts, and recorded decisions of bots and accounts."""
        symbol, actor = self._symbol(), subjects.feed(VENUE, BARS[0])
        if self.chance.random() < 0.5:
            return self._message("swapped", symbol, [dict(self.chance.choice(self.corpus.facts))])
        return Mutant("swapped", actor, "fill", self.chance.choice(self.corpus.others))

    def _elsewhere(self) -> Mutant:
        chance = self.chance
        actor, name = chance.choice((
            ("quarantine.csv", "quarantined"), ("nonsense.what", "ever"), ("x", "y"),
            ("session.plan", "session-started"), ("feed.sim.NONE", "candle"), ("feed.other.AAA-USDT", "trade"),
            ("supervisor.session", "actor-halted"), (subjects.feed(VENUE, BARS[0]), "nonsense"), ("venue.x", "fill"),
        ))  # fmt: skip
        body = chance.choice((
            b"", b"hello", b"{}", b"\xff\xfe", chance.choice(self.corpus.others), chance.choice(self.corpus.messages),
            self._message("", TICKS[0], [dict(chance.choice(self.corpus.facts))]).body,
        ))  # fmt: skip
        return Mutant("elsewhere", actor, name, body)

    def _address(self) -> Mutant:
        """Where no one of ours writes. The server takes any bytes but blanks and line ends for a subject."""
        chance, symbol = self.chance, self._symbol()
        found = self._batch("address", self._amount, 4)
        token = chance.choice((
            "\udcff", "\udcc0\udc80", "\udced\udca0\udc80", "\udcf0\udc9f\udc98", "\ufffd", "é", "\x00", "\x0b", "\x0c",
            "\x1b[31m", "\x7f\x01", "*", ">", "$JS", "q" * 3_000, ".".join("q" * 200), "candle/1", "';--",
            f"n{self._number()}",
        ))  # fmt: skip
        actor, name = chance.choice((
            (subjects.feed(VENUE, symbol), token), (f"feed.{token}", "candle"), (token, "x"),
            (f"feed.sim.{token}", "x"),
        ))  # fmt: skip
        return found._replace(actor=actor, kind=name)

    def _command(self) -> Mutant:
        fact = dict(self.chance.choice(self._commands))
        fact[self.chance.choice(sorted(fact))] = self.chance.choice((*VALUES, *NUMBERS))
        name = str(fact.get("type")).partition("/")[0]
        body = json.dumps({"id": "x", "cause": 0, "by": "", "ts": self.now, "facts": [fact]}).encode()
        try:
            found = self._codec.decode(body)
            body = self._codec.encode(observed(subjects.COMMAND, found.ts, *found.facts))
        except ValueError:
            name = "pause-bot"
        return Mutant("command", subjects.COMMAND, name, body)

    def _headers(self) -> Mutant:
        symbol, chance = self._symbol(), self.chance
        found = self._message("headers", symbol, [self._sound(symbol)])
        value = chance.choice(("-1", "9" * 18, "9" * 30, "9" * 5_000, "x", "", " 7", "1e3", "١", "0x10", "\x01"))
        name = chance.choice(("Tickertape-Epoch", "tickertape-epoch", "X", "Nats-Subject", "Nats-Sequence"))
        extra = "X: y\r\n" * chance.choice((0, 1, 50))
        return found._replace(headers=f"NATS/1.0\r\n{extra}{name}: {value}\r\n\r\n".encode())

    # Bytes.

    def _bytes(self) -> Mutant:
        symbol, chance = self._symbol(), self.chance
        if chance.random() < 0.3:
            body = chance.choice(self.corpus.messages)
        else:
            body = self._message("", symbol, [self._sound(symbol)]).body
        at = chance.randrange(max(len(body), 1))
        how = chance.choice(("flip", "cut", "join", "utf-8", "mark", "empty", "insert", "space", "utf-16"))
        match how:
            case "flip":
                changed = bytearray(body)
                for _ in range(chance.choice((1, 1, 2, 8))):
                    changed[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
                body = bytes(changed)
            case "cut":
                body = body[:at]
            case "join":
                body += chance.choice((body, b"{}", b",", b"\n" + body))
            case "utf-8":
                body = (
                    body[:at] + chance.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")) + body[at:]
                )
            case "mark":
                body = b"\xef\xbb\xbf" + body
            case "empty":
                body = b""
            case "insert":
                body = body[:at] + chance.randbytes(chance.randint(1, 9)) + body[at:]
            case "space":
                body = b" \n\t" + body + b"\r\n"
            case _:
                body = body.decode("utf-8", "replace").encode("utf-16")
        return Mutant(f"bytes {how}", subjects.feed(VENUE, symbol), "candle", body)
