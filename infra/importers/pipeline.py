"""From a format's rows to columns and a report: zone, stamps, timeframe, checks, gaps. One path for every format."""

import re
from collections import Counter
from datetime import UTC, tzinfo
from pathlib import Path

import msgspec
import numpy as np

from events import timeframe as timeframes
from infra.importers import validate
from infra.importers.model import (
    DAY,
    SECOND,
    Choice,
    Columns,
    Floats,
    How,
    Imported,
    ImportError_,
    ImportReport,
    Ints,
    Mask,
    Options,
    QuoteColumns,
    Reject,
    Rows,
    Shape,
    TradeColumns,
)
from infra.importers.times import BAD_TIME, to_utc, zone_of

NAMED = re.compile(r"(?:^|[-_. ])(\d{1,3})([smhdw])(?=[-_. ]|$)")
BUYER = {"buy": 1, "b": 1, "1": 1, "bid": 1, "sell": -1, "s": -1, "-1": -1, "ask": -1}
MAKER = {"true": -1, "false": 1, "1": -1, "0": 1}


class Zoned(msgspec.Struct, frozen=True):
    """Stamps in µs UTC (candles: of the CLOSE), where the clock skipped one, and what to tell."""

    ts: Ints
    skipped: Mask
    notes: tuple[str, ...]


def finish(path: Path, name: str, rows: Rows, shape: Shape, options: Options) -> Imported:
    """Errors: ImportError_ for an unknown zone, an undecidable timeframe or too many bad rows."""
    if rows.size() == 0:
        raise ImportError_(f"{path} has no rows of data ({name}): nothing to import.")
    zone = Choice(options.timezone, "stated") if options.timezone else shape.zone
    if options.scale is not None:
        rows = _scaled(rows, options.scale)
    if shape.kind == "candles":
        return _candles(path, name, rows, shape, options, zone)
    zoned = _zoned(rows.wall, zone_of(zone.value), shift=0)
    build = _trades if shape.kind == "trades" else _quotes
    data, checked, refused = build(rows, zoned, options.now)
    report = _report(path, name, rows, shape, zone, data.ts, checked, refused, zoned.notes)
    return Imported(shape.kind, data, report, _sorted(rows.rejects, refused, checked.rejects))


def _sorted(*groups: list[Reject]) -> tuple[Reject, ...]:
    return tuple(sorted((r for group in groups for r in group), key=lambda r: r.row))


def _scaled(rows: Rows, scale: float) -> Rows:
    prices = {
        n: v if n in ("volume", "count", "qty") or n.endswith("size") else v * scale for n, v in rows.fields.items()
    }
    return msgspec.structs.replace(rows, fields=prices)


def _zoned(wall: Ints, zone: tzinfo, shift: int) -> Zoned:
    """A whole number of days is added on the wall clock, so that a daily candle closes at the zone's midnight."""
    if len(wall) and zone == UTC and wall.min() != BAD_TIME:
        return Zoned(wall + shift if shift else wall, np.zeros(len(wall), np.bool_), ())
    bad = wall == BAD_TIME
    on_wall = shift if shift % DAY == 0 else 0
    ts, skipped, twice = to_utc(np.where(bad, wall, wall + on_wall), zone)
    ts = np.where(bad, ts, ts + (shift - on_wall))
    note = f"{twice} stamps lie in the hour that the zone's clock repeats: told apart by their order in the file"
    return Zoned(ts, skipped & ~bad, (note,) if twice else ())


def _candles(path: Path, name: str, rows: Rows, shape: Shape, options: Options, zone: Choice) -> Imported:
    rows, shape = _newest_first(rows, shape)
    ohlc, notes = _one_side(path, rows, options)
    stamps = Choice(options.stamps, "stated") if options.stamps else shape.stamps
    length, how = _timeframe(path, rows, shape, options, stamps)
    shift = length if stamps.value == "open" and length else 0
    zoned = _zoned(rows.wall, zone_of(zone.value), shift)
    checked, refused = _checked(rows, zoned, ohlc, options.now)
    keep = checked.keep
    count = ohlc[5][keep].astype(np.int64) if len(ohlc) > 5 else None
    open_, high, low, close, volume = (column[keep] for column in ohlc[:5])
    data = Columns(zoned.ts[keep], open_, high, low, close, volume, count)
    steps = data.ts[1:] - data.ts[:-1]
    notes = (*zoned.notes, *notes, *_candle_notes(data.ts, steps, length, options.now))
    report = _report(path, name, rows, shape, zone, data.ts, checked, refused, notes)
    gaps, missing = _gaps(steps, length)
    report = msgspec.structs.replace(
        report,
        gaps=gaps,
        missing=missing,
        stamps=stamps,
        timeframe=Choice(timeframes.name(length), how) if length else None,
        timeframe_us=length,
    )
    return Imported("candles", data, report, _sorted(rows.rejects, refused, checked.rejects))


