"""Which rows are fit to use: vectorised checks with the first reason that applies to each row."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from infra.importers.model import DAY, REJECTS_MAX, Floats, ImportError_, Ints, Mask, Reject, Rows
from infra.importers.times import BAD_TIME

YEAR_2000 = 946_684_800_000_000

REASONS = {
    "bad_time": "the stamp is not a time",
    "skipped_time": "the zone's clock skips this time: is the time zone right?",
    "before_2000": "the stamp lies before the year 2000",
    "in_the_future": "the stamp lies more than a day in the future",
    "not_finite": "a value is NaN or infinite",
    "not_positive": "a price is zero or negative",
    "negative_volume": "a volume or size is negative",
    "zero_quantity": "the quantity is zero",
    "high_below_low": "high is below low",
    "outside_range": "open or close lies outside low..high",
    "crossed": "the bid is above the ask",
    "unfinished": "the candle was not complete when the file was written",
    "conflicting_duplicate": "same time (or id) as an earlier row, other content; the first row is kept",
}


class Checked(msgspec.Struct, frozen=True):
    """keep: indices of accepted rows in order of time, or ALL of them as they stand; the rest are duplicates or
    rejects."""

    keep: Ints | slice
    duplicates: int
    out_of_order: int
    rejects: list[Reject]


Check = tuple[str, Mask]
ALL = slice(None)
_ROWS = 32_768  # so that what is worked on stays in the processor's cache


def stamp_checks(ts: Ints, skipped: Mask, now: int) -> list[Check]:
    return [
        ("bad_time", ts <= BAD_TIME),
        ("skipped_time", skipped),
        ("before_2000", ts < YEAR_2000),
        ("in_the_future", ts > now + DAY),
    ]


def sound(ts: Ints, ohlcv: Sequence[Floats], now: int) -> bool:
    """Whether candles pass `stamp_checks` and `candle_checks` and follow each other in time, every one of them.

    The same comparisons, the other way round and without a note of where: most files are without a fault.
    """
    if not len(ts) or ts[0] < YEAR_2000 or ts[-1] > now + DAY:
        return False
    for at in range(0, len(ts), _ROWS):
        rows = slice(at, at + _ROWS)
        stamps = ts[at : at + _ROWS + 1]
        o, h, l, c, v = (column[rows] for column in ohlcv)
        fit = (l > 0) & (l <= o) & (l <= c) & (h >= o) & (h >= c) & (h < np.inf) & (v >= 0) & (v < np.inf)
        if not fit.all() or not (stamps[1:] > stamps[:-1]).all():
            return False
    return True


def candle_checks(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> list[Check]:
    prices = np.stack([open_, high, low, close]) if len(open_) else np.empty((4, 0))
    finite = np.isfinite(prices).all(axis=0) & np.isfinite(volume)
    with np.errstate(invalid="ignore"):
        body_low, body_high = np.minimum(open_, close), np.maximum(open_, close)
        return [
            ("not_finite", ~finite),
            ("not_positive", prices.min(axis=0) <= 0),
            ("negative_volume", volume < 0),
            ("high_below_low", high < low),
            ("outside_range", (body_low < low) | (body_high > high)),
        ]


def trade_checks(price: Floats, qty: Floats) -> list[Check]:
    return [
        ("not_finite", ~(np.isfinite(price) & np.isfinite(qty))),
        ("not_positive", price <= 0),
        ("negative_volume", qty < 0),
        ("zero_quantity", qty == 0),
    ]


def quote_checks(bid: Floats, ask: Floats, bid_size: Floats, ask_size: Floats) -> list[Check]:
    finite = np.isfinite(bid) & np.isfinite(ask) & np.isfinite(bid_size) & np.isfinite(ask_size)
    return [
        ("not_finite", ~finite),
        ("not_positive", (bid <= 0) | (ask <= 0)),
        ("negative_volume", (bid_size < 0) | (ask_size < 0)),
        ("crossed", bid > ask),
    ]


def refuse(rows: Rows, checks: Sequence[Check], show: Callable[[int], str]) -> tuple[Ints, list[Reject]]:
    """Indices that pass every check, in file order, and a reject with its first reason for each other row."""
    verdict = np.zeros(len(rows.wall), dtype=np.int16)
    for code, (_, bad) in enumerate(checks, start=1):
        verdict[(verdict == 0) & bad] = code
    bad_at = np.flatnonzero(verdict)
    if len(bad_at) + len(rows.rejects) > REJECTS_MAX:
        index = int(bad_at[0])
        reason = checks[verdict[index] - 1][0]
        raise ImportError_(
            f"{len(bad_at) + len(rows.rejects):,} rows are bad, more than {REJECTS_MAX:,} (the first: row "
            f"{rows.line[index]}, {REASONS[reason]}): check format, columns and time zone."
        )
    rejects = []
    for index in bad_at.tolist():
        reason = checks[verdict[index] - 1][0]
        rejects.append(reject(rows, index, reason, show(index)))
    return np.flatnonzero(verdict == 0), rejects


def reject(rows: Rows, index: int, reason: str, shown: str) -> Reject:
    return Reject(int(rows.line[index]), reason, f"{REASONS[reason]} ({shown})", rows.raw(index))


def by_time(
    rows: Rows, good: Ints, ts: Ints, content: Sequence[Floats], show: Callable[[int], str], *, unique: bool
) -> Checked:
    """Sorts good rows by time, the file's order among equals; drops repeats.

    unique: a time holds one row (candles): equal content is a duplicate, other content a conflict. Otherwise
    (quotes) a row equal to an earlier row of its time is a duplicate.
    """
    order = good[np.argsort(ts[good], kind="stable")]
    if len(order) < 2:
        return Checked(order, 0, 0, [])
    again = np.concatenate(([False], ts[order][1:] == ts[order][:-1]))
    if not again.any():
        return Checked(order, 0, _out_of_order(ts[good]), [])
    same = _equal_first(order, again, content) if unique else _equal_any(order, ts, content)
    rejects: list[Reject] = []
    keep = ~again if unique else ~same
    if unique:
        conflicts = order[again & ~same]
        if len(conflicts) > REJECTS_MAX:
            raise ImportError_(f"{len(conflicts):,} rows repeat the time of another with other content: wrong columns?")
        rejects = [reject(rows, i, "conflicting_duplicate", show(i)) for i in conflicts.tolist()]
    kept = order[keep]
    return Checked(kept, int((again & same).sum() if unique else same.sum()), _out_of_order(ts[np.sort(kept)]), rejects)


def _out_of_order(ts: Ints) -> int:
    return int((ts[1:] < np.maximum.accumulate(ts)[:-1]).sum()) if len(ts) > 1 else 0


def _equal_first(order: Ints, again: Mask, content: Sequence[Floats]) -> Mask:
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    same = np.ones(len(order), dtype=np.bool_)
    for column in content:
        same &= column[order] == column[first]
    return same


def _equal_any(order: Ints, ts: Ints, content: Sequence[Floats]) -> Mask:
    """Whether an earlier row has the same time and content."""
    again = ts[order][1:] == ts[order][:-1]
    shared = np.flatnonzero(np.concatenate(([False], again)) | np.concatenate((again, [False])))
    rows = order[shared]
    keys = np.stack([ts[rows].astype(np.float64), *(column[rows] for column in content)])
    _, firsts = np.unique(keys, axis=1, return_index=True)
    same = np.zeros(len(order), dtype=np.bool_)
    same[shared] = True
    same[shared[firsts]] = False
    return same


def by_id(rows: Rows, good: Ints, ts: Ints, ids: list[str], content: Sequence[Floats]) -> Checked:
    """Trades: a known id is unique (equal content: duplicate, other: conflict); without ids every row counts."""
    order = good[np.argsort(ts[good], kind="stable")]
    seen: dict[str, int] = {}
    drop: set[int] = set()
    rejects: list[Reject] = []
    duplicates = 0
    for index in good.tolist() if any(ids) else ():
        name = ids[index]
        first = seen.setdefault(name, index) if name else index
        if first == index:
            continue
        drop.add(index)
        if ts[first] == ts[index] and all(column[first] == column[index] for column in content):
            duplicates += 1
        else:
            rejects.append(reject(rows, index, "conflicting_duplicate", f"id {name[:40]}"))
    if drop:
        order = order[~np.isin(order, np.fromiter(drop, dtype=np.int64))]
    return Checked(order, duplicates, _out_of_order(ts[np.sort(order)]), rejects)
