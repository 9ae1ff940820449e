"""`tape import`: market data files onto the tape, with a report; what is there already is not appended again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np

from events import subjects
from events.block import Columns, pack, unpack
from events.decision import Decision
from events.feed import observed
from events.market import CandleBlock, Quote, Trade
from infra.backtest.data import VENUE, VENUES
from infra.backtest.naming import named as says
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import append, folder, reached, session_pid, tape_of
from infra.cli.screen import Advance, Screen, pairs
from infra.cli.values import clock
from infra.importers import Imported, TradeColumns, read
from infra.session.opening import sole_session
from infra.tapes.jetstream import JetStreamTape

_BATCH = 1_000  # trades or quotes a message: about 150 kB, below the bus's limit of 1 MB

Message = tuple[str, Decision]


class Stated(msgspec.Struct, frozen=True):
    """What the command line says about the files; None leaves it to detection."""

    venue: str | None
    symbol: str | None
    timeframe: str | None
    timezone: str | None
    stamps: str | None
    columns: tuple[str, ...]
    format: str | None
    side: str | None


class Part(msgspec.Struct, frozen=True):
    """One file as read, and where it belongs."""

    path: Path
    venue: str
    symbol: str
    found: Imported


class Outcome(msgspec.Struct, frozen=True):
    """What came of one file: rows that are new on the tape, rows that were there, messages appended."""

    new: int = 0
    known: int = 0
    messages: int = 0
    quarantined: int = 0


def import_files(context: Context, files: Sequence[Path], stated: Stated, dry_run: bool):  # type: ignore[no-untyped-def]
    """Reads every file before anything is appended: a wrong third file leaves the tape as it was."""
    screen = context.screen
    config = context.config()
    parts = []
    for path in files:
        with screen.working(f"reading {path}"):
            parts.append(_read(path, stated))
    if dry_run:
        _report(screen, parts, None)
        return Exit.FINE
    return _append_all(context, config, parts)


async def _append_all(context: Context, config: Any, parts: list[Part]) -> int:
    pid = session_pid(config)
    if pid is not None:
        raise Failure(
            f"a session runs on tape {config.tape!r} (process {pid}), and it alone writes its feeds: end it with "
            "`tape stop`, or import to another tape with --tape",
            Exit.IN_THE_WAY,
        )
    outcomes = []
    screen = context.screen
    with sole_session(folder(config), config.tape):
        async with reached(config) as at, tape_of(config, at, "feed", create=True) as tape:
            for part in parts:
                rows = len(part.found.data.ts)
                with screen.progress(part.path.name, rows) as advance:
                    outcomes.append(await _append(tape, part, advance))
    _report(screen, parts, outcomes)
    return Exit.FINE


def _read(path: Path, stated: Stated) -> Part:
    options: dict[str, Any] = {}
    if stated.columns:
        options["columns"] = dict(_mapped(one) for one in stated.columns)
    side = cast(Literal["bid", "ask", "mid"] | None, stated.side)
    stamps = cast(Literal["open", "close"] | None, stated.stamps)
    found = read(path, format=stated.format, timeframe=stated.timeframe, timezone=stated.timezone, stamps=stamps,
                 side=side, **options)  # fmt: skip
    name = says(path.absolute())
    venue = stated.venue or name.venue or VENUES.get(found.report.format, VENUE)
    symbol = stated.symbol or name.symbol
    if symbol is None:
        raise Failure(f"{path} does not say its symbol: state it with --symbol, as in --symbol BTC-USDT")
    try:
        return Part(path, subjects.token(venue), subjects.token(symbol), _timed(path, found, name.timeframe))
    except ValueError as error:
        raise Failure(f"{path}: {error}; state it with --venue or --symbol") from None


def _mapped(text: str) -> tuple[str, str | int]:
    field, equals, column = text.partition("=")
    if not equals or not field or not column:
        raise Failure(f"--map {text!r} is no column map: write FIELD=COLUMN, as in --map ts=Date --map open=1")
    return field, int(column) if column.isdecimal() else column


def _timed(path: Path, found: Imported, named: str | None) -> Imported:
    if found.kind == "candles" and found.report.timeframe is None and named is None:
        raise Failure(f"{path} does not show its timeframe: state it with --timeframe, as in --timeframe 1m")
    return found


async def _append(tape: JetStreamTape, part: Part, advance: Advance) -> Outcome:
    """Appends what of a file is new. Candles are compared row by row, so that a longer file adds only what it adds."""
    known = 0
    if part.found.kind == "candles":
        messages, known = await _new_candles(tape, part)
    else:
        standing = await _ids(tape, subjects.feed(part.venue, part.symbol))
        every = list(_ticks(part))
        messages = [one for one in every if one[1].id not in standing]
        known = sum(len(one[1].facts) for one in every) - sum(len(one[1].facts) for one in messages)
    new = len(part.found.data.ts) - known
    done = 0
    for actor, message in messages:
        await append(tape, message, actor)
        done += sum(fact.rows if isinstance(fact, CandleBlock) else 1 for fact in message.facts)
        advance(done)
    refused = await _new_rejects(tape, part)
    for actor, message in refused:
        await append(tape, message, actor)
    return Outcome(new, known, len(messages) + len(refused), len(refused))


async def _new_candles(tape: JetStreamTape, part: Part) -> tuple[list[Message], int]:
    data = part.found.data
    columns = Columns(data.ts, data.open, data.high, data.low, data.close, data.volume, data.count)  # type: ignore[union-attr]
    timeframe = _timeframe(part)
    actor = subjects.feed(part.venue, part.symbol)
    fresh = columns[~await _stand(tape, actor, timeframe, columns)]
    blocks = pack(part.venue, part.symbol, timeframe, fresh)
    messages = [
        (actor, observed(actor, int.from_bytes(block.ts[-8:], "little", signed=True), block)) for block in blocks
    ]
    return messages, len(columns) - len(fresh)


def _timeframe(part: Part) -> str:
    choice = part.found.report.timeframe
    return choice.value if choice is not None else str(says(part.path.absolute()).timeframe)


async def _stand(
    tape: JetStreamTape, actor: str, timeframe: str, columns: Columns
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows stand on the tape already, with the same values, in a block of the same timeframe."""
    there = np.zeros(len(columns), bool)
    async for entry in tape.read([f"{actor}.candle-block"]):
        for fact in entry.decision.facts:
            if isinstance(fact, CandleBlock) and fact.timeframe == timeframe:
                old = unpack(fact)
                place = np.searchsorted(old.ts, columns.ts)
                place[place == len(old)] = 0
                same = old.ts[place] == columns.ts
                for name in ("open", "high", "low", "close", "volume"):
                    same &= getattr(old, name)[place] == getattr(columns, name)
                there |= same
    return there


