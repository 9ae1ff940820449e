"""From market files and recorded tapes to the stream that a backtest plays."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from actors.plan import SymbolPlan
from events import subjects, timeframe
from events.block import Columns, unpack
from events.control import FeedClaimed, Quarantined
from events.decision import Decision
from events.feed import observed
from events.market import CandleBlock, Trade
from events.tape import Tape
from infra.backtest import chunks
from infra.backtest.naming import Named, named
from infra.backtest.steps import Steps, step_of
from infra.session.market import Stamped, candle_messages, merged

VENUES = {"binance-klines": "binance", "binance-trades": "binance", "kraken-ohlcvt": "kraken",
          "kraken-trades": "kraken", "kraken-rest": "kraken", "histdata-m1": "histdata", "fxcm": "fxcm",
          "mt4": "mt4", "mt5": "mt5"}  # fmt: skip
VENUE = "data"
"""Where neither the caller nor the file says."""
_STORE = b"TTSTORE1"  # the MAGIC of `infra.store`, which is loaded only where such a file is
_STREAM_ROWS = 8_192  # as Python objects they take 2 MB


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
    `rejects` as `infra.importers` gives them. `source`: where candles are read piece by piece instead; `candles` is
    None where they are read in no other way. `sha256` of a store file is its seal.
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
    source: chunks.Source | None = None

    @property
    def rows(self) -> int:
        if self.source is not None:
            return self.source.rows
        return len(self.candles.ts if self.candles is not None else self.trades.ts)

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last event time, µs; None without rows."""
        if self.source is not None:
            return self.source.first, self.source.last
        ts = self.candles.ts if self.candles is not None else self.trades.ts
        return (int(ts[0]), int(ts[-1])) if len(ts) else None


def parse(spec: str) -> Spec:
    """`FILE[=[venue/]SYMBOL[@timeframe]]` or `FILE[@timeframe]`; a file of the whole name wins. Raises DataError."""
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


def load(spec: str | Spec, *, flat: bool = False, **options: Any) -> MarketFile:
    """Reads one file, of a format of `infra.importers` or a store file.

    `flat`: candles are not kept (`candles` is None), `stream` and `windows` read them piece by piece, so that memory
    does not grow with the file; formats that need the whole file, and trades, are refused. `options` go to
    `infra.importers.read` or `read_parts`. Raises DataError, and ImportError_ and StoreError from there.
    """
    wanted = parse(spec) if isinstance(spec, str) else spec
    said = named(wanted.path.absolute())
    if wanted.timeframe is not None:
        options = {"timeframe": wanted.timeframe, **options}
    with ThreadPoolExecutor(1) as beside:
        if is_store(wanted.path):
            return _stored(wanted, flat)
        sha256 = beside.submit(_sha256, wanted.path)  # as long as the file is read, on another core
        return _in_parts(wanted, said, options, sha256.result) if flat else _read(wanted, said, options, sha256.result)


def _read(wanted: Spec, said: Named, options: dict[str, Any], sha256: Callable[[], str]) -> MarketFile:
    from infra.importers import read  # brings pyarrow, which `--help` can spare

    found = read(wanted.path, **options)
    venue, symbol = _instrument(wanted, said, found.report.format)
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
    trades = data if candles is None else None
    return MarketFile(
        str(wanted.path), sha256(), venue, symbol, length, candles, trades, tick, lot, found.report, found.rejects
    )


def _instrument(wanted: Spec, said: Named, format: str) -> tuple[str, str]:
    venue = wanted.venue or said.venue or VENUES.get(format, VENUE)
    symbol = wanted.symbol or said.symbol
    if symbol is None:
        raise DataError(f"{wanted.path.name} does not say its symbol: write {wanted.path}={venue}/SYMBOL")
    return venue, symbol


def _in_parts(wanted: Spec, said: Named, options: dict[str, Any], sha256: Callable[[], str]) -> MarketFile:
    from infra.importers import read_parts  # as in `_read`

    # Every reading refuses the same rows: those that lie in the future, too.
    options = {"now": time.time_ns() // 1_000, **options}
    parts, prices, volumes = read_parts(wanted.path, **options), Steps(), Steps()
    for one in parts:
        prices.add(one.open, one.high, one.low, one.close)
        volumes.add(one.volume)
    report = parts.report
    assert report is not None
    venue, symbol = _instrument(wanted, said, report.format)
    first, last = report.first_ts or 0, report.last_ts or 0
    source = chunks.InParts(wanted.path, options, report.accepted, first, last)
    length = _length(wanted, report, said.timeframe)
    return MarketFile(
        str(wanted.path), sha256(), venue, symbol, length, None, None, prices.step, volumes.step, report,
        tuple(parts.rejects), source,
    )  # fmt: skip


def is_store(path: Path) -> bool:
    """By its name, or as all of them end."""
    if path.suffix == ".store":
        return True
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - len(_STORE)))
        return file.read() == _STORE


