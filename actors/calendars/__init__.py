"""Trading calendars: which candles to expect, so that "no data" and "market closed" are two things.

Expected candle
    With `t = origin + k * step` (integer microseconds UTC, candles are right-aligned), the candle closing
    at `t` covers `[t - step, t)`. It is expected if that interval overlaps open time, even by a
    microsecond: a trade could have happened in it, and a candle over it would be built. Open time is a set
    of half-open intervals `[open, close)`. So with FX open from Sunday 21:00 UTC the 4-hour candle closing
    Monday 00:00 is expected, and a daily candle that covers a daily break is one candle. Whether a minute
    without trades has a candle is a question of the feed's convention, not of its calendar.

`origin` shifts the grid where candles do not sit on multiples of `step` since 1970: `MONDAY` for weekly
candles (1970-01-01 was a Thursday), 30 minutes for hourly candles counted from a 09:30 open. Calendar
months are no fixed step.

Calendars, by name
    24x7      always open.
    fx        spot FX. New York time, Sunday 17:00 to Friday 17:00; closed on the trading days (17:00 of the
              day before to 17:00) of 25 December and 1 January; where those are Sundays, on the Monday's
              trading day.
    metals    spot gold and silver. Sunday 18:00 to Friday 17:00 New York with a break 17:00-18:00 daily;
              closed like fx and on Good Friday; closes 13:00 on US holidays and 13:45 on the day after
              Thanksgiving and 24 December.
    cme_fx    CME FX futures. Sunday 18:00 to Friday 17:00 New York with a break 17:00-18:00 daily; closed
              like metals on full holidays; closes 13:15 on the day after Thanksgiving and 24 December; open
              on other US holidays.
    XNYS ...  the regular sessions of an exchange, lunch breaks and early closes included, by the names of
              exchange_calendars. Pre- and after-market are closed time.

The three weekly calendars take parameters, because venues keep their own hours:
`fx?sunday=17:05&friday=16:55`, `metals?holidays=none` (see `weekly.Hours`). Holiday hours differ by venue
and year more than any rule says: a candle in closed time is possible and `expects` tells it; it is no
reason to refuse the candle.

A calendar is a table built once, at construction, from pinned data over fixed bounds; after that its
methods are pure: no clock, no files, the same answer on every machine. `fingerprint` names the table: two
processes with equal fingerprints agree on every gap. A stamp outside the table is a `CalendarBoundsError`,
never a guess.

2026-11-21: time zones come from the pinned tzdata wheel, not from the machine; exchange_calendars is pinned
and given explicit bounds, because its defaults move with today's date and its holidays with its version.
2026-11-21: exchange_calendars' CMES is not used for cme_fx: it knows no daily break, and its holidays are
those of equity-index futures (mourning days, early closes that FX futures do not keep).
"""

import difflib
from functools import lru_cache

from actors.calendars.table import (
    MONDAY,
    Calendar,
    CalendarBoundsError,
    Continuous,
    Missing,
    Sessions,
)
from actors.calendars.weekly import WEEKLY, parse, sessions

__all__ = ["MONDAY", "Calendar", "CalendarBoundsError", "Continuous", "Missing", "Sessions", "calendar"]

CONTINUOUS = "24x7"


@lru_cache(maxsize=256)
def calendar(name: str) -> Calendar:
    """The calendar of that name, built on first use (weekly ones take ~0.1 s, exchanges ~1 s).

    Raises ValueError for an unknown name or parameter, naming the nearest known ones.
    """
    if name == CONTINUOUS:
        return Continuous()
    base, _, query = name.partition("?")
    if base in WEEKLY:
        return sessions(name, parse(base, query))
    # Imported here: pandas costs a process that trades crypto 60 MB and half a second.
    from actors.calendars import exchange

    names = exchange.names()
    if name in names:
        return exchange.sessions(name)
    known = {known.lower(): known for known in (CONTINUOUS, *WEEKLY, *names)}
    near = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)]
    hint = f"did you mean {' or '.join(near)}?" if near else "known are 24x7, fx, metals, cme_fx, XNYS, XFRA and more"
    raise ValueError(f"unknown calendar {name!r}: {hint}")