def _checked(rows: Rows, zoned: Zoned, ohlc: list[Floats], now: int) -> tuple[validate.Checked, list[Reject]]:
    unfinished = rows.fields.get("unfinished")
    if unfinished is None and not zoned.skipped.any() and validate.sound(zoned.ts, ohlc[:5], now):
        return validate.Checked(validate.ALL, 0, 0, []), []
    checks = [
        *validate.stamp_checks(zoned.ts, zoned.skipped, now),
        *validate.candle_checks(*ohlc[:5]),
        ("unfinished", np.zeros(len(rows.wall), np.bool_) if unfinished is None else unfinished > 0),
    ]

    def show(index: int) -> str:
        return " ".join(f"{n}={column[index]:g}" for n, column in zip("ohlcv", ohlc, strict=False))

    good, refused = validate.refuse(rows, checks, show)
    return validate.by_time(rows, good, zoned.ts, ohlc, show, unique=True), refused


def _newest_first(rows: Rows, shape: Shape) -> tuple[Rows, Shape]:
    """A file that runs backwards is one order, not as many rows out of order."""
    if len(rows.wall) < 3 or rows.wall[0] <= rows.wall[-1] or not (rows.wall[1:] <= rows.wall[:-1]).all():
        return rows, shape
    raw = rows.raw
    last = len(rows.wall) - 1
    turned = msgspec.structs.replace(
        rows,
        wall=rows.wall[::-1],
        fields={n: column[::-1] for n, column in rows.fields.items()},
        texts={n: texts[::-1] for n, texts in rows.texts.items()},
        line=rows.line[::-1],
        raw=lambda index: raw(last - index),
    )
    return turned, msgspec.structs.replace(shape, notes=(*shape.notes, "the file runs newest first: turned round"))


def _one_side(path: Path, rows: Rows, options: Options) -> tuple[list[Floats], tuple[str, ...]]:
    """open, high, low, close, volume and, where known, count; of the wanted side of a bid/ask file."""
    fields, notes = rows.fields, []
    names = ("open", "high", "low", "close")
    if "bid_open" in fields:
        side = options.side or "mid"
        how = "stated" if options.side else "assumed"
        notes.append(f"candles of the {side} ({how}); the file has bid and ask")
        bids, asks = ([fields[f"{s}_{n}"] for n in names] for s in ("bid", "ask"))
        prices = {"bid": bids, "ask": asks}.get(side) or [(b + a) / 2 for b, a in zip(bids, asks, strict=True)]
        if side == "mid":
            notes.append("mid high and low are the halves of the bid's and ask's, which may differ in time")
    else:
        prices = [fields[n] for n in names]
        found = re.search(r"(?:^|[-_. ])(bid|ask)(?=[-_. ]|$)", path.name.lower())
        if options.side and (found is None or found[1] != options.side):
            raise ImportError_(f"{path} does not have {options.side} candles: leave the side out.")
        notes += [f"{found[1]} prices, says the file name"] if found else []
    if "volume" not in fields:
        notes.append("the file has no volume: 0 everywhere")
    volume = fields.get("volume", np.zeros(len(rows.wall)))
    count = fields.get("count")
    if count is None:
        return [*prices, volume], tuple(notes)
    if len(count) and count.min() >= 0 and count.max() < 2**53:  # neither holds where there is a NaN
        return [*prices, volume, count], tuple(notes)
    usable = np.isfinite(count) & (count >= 0) & (count < 2**53)
    return [*prices, volume, np.where(usable, count, 0.0)], tuple(notes)


def _timeframe(path: Path, rows: Rows, shape: Shape, options: Options, stamps: Choice) -> tuple[int | None, How]:
    if options.timeframe_us:
        return options.timeframe_us, "stated"
    if shape.timeframe_us:
        return shape.timeframe_us, shape.timeframe_how
    sane = rows.wall[(rows.wall >= validate.YEAR_2000) & (rows.wall <= options.now + DAY)]
    steps: Ints = sane[1:] - sane[:-1]
    if not (steps > 0).all():
        distinct = np.unique(sane)
        steps = distinct[1:] - distinct[:-1]
    named = _named_timeframe(path)
    if named and (len(steps) == 0 or int((steps % named == 0).sum()) * 10 >= len(steps) * 9):
        return named, "detected"
    steps = steps[steps >= SECOND]
    if len(steps):
        length = _most_common(steps)
        if length % SECOND == 0:
            _check_length(path, length)
            return length, "detected"
    if stamps.value == "close" or len(sane) == 0:
        return None, "assumed"
    raise ImportError_(f"{path} does not show its timeframe ({len(sane)} usable stamps): state it, as in '1m'.")


