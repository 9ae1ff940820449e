"""From market files and recorded tapes to the stream that a backtest plays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from actors.plan import SymbolPlan
from events import subjects, timeframe
from events.block import Columns, unpack
from events.control import Quarantined
from events.decision import Decision
from events.feed import observed
from events.market import CandleBlock, Trade
from events.tape import Tape
from infra.backtest.naming import named
from infra.backtest.steps import step_of
from infra.session.market import Stamped, candle_messages, merged

VENUES = {"binance-klines": "binance", "binance-trades": "binance", "kraken-ohlcvt": "kraken",
          "kraken-trades": "kraken", "kraken-rest": "kraken", "histdata-m1": "histdata", "fxcm": "fxcm",
          "mt4": "mt4", "mt5": "mt5"}  # fmt: skip
VENUE = "data"
"""Where neither the caller nor the file says."""


class DataError(Exception):
    """Data that cannot be played: one sentence that says why and what to write instead."""


class Spec(msgspec.Struct, frozen=True):
    """What a caller says of a file; None leaves it to the file and its name."""

    path: Path
    venue: str | None = None
    symbol: str | None = None
    timeframe: str | None = None


class MarketFile(msgspec.Struct, frozen=True):
    """One file, read. `candles` or `trades` (messages are made from them when they are played), never both.

    `timeframe` None: trades. `tick` and `lot` as the data show them, None where they show none. `report` and
    `rejects` as `infra.importers` gives them.
    """

    path: str
    sha256: str
    venue: str
    symbol: str
    timeframe: str | None
    candles: Columns | None
    trades: Any
    tick: Decimal | None
    lot: Decimal | None
    report: Any
    rejects: tuple[Any, ...]


def parse(spec: str) -> Spec:
    """`FILE[=[venue/]SYMBOL[@timeframe]]` or `FILE[@timeframe]`, where a file of the whole name wins.

    Raises DataError.
    """
    if Path(spec).is_file():
        return Spec(Path(spec))
    path, equals, rest = spec.rpartition("=")
    if not equals:
        path, at, length = spec.rpartition("@")
        if not at or not Path(path).is_file():
            raise DataError(f"there is no file {spec!r}: write FILE=venue/SYMBOL@timeframe, as in btc.csv=sim/BTC-USDT")
        return _checked(Spec(Path(path), timeframe=length))
    if not Path(path).is_file():
        raise DataError(f"there is no file {path!r}")
    instrument, _, length = rest.partition("@")
    venue, slash, symbol = instrument.rpartition("/")
    return _checked(Spec(Path(path), venue if slash else None, symbol or None, length or None))


def _checked(spec: Spec) -> Spec:
    try:
        for name in (spec.venue, spec.symbol):
            if name is not None:
                subjects.token(name)
        if spec.timeframe is not None:
            timeframe.micros(spec.timeframe)
    except ValueError as error:
        raise DataError(f"{spec.path}: {error}") from error
    return spec


def load(spec: str | Spec, **options: Any) -> MarketFile:
    """Reads one file. `options` go to `infra.importers.read`. Raises DataError, and ImportError_ from there."""
    from infra.importers import read  # brings pyarrow, which `--help` can spare

    wanted = parse(spec) if isinstance(spec, str) else spec
    said = named(wanted.path.absolute())
    if wanted.timeframe is not None:
        options = {"timeframe": wanted.timeframe, **options}
    found = read(wanted.path, **options)
    venue = wanted.venue or said.venue or VENUES.get(found.report.format, VENUE)
    symbol = wanted.symbol or said.symbol
    if symbol is None:
        raise DataError(f"{wanted.path.name} does not say its symbol: write {wanted.path}={venue}/SYMBOL")
    if found.kind == "quotes":
        raise DataError(f"{wanted.path} holds quotes: state side='bid', 'ask' or 'mid' if it has bars, or use trades")
    length = None
    candles: Columns | None = None
    data: Any = found.data
    if found.kind == "candles":
        length = _length(wanted, found.report, said.timeframe)
        candles = Columns(data.ts, data.open, data.high, data.low, data.close, data.volume, data.count)
        tick, lot = step_of(data.open, data.high, data.low, data.close), step_of(data.volume)
    else:
        tick, lot = step_of(data.price), step_of(data.qty)
    sha256 = _sha256(wanted.path)
    trades = data if candles is None else None
    return MarketFile(
        str(wanted.path), sha256, venue, symbol, length, candles, trades, tick, lot, found.report, found.rejects
    )


def _length(spec: Spec, report: Any, said: str | None) -> str:
    micros = report.timeframe_us
    if micros is None:
        if said is None:
            raise DataError(f"{spec.path} does not say its timeframe: write {spec.path}=SYMBOL@1m, for example")
        return said
    found = timeframe.name(micros)
    if said is not None and spec.timeframe is None and timeframe.micros(said) != micros:
        raise DataError(f"{spec.path}: its name says {said}, its rows {found}: write {spec.path}@{found} or @{said}")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def symbol_plans(
    files: Sequence[MarketFile],
    *,
    timeframes: Sequence[str] = (),
    empty: Literal["flat", "omit"] = "flat",
    calendar: str = "24x7",
) -> tuple[SymbolPlan, ...]:
    """One plan per instrument of the files, with tick and lot as the data show them.

    `timeframes`: those wanted besides the files' own; what does not lie above the base is left out. Trades are made
    into bars of 1m. Raises DataError where the files of one instrument are of several timeframes.
    """
    plans = []
    for venue, symbol in sorted({(one.venue, one.symbol) for one in files}):
        own = [one for one in files if (one.venue, one.symbol) == (venue, symbol)]
        lengths = sorted({one.timeframe or "trades" for one in own})
        if len(lengths) > 1:
            raise DataError(f"{venue}/{symbol} comes as {' and '.join(lengths)}: play one of them; the rest is made")
        base = own[0].timeframe or "1m"
        higher = [one for one in timeframes if timeframe.micros(one) > timeframe.micros(base)]
        steps = {"tick": _finest(one.tick for one in own), "lot": _finest(one.lot for one in own)}
        plans.append(
            SymbolPlan(
                venue=venue,
                symbol=symbol,
                source="trades" if own[0].candles is None else "candles",
                base=base,
                timeframes=tuple(sorted(set(higher), key=timeframe.micros)),
                empty=empty,
                calendar=calendar,
                **{name: step for name, step in steps.items() if step is not None},
            )
        )
    return tuple(plans)


def _finest(steps: Iterable[Decimal | None]) -> Decimal | None:
    return min((step for step in steps if step is not None), default=None)


def stream(files: Iterable[MarketFile], *, start: int | None = None, end: int | None = None) -> Iterator[Stamped]:
    """The messages of all files in canonical order: refused rows first, then by event time and feed.

    `start` and `end` bound the event times: start < ts <= end, µs UTC. What several files say alike is said once.
    """
    parts = list(files)
    yield from (message for one in parts for message in _refused(one))
    yield from _once(merged([_messages(one, start, end) for one in parts]))


def _messages(file: MarketFile, start: int | None, end: int | None) -> Iterator[Stamped]:
    source = file.candles if file.candles is not None else file.trades
    first = 0 if start is None else int(np.searchsorted(source.ts, start, "right"))
    last = len(source.ts) if end is None else int(np.searchsorted(source.ts, end, "right"))
    if file.candles is not None:
        assert file.timeframe is not None
        return candle_messages(file.venue, file.symbol, file.timeframe, file.candles[slice(first, last)])
    return _trade_messages(file, first, last)


def _trade_messages(file: MarketFile, first: int, last: int) -> Iterator[Stamped]:
    """A trade without an id that looks like another of the same microsecond is numbered: it is a trade of its own."""
    actor, rows = subjects.feed(file.venue, file.symbol), file.trades
    sides = {1: "buy", -1: "sell", 0: ""}
    now, seen = -1, dict[Trade, int]()
    for row in range(first, last):
        ts = int(rows.ts[row])
        if ts != now:
            now, seen = ts, {}
        price, qty = float(rows.price[row]), float(rows.qty[row])
        trade = Trade(file.venue, file.symbol, ts, price, qty, sides[int(rows.side[row])], rows.id[row])
        if not trade.id:
            seen[trade] = seen.get(trade, 0) + 1
            if seen[trade] > 1:
                trade = msgspec.structs.replace(trade, id=f"same-{seen[trade]}")
        yield ts, actor, observed(actor, ts, trade)


def _refused(file: MarketFile) -> Iterator[Stamped]:
    """Rows that could not be read, each with its bytes, for the quarantine of its feed."""
    actor, ts = subjects.quarantine(f"{file.venue}-{file.symbol}"), file.report.first_ts or 0
    name = Path(file.path).name
    for one in file.rejects:
        fact = Quarantined(f"{name}:{one.row}", ts, one.reason, one.text, one.raw)
        yield ts, actor, observed(actor, ts, fact)


def _once(messages: Iterator[Stamped]) -> Iterator[Stamped]:
    now, seen = None, set[str]()
    for message in messages:
        if message[0] != now:
            now = message[0]
            seen.clear()
        if message[2].id not in seen:
            seen.add(message[2].id)
            yield message


async def from_tape(tape: Tape, *, venues: Sequence[str] = ()) -> Iterator[Stamped]:
    """What the feeds of a tape say, as the stream it was: blocks of history as single candles with their live ids.

    Single messages keep the order they have on the tape; candles of blocks go in by their time. Of `venues` only,
    where some are named. Raises DataError where the tape holds no market data.
    """
    blocks: list[CandleBlock] = []
    singles: list[Stamped] = []
    reached = 0
    async for entry in tape.read(["feed.>"]):
        _, venue, _ = entry.actor.split(".")
        if venues and venue not in venues:
            continue
        decision = entry.decision
        if any(isinstance(fact, CandleBlock) for fact in decision.facts):
            blocks += [fact for fact in decision.facts if isinstance(fact, CandleBlock)]
            continue
        reached = max(reached, decision.ts)
        singles.append((reached, entry.actor, _bare(decision)))
    if not blocks and not singles:
        raise DataError(f"tape {tape.name!r} holds no market data: import some with `tape import`")
    streams = [candle_messages(one.venue, one.symbol, one.timeframe, unpack(one)) for one in blocks]
    return _once(merged([*streams, iter(singles)]))


def _bare(decision: Decision) -> Decision:
    return decision if not decision.cause else msgspec.structs.replace(decision, cause=0)