def _stored(wanted: Spec, flat: bool) -> MarketFile:
    from infra.importers.model import Choice, ImportReport
    from infra.store import open_store

    stored = open_store(wanted.path)
    series = stored.series
    if flat and series.timeframe is None:
        raise DataError(f"{wanted.path} holds trades, which are not read piece by piece")
    for stated, own in ((wanted.venue, series.venue), (wanted.symbol, series.symbol),
                        (wanted.timeframe, series.timeframe)):  # fmt: skip
        if stated is not None and stated != own:
            raise DataError(f"{wanted.path} holds {series.venue}/{series.symbol}@{series.timeframe}, not {stated}")
    ticks, prices, volumes = series.timeframe is None, Steps(), Steps()
    for one in stored.chunks():
        prices.add(*((one.price,) if ticks else (one.open, one.high, one.low, one.close)))
        volumes.add(one.qty if ticks else one.volume)
    micros = None if series.timeframe is None else timeframe.micros(series.timeframe)
    torn = (f"{stored.torn} bytes at the end are of an append that did not end: left out",) if stored.torn else ()
    said = None if ticks else Choice(str(series.timeframe), "stated")
    report = ImportReport(
        str(wanted.path), "store", series.kind, stored.rows, stored.rows, 0, 0, 0, 0, 0, stored.first, stored.last,
        said, micros, Choice("UTC", "stated"), None if ticks else Choice("close", "stated"), torn,
    )  # fmt: skip
    candles = stored.columns(check=False) if micros is not None and not flat else None  # checked by the loop above
    return MarketFile(
        str(wanted.path), stored.seal, series.venue, series.symbol, series.timeframe, candles,
        stored.trades(check=False) if micros is None else None, prices.step, volumes.step, report, (),
        stored if micros is not None else None,
    )  # fmt: skip


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
        steps: dict[str, Any] = {"tick": _finest(one.tick for one in own), "lot": _finest(one.lot for one in own)}
        plans.append(
            SymbolPlan(
                venue=venue,
                symbol=symbol,
                source="trades" if own[0].timeframe is None else "candles",
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
    yield from (message for one in parts for message in refused(one))
    yield from _once(merged([_messages(one, start, end) for one in parts]))


def windows(
    files: Iterable[MarketFile], *, start: int | None = None, end: int | None = None, rows: int = chunks.ROWS
) -> Iterator[dict[str, Columns]]:
    """The candles of all files, cut at common times: feed -> its rows, at most `rows` of each file, in time order.

    No row of a window lies before one of the windows before it, and rows of one time are in one window. As messages,
    feed by feed among equal times, they are what `stream` says after the refused rows (`refused`): a row that several
    files have alike is there once; where they contradict each other both rows are, and `ts` then repeats. Memory does
    not grow with store files and files that were loaded `flat`. Raises DataError for trades, and where files of one
    instrument are of several timeframes, and what reading the files raises.
    """
    parts = list(files)
    lengths: dict[str, str] = {}
    for one in parts:
        if one.timeframe is None:
            raise DataError(f"{one.path} holds trades, which do not come in windows: play them as messages")
        feed = subjects.feed(one.venue, one.symbol)
        if lengths.setdefault(feed, one.timeframe) != one.timeframe:
            raise DataError(f"{feed} comes as {one.timeframe} and {lengths[feed]}: give files of one timeframe")
    sources = [(subjects.feed(one.venue, one.symbol), _source(one)) for one in parts]
    try:
        yield from chunks.windows(sources, start, end, rows)
    except ValueError as error:
        raise DataError(str(error)) from error


def _source(file: MarketFile) -> chunks.Source:
    if file.source is not None:
        return file.source
    assert file.candles is not None
    return chunks.InMemory(file.candles)


def _messages(file: MarketFile, start: int | None, end: int | None) -> Iterator[Stamped]:
    if file.timeframe is not None:
        for rows in _source(file).chunks(_STREAM_ROWS, start=start, end=end):
            yield from candle_messages(file.venue, file.symbol, file.timeframe, rows)
        return
    ts = file.trades.ts
    first = 0 if start is None else int(np.searchsorted(ts, start, "right"))
    last = len(ts) if end is None else int(np.searchsorted(ts, end, "right"))
    yield from _trade_messages(file, first, last)


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


def refused(file: MarketFile) -> Iterator[Stamped]:
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
        decision = entry.decision
        if isinstance(decision.facts[0], FeedClaimed) or (venues and venue not in venues):
            continue
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