def _most_common(steps: Ints) -> int:
    """The smallest of the most frequent."""
    likely = steps[len(steps) // 2]
    if int((steps == likely).sum()) * 2 > len(steps):
        return int(likely)
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _check_length(path: Path, length: int) -> None:
    if 28 * DAY <= length <= 366 * DAY:
        raise ImportError_(f"{path} has candles of {length // DAY} days (months?): a month has no fixed length.")


def _named_timeframe(path: Path) -> int | None:
    found = NAMED.findall(path.name)
    return timeframes.micros(f"{int(found[-1][0])}{found[-1][1]}") if found and int(found[-1][0]) else None


def _gaps(steps: Ints, length: int | None) -> tuple[int, int]:
    if not length:
        return 0, 0
    holes = np.rint(steps[steps > length] / length).astype(np.int64)
    holes = holes[holes > 1]
    return len(holes), int((holes - 1).sum())


def _candle_notes(ts: Ints, steps: Ints, length: int | None, now: int) -> list[str]:
    notes = []
    if length and len(ts) > 1:
        near = int((steps < length).sum())
        notes += [f"{near} candles follow sooner than one timeframe after the one before"] if near else []
        usual = _most_common(steps)
        if usual != length and usual % SECOND == 0:
            notes.append(f"candles follow each other most often after {timeframes.name(usual)}, not one timeframe")
        # Days and weeks close by their zone or weekday; shorter candles on the clock.
        even = usual == length and not near and ts[0] % length == 0 and (steps == length).all()
        off = int((ts % length != 0).sum()) if length < DAY and not even else 0
        notes += [f"{off} candles do not close on the grid of their timeframe"] if off else []
    late = len(ts) - int(np.searchsorted(ts, now, "right"))
    if late:
        notes.append(f"{late} candles close in the future: the last may be incomplete, or the time zone wrong")
    return notes


def _trades(rows: Rows, zoned: Zoned, now: int) -> tuple[TradeColumns, validate.Checked, list[Reject]]:
    price, qty = rows.fields["price"], rows.fields["qty"]
    side = _sides(rows)
    checks = [*validate.stamp_checks(zoned.ts, zoned.skipped, now), *validate.trade_checks(price, qty)]
    good, refused = validate.refuse(rows, checks, lambda i: f"price={price[i]:g} qty={qty[i]:g}")
    ids = rows.texts.get("id") or [""] * len(rows.wall)
    checked = validate.by_id(rows, good, zoned.ts, ids, (price, qty, side.astype(np.float64)))
    keep = checked.keep
    kept = ids if isinstance(keep, slice) else [ids[i] for i in keep.tolist()]
    data = TradeColumns(zoned.ts[keep], price[keep], qty[keep], side[keep], kept)
    return data, checked, refused


def _sides(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    maker = "maker" in rows.texts
    table = MAKER if maker else BUYER
    texts = rows.texts.get("maker") or rows.texts.get("side") or [""] * len(rows.wall)
    known = {text: table.get(text.strip().lower(), 0) for text in Counter(texts)}
    return np.fromiter((known[text] for text in texts), dtype=np.int8, count=len(texts))


def _quotes(rows: Rows, zoned: Zoned, now: int) -> tuple[QuoteColumns, validate.Checked, list[Reject]]:
    none = np.zeros(len(rows.wall))
    columns = [rows.fields.get(n, none) for n in ("bid", "ask", "bid_size", "ask_size")]

    def show(index: int) -> str:
        return f"bid={columns[0][index]:g} ask={columns[1][index]:g}"

    checks = [*validate.stamp_checks(zoned.ts, zoned.skipped, now), *validate.quote_checks(*columns)]
    good, refused = validate.refuse(rows, checks, show)
    checked = validate.by_time(rows, good, zoned.ts, columns, show, unique=False)
    keep = checked.keep
    return QuoteColumns(zoned.ts[keep], *(column[keep] for column in columns)), checked, refused


def _report(
    path: Path,
    name: str,
    rows: Rows,
    shape: Shape,
    zone: Choice,
    ts: Ints,
    checked: validate.Checked,
    refused: list[Reject],
    notes: tuple[str, ...],
) -> ImportReport:
    return ImportReport(
        path=str(path),
        format=name,
        kind=shape.kind,
        rows=rows.size(),
        accepted=len(ts),
        duplicates=checked.duplicates,
        out_of_order=checked.out_of_order,
        rejected=len(rows.rejects) + len(refused) + len(checked.rejects),
        gaps=0,
        missing=0,
        first_ts=int(ts[0]) if len(ts) else None,
        last_ts=int(ts[-1]) if len(ts) else None,
        timeframe=None,
        timeframe_us=None,
        timezone=zone,
        stamps=None,
        notes=(*shape.notes, *rows.notes, *notes),
    )
