"""Sessions of exchanges, from exchange_calendars. Importing this module imports pandas."""

import warnings

import exchange_calendars
import pandas as pd

from actors.calendars.table import Sessions

# Fixed, because the library's defaults move with today's date. Calendars with narrower data are cut to it.
FIRST, LAST = pd.Timestamp("1990-01-01"), pd.Timestamp("2035-12-31")
# Any month that every calendar has: only to reach the class that knows a calendar's bounds.
_SAMPLE = ("2024-01-08", "2024-01-31")
_OWN = {"24/7", "24/5"}  # 24x7 and fx are the names here


def names() -> list[str]:
    """Names and aliases of the library's calendars."""
    return sorted(set(exchange_calendars.get_calendar_names()) - _OWN)


def sessions(name: str) -> Sessions:
    """The exchange's regular sessions, split at its breaks. ValueError if the library cannot build them."""
    try:
        schedule = _schedule(name)
    except (ValueError, NotImplementedError) as error:  # both are seen: some calendars do not build within our bounds
        reason = str(error)[:200]
        raise ValueError(f"exchange_calendars cannot build the calendar {name}: {reason}") from error
    columns = (_micros(schedule[column]) for column in ("open", "break_start", "break_end", "close"))
    table = list(zip(*columns, strict=True))
    intervals = [part for row in table for part in _parts(*row)]
    # From the first day's midnight, or its session's open where that is the evening before.
    low = min(intervals[0][0], _stamp(schedule.index[0]))
    high = max(intervals[-1][1], _stamp(schedule.index[-1] + pd.Timedelta(days=1)))
    return Sessions(name, intervals, (low, high))


def _schedule(name: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # The library's own calls of what pandas deprecates: nothing a user could do about.
        warnings.simplefilter("ignore")
        bounds = type(exchange_calendars.get_calendar(name, start=_SAMPLE[0], end=_SAMPLE[1]))
        first = max(FIRST, bounds.bound_min() or FIRST)
        last = min(LAST, bounds.bound_max() or LAST)
        schedule: pd.DataFrame = exchange_calendars.get_calendar(name, start=first, end=last).schedule
    return schedule


def _parts(opened: int | None, pause: int | None, resume: int | None, closed: int | None) -> list[tuple[int, int]]:
    assert opened is not None  # only breaks may be absent from a schedule
    assert closed is not None
    if pause is None or resume is None:
        return [(opened, closed)]
    return [(opened, pause), (resume, closed)]


def _micros(column: "pd.Series[pd.Timestamp]") -> list[int | None]:
    return [None if pd.isna(stamp) else _stamp(stamp) for stamp in column]


def _stamp(stamp: pd.Timestamp) -> int:
    return int(stamp.value) // 1_000