async def _ids(tape: JetStreamTape, actor: str) -> set[str]:
    return {entry.decision.id async for entry in tape.read([f"{actor}.>"])}


def _ticks(part: Part) -> Iterator[Message]:
    """Trades or quotes, in batches that follow from the file alone, so that their ids do too."""
    actor = subjects.feed(part.venue, part.symbol)
    facts: Iterator[Trade | Quote] = _trades(part) if part.found.kind == "trades" else _quotes(part)
    while batch := tuple(islice(facts, _BATCH)):
        yield actor, observed(actor, batch[-1].ts, *batch)


def _trades(part: Part) -> Iterator[Trade]:
    data = cast(TradeColumns, part.found.data)
    sides = {1: "buy", -1: "sell", 0: ""}
    rows = zip(data.ts.tolist(), data.price.tolist(), data.qty.tolist(), data.side.tolist(), data.id, strict=True)
    for ts, price, qty, side, name in rows:
        yield Trade(part.venue, part.symbol, ts, price, qty, sides[side], name)


def _quotes(part: Part) -> Iterator[Quote]:
    data: Any = part.found.data
    columns = (getattr(data, name).tolist() for name in ("ts", "bid", "bid_size", "ask", "ask_size"))
    for row in zip(*columns, strict=True):
        yield Quote(part.venue, part.symbol, *row)


async def _new_rejects(tape: JetStreamTape, part: Part) -> list[Message]:
    from events.control import Quarantined

    if not part.found.rejects:
        return []
    actor = subjects.quarantine(part.found.report.format)
    standing = await _ids(tape, actor)
    ts = part.found.report.first_ts or 0
    made = [
        observed(actor, ts, Quarantined(f"{part.path.name}:{one.row}", ts, one.reason, one.text, one.raw))
        for one in part.found.rejects
    ]
    return [(actor, message) for message in made if message.id not in standing]


def _report(screen: Screen, parts: list[Part], outcomes: list[Outcome] | None) -> None:
    for place, part in enumerate(parts):
        outcome = outcomes[place] if outcomes is not None else None
        report = part.found.report
        value = {"venue": part.venue, "symbol": part.symbol, **msgspec.to_builtins(report),
                 "dry_run": outcome is None, **msgspec.to_builtins(outcome or Outcome())}  # fmt: skip
        screen.result(value, str(part.path), pairs(_rows(part)), *_said(screen, part, outcome))


def _rows(part: Part) -> list[tuple[str, str]]:
    report = part.found.report
    rows = [
        ("  on the tape as", f"feed.{part.venue}.{part.symbol}, {report.kind}, read as {report.format}"),
        ("  timeframe", str(report.timeframe)),
        ("  time zone", str(report.timezone)),
        ("  stamps", f"of the {report.stamps.value} ({report.stamps.how})" if report.stamps else ""),
        ("  first, last", f"{clock(report.first_ts)}, {clock(report.last_ts)} UTC"),
        ("  rows", f"{report.rows:,}: {report.accepted:,} accepted, {report.duplicates:,} duplicates, "
                   f"{report.rejected:,} rejected; {report.out_of_order:,} out of order"),
        ("  gaps", f"{report.gaps:,}, {report.missing:,} missing (round the clock; a calendar may expect fewer)"),
    ]  # fmt: skip
    if report.kind != "candles":
        rows = [row for row in rows if row[0].strip() not in ("timeframe", "stamps", "gaps")]
    reasons: dict[str, int] = {}
    for one in part.found.rejects:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    if reasons:
        rows.append(("  rejected", ", ".join(f"{name} {count:,}" for name, count in sorted(reasons.items()))))
    return [*rows, *(("  note", note) for note in report.notes)]


def _said(screen: Screen, part: Part, outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["  dry run: nothing was appended"]
    what = "bars" if part.found.kind == "candles" else part.found.kind
    if not outcome.messages:
        return [f"  nothing new: all {outcome.known:,} {what} stand on the tape already"]
    known = f"; {outcome.known:,} stood there already" if outcome.known else ""
    apart = f"; {outcome.quarantined:,} bad rows kept under quarantine.{part.found.report.format}"
    tail = apart if outcome.quarantined else ""
    return [f"  {outcome.new:,} new {what} in {outcome.messages - outcome.quarantined:,} messages{known}{tail}"]
