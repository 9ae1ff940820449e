"""Calendars of round-the-clock weekday markets: a rule for the hours, rules for the holidays."""

import difflib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from typing import Literal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec

from actors.calendars.table import Sessions

FIRST, LAST = date(1990, 1, 1), date(2060, 1, 1)  # bounds of the tables; LAST itself is outside

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a market is open, in the wall time of `zone`.

    The trading day D, Monday to Friday, lasts from `open` on D-1 to `close` on D; Monday's begins at `sunday`
    on Sunday, Friday's ends at `friday`. Where `open` equals `close` there is no daily break. `holidays`: `fx`
    is closed on New Year and Christmas, `metals` and `cme_fx` also on Good Friday, with the early closes of the
    package's docstring; `none` knows no holiday.
    """

    open: time
    close: time
    sunday: time
    friday: time
    zone: str = "America/New_York"
    holidays: Literal["fx", "metals", "cme_fx", "none"] = "none"


WEEKLY = {
    "fx": Hours(open=time(17), close=time(17), sunday=time(17), friday=time(17), holidays="fx"),
    "metals": Hours(open=time(18), close=time(17), sunday=time(18), friday=time(17), holidays="metals"),
    "cme_fx": Hours(open=time(18), close=time(17), sunday=time(18), friday=time(17), holidays="cme_fx"),
}


def parse(base: str, query: str) -> Hours:
    """The named hours with `key=value` parameters joined by `&`, for example `sunday=17:05&friday=16:55`.

    Raises ValueError for an unknown parameter (naming the nearest), a value that does not parse, or a daily
    open before the daily close.
    """
    hours = WEEKLY[base]
    changes: dict[str, object] = {}
    for key, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if key not in hours.__struct_fields__:
            near = difflib.get_close_matches(key, hours.__struct_fields__, n=1, cutoff=0.0)[0]
            raise ValueError(f"calendar {base} has no parameter {key!r}: did you mean {near}?")
        changes[key] = _time(base, key, value) if isinstance(getattr(hours, key), time) else value
    try:
        hours = msgspec.convert({**msgspec.structs.asdict(hours), **changes}, Hours)
    except msgspec.ValidationError as error:
        raise ValueError(f"calendar {base}?{query}: {error}") from None
    if hours.open < hours.close:
        raise ValueError(f"calendar {base}?{query}: open {hours.open} is before close {hours.close}")
    return hours


def sessions(name: str, hours: Hours) -> Sessions:
    """The table of these hours from FIRST to LAST."""
    zone = _zone(hours.zone)
    return Sessions(name, _intervals(hours, zone), (_midnight(FIRST), _midnight(LAST)))


def _intervals(hours: Hours, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    special: dict[date, time | None] = {}
    for year in range(FIRST.year, LAST.year + 1):
        special.update(_special_days(year, hours.holidays))
    day = FIRST - 2 * _DAY
    while day < LAST + 2 * _DAY:
        if day.weekday() < 5:
            close = hours.friday if day.weekday() == 4 else hours.close
            early = special.get(day, close)
            if early is not None:
                opened = hours.sunday if day.weekday() == 0 else hours.open
                yield _utc(day - _DAY, opened, zone), _utc(day, min(early, close), zone)
        day += _DAY


def _special_days(year: int, holidays: str) -> dict[date, time | None]:
    """Trading days that close early (at a time) or do not open (None). Months in US law: 5 U.S.C. 6103."""
    if holidays == "none":
        return {}
    christmas = date(year, 12, 25)
    days: dict[date, time | None] = {}
    thanksgiving = _nth_weekday(year, 11, 3, 4)
    if holidays == "metals":
        for day in (
            _nth_weekday(year, 1, 0, 3),
            _nth_weekday(year, 2, 0, 3),
            _nth_weekday(year, 6, 0, 1) - 7 * _DAY,
            date(year, 7, 4),
            _nth_weekday(year, 9, 0, 1),
            thanksgiving,
        ):
            days[day] = time(13)
    if holidays in ("metals", "cme_fx"):
        short = time(13, 45) if holidays == "metals" else time(13, 15)
        days |= {thanksgiving + _DAY: short, christmas - _DAY: short, easter(year) - 2 * _DAY: None}
    return days | {_observed(date(year, 1, 1)): None, _observed(christmas): None}


def _observed(day: date) -> date:
    """A holiday on a Sunday closes Monday's trading day, which would open on it."""
    return day + _DAY if day.weekday() == 6 else day


def _nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def easter(year: int) -> date:
    """Easter Sunday, Gregorian: J. Meeus, Astronomical Algorithms (1991), chapter 8."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 19 * weekday) // 433
    month = (h + weekday - 7 * m + 90) // 25
    return date(year, month, (h + weekday - 7 * m + 33 * month + 19) % 32)


def _time(base: str, key: str, value: str) -> time:
    try:
        parsed = time.fromisoformat(value)
    except ValueError:
        raise ValueError(f"calendar {base}: {key}={value!r} is not a time such as 17:00") from None
    if parsed.tzinfo is not None:
        raise ValueError(f"calendar {base}: {key}={value!r} must be a wall time, without an offset")
    return parsed


def _zone(name: str) -> ZoneInfo:
    """From the tzdata wheel, whatever the machine has: the same table everywhere."""
    path = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    if ".." in name or not name or not path.is_file():
        raise ValueError(f"unknown time zone {name!r}")
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _utc(day: date, at: time, zone: ZoneInfo) -> int:
    return (datetime.combine(day, at, zone) - _EPOCH) // _MICROSECOND


def _midnight(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _MICROSECOND
