"""Stamps: epoch numbers of any unit, ISO and other texts, wall clock of a zone to µs UTC."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from infra.importers.model import DAY, Floats, ImportError_, Ints, Mask

BAD_TIME: int = int(np.iinfo(np.int64).min)
QUARTER = 900_000_000
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clock, zone applied later
# Magnitudes that tell s, ms, µs and ns apart for every year from 1973 to 5138.
SECONDS_MAX, MILLIS_MAX, MICROS_MAX = 1e11, 1e14, 1e17
ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?)?")
ISO_ZONE = re.compile(ISO.pattern + r" ?(Z|[+-]\d{2}(:?\d{2})?)")
OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?")
KNOWN_FORMATS = (
    "%Y%m%d %H%M%S",
    "%Y%m%d %H%M%S%f",
    "%Y%m%d %H:%M",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d",
    "%Y.%m.%d %H:%M",
    "%Y.%m.%d %H:%M:%S",
    "%Y.%m.%d %H:%M:%S.%f",
    "%Y.%m.%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
)
DAY_MONTH_TAILS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")


class TimeSpec(msgspec.Struct, frozen=True):
    """Where a row's stamp stands and how to read it.

    columns: one or two cells, joined by a blank. style: 'epoch', 'iso', 'isoz' (with offset), 'day_ms'
    (milliseconds since `midnight`, µs), or a strptime format. integer: all stamps seen are whole numbers.
    """

    columns: tuple[int, ...]
    style: str
    midnight: int = 0
    integer: bool = False


def epoch_micros(values: Ints | Floats) -> Ints:
    """s, ms, µs or ns since 1970, told apart value by value, to µs; not finite becomes BAD_TIME."""
    if (factor := _one_magnitude(values)) is not None:
        return values.astype(np.int64, copy=False) * factor
    if values.dtype.kind == "f":
        good = np.isfinite(values) & (np.abs(values) < 9e18)
        exact = np.where(good, values, 0.0)
        size = np.abs(exact)
        scaled = np.select(
            [size < SECONDS_MAX, size < MILLIS_MAX, size < MICROS_MAX],
            [exact * 1e6, exact * 1e3, exact],
            exact / 1e3,
        )
        return np.where(good, np.rint(scaled).astype(np.int64), BAD_TIME)
    whole = values.astype(np.int64)
    size = np.abs(whole)
    return np.select(
        [size < SECONDS_MAX, size < MILLIS_MAX, size < MICROS_MAX],
        [
            np.where(size < SECONDS_MAX, whole, 0) * 1_000_000,
            np.where(size < MILLIS_MAX, whole, 0) * 1_000,
            whole,
        ],
        whole // 1_000,
    )


def _one_magnitude(values: Ints | Floats) -> int | None:
    """The factor to µs where all values are whole numbers of s, ms or µs alike."""
    if values.dtype.kind != "i" or not len(values):
        return None
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= MICROS_MAX:
        return None
    factors = [1_000_000 if v < SECONDS_MAX else 1_000 if v < MILLIS_MAX else 1 for v in (low, high)]
    return factors[0] if factors[0] == factors[1] else None


def _epoch_of(value: int) -> int:
    """`epoch_micros` of one whole number that is not negative."""
    if value < MILLIS_MAX:
        return value * (1_000_000 if value < SECONDS_MAX else 1_000)
    return value if value < MICROS_MAX else value // 1_000


def day_micros(values: Ints | Floats, midnight: int) -> Ints:
    """Milliseconds since midnight (they may have a fraction); outside 0..24 h becomes BAD_TIME."""
    good = np.isfinite(values) & (values >= 0) & (values < DAY / 1_000)
    whole = np.rint(np.where(good, values, 0) * 1_000.0).astype(np.int64)
    return np.where(good, whole + midnight, BAD_TIME)


def parse_text(spec: TimeSpec, text: str) -> int:
    """One stamp, carefully. Raises ValueError, OverflowError."""
    text = text.strip()
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    if spec.style in ("epoch", "day_ms"):
        if spec.style == "epoch" and text.isdigit() and len(text) <= 18:
            return _epoch_of(int(text))
        number = np.array([int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)])
        value = int((epoch_micros(number) if spec.style == "epoch" else day_micros(number, spec.midnight))[0])
        if value == BAD_TIME:
            raise ValueError(text)
        return value
    if spec.style in ("iso", "isoz"):
        pattern = ISO if spec.style == "iso" else ISO_ZONE
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return _wall_micros(datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z")))
    return _wall_micros(datetime.strptime(text, spec.style))  # noqa: DTZ007 - zone applied later


def _wall_micros(moment: datetime) -> int:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - EPOCH) // timedelta(microseconds=1)


def parse_column(spec: TimeSpec, texts: Any) -> Ints | None:
    """A pyarrow string array to µs, fast; None where any of them needs care."""
    import pyarrow.compute as pc  # 50 ms that numbers as stamps can spare

    try:
        if spec.style == "isoz":
            moments = pc.cast(texts, pa.timestamp("ns", tz="UTC"))
        elif spec.style == "iso":
            moments = pc.cast(texts, pa.timestamp("ns"))
        elif "%f" in spec.style:
            import pandas as pd  # half a second that no other style needs

            parsed = pd.to_datetime(pd.Series(texts.to_pylist()), format=spec.style, errors="coerce")
            moments = pa.array(parsed)
        else:
            moments = pc.strptime(texts, format=spec.style, unit="us", error_is_null=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, OverflowError):
        return None
    if moments.null_count:
        return None
    unit = {"ns": 1_000, "us": 1, "ms": -1_000, "s": -1_000_000}[moments.type.unit]
    values = numbers(moments.view(pa.int64()), np.int64)
    return values // unit if unit > 0 else values * -unit


def numbers(array: pa.Array | pa.ChunkedArray, kind: type[np.generic]) -> npt.NDArray[Any]:
    """The values of a fixed-width array without nulls, where they lie: `to_numpy` would load pandas."""
    if isinstance(array, pa.ChunkedArray):
        return np.concatenate([numbers(chunk, kind) for chunk in array.chunks] or [np.empty(0, kind)])
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array) + array.offset)[array.offset :]


def detect_style(samples: Sequence[str]) -> TimeSpec | None:
    """How these stamps are written; None where nothing known fits all but a few of them.

    Raises ImportError_ where day and month cannot be told apart.
    """
    cleaned = [s.strip() for s in samples if s.strip()]
    if not cleaned:
        return None
    styles = ["epoch", "isoz", "iso", *KNOWN_FORMATS, *_day_month(cleaned)]
    for style in styles:
        spec = TimeSpec(columns=(0,), style=style)
        fits = [s for s in cleaned if _fits(spec, s)]
        if len(fits) * 2 > len(cleaned):
            return TimeSpec(columns=(0,), style=style, integer=all(re.fullmatch(r"\d{1,18}", s) for s in fits))
    return None


def _fits(spec: TimeSpec, text: str) -> bool:
    try:
        value = parse_text(spec, text)
    except (ValueError, OverflowError):
        return False
    # Eight digits are a day (20180102), not seconds of the year 1970.
    return spec.style != "epoch" or abs(value) > 100_000_000 * 1_000_000


def _day_month(samples: Sequence[str]) -> list[str]:
    found = [m for s in samples if (m := re.match(r"(\d{1,2})([./-])(\d{1,2})\2\d{4}", s))]
    if not found:
        return []
    mark = found[0][2]
    first, second = max(int(m[1]) for m in found), max(int(m[3]) for m in found)
    if mark == "." or first > 12 >= second:
        orders = [f"%d{mark}%m{mark}%Y"]
    elif second > 12 >= first:
        orders = [f"%m{mark}%d{mark}%Y"]
    else:
        raise ImportError_(
            f"Stamps such as {found[0][0]!r} may be day first or month first: state the time format, "
            f"for example '%m{mark}%d{mark}%Y %H:%M'."
        )
    return [order + tail for order in orders for tail in DAY_MONTH_TAILS]


def zone_of(name: str) -> tzinfo:
    """A zone by IANA name ('America/New_York', 'EST' = UTC-5 all year) or offset ('+02:00', 'UTC+2')."""
    text = name.strip()
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if text.upper() == "EST":
        return timezone(timedelta(hours=-5))
    if match := OFFSET.fullmatch(text.upper()):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes <= 14 * 60:
            return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ImportError_(
            f"Time zone {name!r} is not known: write an IANA name such as 'America/New_York' "
            "or an offset such as '+02:00'."
        ) from error


def to_utc(wall: Ints, zone: tzinfo) -> tuple[Ints, Mask, int]:
    """Wall clock to UTC: stamps, mask of stamps that the clock skipped, number that it showed twice.

    A stamp shown twice is the first showing until the stamps step back inside the repeated hour.
    """
    skipped = np.zeros(len(wall), dtype=np.bool_)
    if isinstance(zone, timezone):
        offset = int((zone.utcoffset(None) or timedelta()) / timedelta(microseconds=1))
        if not offset or (len(wall) and wall.min() != BAD_TIME):
            return wall - offset if offset else wall, skipped, 0
        return np.where(wall == BAD_TIME, wall, wall - offset), skipped, 0
    sane = np.clip(wall, 0, 250 * 365 * DAY)
    first, second = _offsets(sane, zone, DAY)
    unsteady = first != second
    if unsteady.any():
        first[unsteady], second[unsteady] = _offsets(sane[unsteady], zone, QUARTER)
    skipped = first < second
    twice = np.flatnonzero(first > second)
    folded = _second_showing(wall, twice)
    offsets = first.copy()
    offsets[folded] = second[folded]
    return np.where(wall == BAD_TIME, wall, wall - offsets), skipped, len(twice)


def _offsets(wall: Ints, zone: tzinfo, step: int) -> tuple[Ints, Ints]:
    """Offsets of each stamp's bucket: of its begin with fold 0, of its end (a day) or begin with fold 1."""
    buckets, inverse = np.unique(wall // step, return_inverse=True)
    pairs = []
    for bucket in buckets.tolist():
        begin = EPOCH + timedelta(microseconds=bucket * step)
        ends = [begin, begin + timedelta(microseconds=step)] if step == DAY else [begin]
        found = [_offset(at, zone, fold) for at in ends for fold in (0, 1)]
        unsteady = len(set(found)) > 1
        # For a day it only matters whether the offset changes; for a quarter of an hour, which comes first.
        pairs.append((found[0], found[1] if step != DAY else (found[0] + 1 if unsteady else found[0])))
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return table[inverse, 0], table[inverse, 1]


def _offset(at: datetime, zone: tzinfo, fold: int) -> int:
    offset = at.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)


def _second_showing(wall: Ints, twice: Ints) -> Ints:
    folded: list[int] = []
    day, before, stepped = -1, 0, False
    for index in twice.tolist():
        stamp = int(wall[index])
        if stamp // DAY != day:
            day, stepped = stamp // DAY, False
        elif stamp < before:
            stepped = True
        before = stamp
        if stepped:
            folded.append(index)
    return np.array(folded, dtype=np.int64)
