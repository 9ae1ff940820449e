"""Calendars by definition, by property, and at their edges; recorded market data is in test_calendars_on_data."""

import itertools
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from dateutil.easter import easter as dateutil_easter
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.calendars import MONDAY, Calendar, CalendarBoundsError, Missing, calendar
from actors.calendars.weekly import easter

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
NAMES = ("24x7", "fx", "metals", "cme_fx", "fx?sunday=17:05&friday=16:55&holidays=none", "XNYS", "XTKS")
GRIDS = ((MINUTE, 0), (5 * MINUTE, 0), (HOUR, 0), (HOUR, 30 * MINUTE), (4 * HOUR, 0), (DAY, 0), (7 * DAY, MONDAY))


def at(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


# Years of all calendars' data, and the days around New York's clock changes, Christmas and Good Friday.
EDGES = [at(day) for day in ("2018-03-11", "2018-11-04", "2006-04-02", "2024-03-10", "2018-12-25", "2024-03-29")]
stamps = st.one_of(
    st.integers(at("1998-01-01"), at("2034-01-01")),
    st.builds(lambda edge, offset: edge + offset, st.sampled_from(EDGES), st.integers(-4 * DAY, 4 * DAY)),
    st.builds(lambda edge, n: edge + n * 15 * MINUTE, st.sampled_from(EDGES), st.integers(-400, 400)),
)
# No deadline: the first example of a calendar builds its table.
properties = settings(deadline=None)
names, grids = st.sampled_from(NAMES), st.sampled_from(GRIDS)


def walk(cal: Calendar, after: int, before: int, step: int, origin: int) -> list[int]:
    """Expected closes strictly between two stamps, one by one."""
    found: list[int] = []
    close = cal.next_close(after, step, origin)
    while close < before:
        found.append(close)
        close = cal.next_close(close, step, origin)
    return found


@properties
@given(names, grids, stamps, st.integers(0, 400 * DAY), st.integers(0, 400 * DAY))
def test_counts_add_up_over_split_ranges(name: str, grid: tuple[int, int], start: int, one: int, two: int) -> None:
    cal, middle, end = calendar(name), start + one, start + one + two
    whole = cal.closes(start, end, *grid)
    assert cal.closes(start, middle, *grid) + cal.closes(middle, end, *grid) == whole
    assert 0 <= whole <= (one + two) // grid[0] + 1
    assert cal.closes(end, start, *grid) == 0 or end == start


@properties
@given(names, grids, stamps, st.integers(0, 250))
def test_a_gap_is_what_walking_the_expected_closes_finds(
    name: str, grid: tuple[int, int], after: int, steps: int
) -> None:
    cal, (step, origin) = calendar(name), grid
    before = after + steps * step // 2
    closes = walk(cal, after, before, step, origin)
    gap = cal.gap(after, before, step, origin)
    assert gap == (Missing(len(closes), closes[0], closes[-1]) if closes else None)
    parts = cal.gaps(after, before, step, origin)
    assert [close for part in parts for close in range(part.first, part.last + 1, step)] == closes
    assert all(part.count == (part.last - part.first) // step + 1 for part in parts)
    assert all(not cal.expects(later.first - step, step, origin) for _, later in itertools.pairwise(parts))


@properties
@given(names, st.sampled_from([grid for grid in GRIDS if grid[0] <= 4 * HOUR]), stamps)
def test_a_candle_is_expected_if_and_only_if_it_overlaps_open_time(name: str, grid: tuple[int, int], ts: int) -> None:
    """All sessions here open and close on whole minutes, so open time is seen minute by minute."""
    cal, (step, origin) = calendar(name), grid
    close = ts - (ts - origin) % step
    overlaps = any(cal.is_open(minute) for minute in range(close - step, close, MINUTE))
    assert cal.expects(close, step, origin) == overlaps
    assert (cal.next_close(close - 1, step, origin) == close) == overlaps
    assert cal.closes(close - step, close, step, origin) == overlaps
    assert not cal.expects(close + 1, step, origin)


@given(stamps, grids)
def test_always_open_is_plain_arithmetic(ts: int, grid: tuple[int, int]) -> None:
    cal, (step, origin) = calendar("24x7"), grid
    close = cal.next_close(ts, step, origin)
    assert 0 < close - ts <= step
    assert (close - origin) % step == 0
    assert cal.next_close(close, step, origin) == close + step
    assert cal.continuous


@pytest.mark.parametrize(
    ("name", "instant", "opened"),
    [
        ("fx", "2018-03-09T21:59", True),  # Friday 16:59 EST
        ("fx", "2018-03-09T22:00", False),
        ("fx", "2018-03-11T20:59", False),  # the clocks went forward in the night: 17:00 is 21:00 UTC now
        ("fx", "2018-03-11T21:00", True),
        ("fx", "2018-11-02T20:59", True),
        ("fx", "2018-11-02T21:00", False),
        ("fx", "2018-11-04T21:59", False),  # and back again
        ("fx", "2018-11-04T22:00", True),
        ("fx", "2006-04-02T21:00", True),  # before 2007 the clocks changed on other Sundays
        ("fx", "2006-10-29T21:00", False),
        ("fx", "2018-07-04T15:00", True),
        ("fx", "2018-03-30T15:00", True),  # Good Friday
        ("fx", "2017-12-25T15:00", False),
        ("fx", "2017-12-25T22:00", True),
        ("metals", "2018-07-02T21:30", False),  # the daily break, summer and winter
        ("metals", "2018-07-02T22:00", True),
        ("metals", "2018-01-09T22:30", False),
        ("metals", "2018-07-04T17:00", False),  # closed since 13:00
        ("metals", "2018-03-30T15:00", False),
        ("cme_fx", "2024-01-15T19:00", True),  # Martin Luther King's day
        ("cme_fx", "2024-11-29T18:15", False),
        ("XNYS", "2024-07-03T16:59", True),  # closes 13:00
        ("XNYS", "2024-07-03T17:00", False),
        ("XTKS", "2024-06-03T03:00", False),  # lunch
    ],
)
def test_open_and_closed(name: str, instant: str, opened: bool) -> None:
    assert calendar(name).is_open(at(instant)) is opened


@pytest.mark.parametrize(
    ("name", "day", "minutes"),
    [
        ("24x7", "2024-06-05", 1440),
        ("fx", "2024-06-05", 1440),
        ("metals", "2024-06-05", 1380),
        ("XNYS", "2024-06-05", 390),
        ("XNYS", "2024-07-03", 210),
        ("XNYS", "2024-07-04", 0),
        ("XFRA", "2024-06-05", 510),
        ("XTKS", "2024-06-05", 300),
    ],
)
def test_minutes_of_a_day(name: str, day: str, minutes: int) -> None:
    assert calendar(name).closes(at(day), at(day) + DAY, MINUTE) == minutes


def test_candles_across_a_closure() -> None:
    cal = calendar("fx")  # in June from Sunday 21:00 UTC to Friday 21:00 UTC
    assert cal.next_close(at("2024-06-07T20:59"), MINUTE) == at("2024-06-07T21:00")
    assert cal.next_close(at("2024-06-07T21:00"), MINUTE) == at("2024-06-09T21:01")
    assert cal.next_close(at("2024-06-08T00:00"), 4 * HOUR) == at("2024-06-10T00:00")
    assert cal.gap(at("2024-06-07T21:00"), at("2024-06-09T21:01"), MINUTE) is None
    assert cal.gaps(at("2024-06-07T20:58"), at("2024-06-09T21:03"), MINUTE) == (
        Missing(2, at("2024-06-07T20:59"), at("2024-06-07T21:00")),
        Missing(2, at("2024-06-09T21:01"), at("2024-06-09T21:02")),
    )
    metals = calendar("metals")  # one daily candle although it covers a break; no candle for Saturday
    assert metals.closes(at("2024-06-03"), at("2024-06-10"), DAY) == 6
    assert metals.closes(at("2024-06-03"), at("2024-06-10"), 7 * DAY, MONDAY) == 1


@pytest.mark.parametrize("name", ["fx", "XNYS", "XSHG"])
def test_outside_the_data_there_is_an_error_and_no_guess(name: str) -> None:
    cal = calendar(name)
    for ask in (
        lambda: cal.next_close(0, MINUTE),
        lambda: cal.next_close(at("2200-01-01"), MINUTE),
        lambda: cal.next_close(10**20, MINUTE),
        lambda: cal.is_open(-1),
        lambda: cal.closes(at("2024-01-01"), at("2200-01-01"), HOUR),
        lambda: cal.gap(0, at("2024-01-01"), HOUR),
        lambda: cal.gaps(at("2024-01-01"), at("2200-01-01"), HOUR),
    ):
        with pytest.raises(CalendarBoundsError, match=f"calendar {name} has data for 1990-"):
            ask()
    with pytest.raises(ValueError, match="positive"):
        cal.next_close(at("2024-01-01"), 0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("24/7", "did you mean 24x7"),
        ("FX", "did you mean fx"),
        ("nyse", "did you mean NYSE"),
        ("XNYZ", "did you mean .*XNYS"),
        ("XTAE", "cannot build the calendar XTAE"),
        ("fx?sundy=17:00", "no parameter 'sundy': did you mean sunday"),
        ("fx?sunday=25:00", "not a time"),
        ("fx?sunday=17:00Z", "without an offset"),
        ("fx?open=16:00", "open 16:00:00 is before close 17:00:00"),
        ("fx?zone=Europe/Pariss", "unknown time zone"),
        ("fx?zone=../../x", "unknown time zone"),
        ("metals?holidays=xmas", "Invalid enum value 'xmas'"),
    ],
)
def test_a_wrong_name_says_what_is_right(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        calendar(name)


FINGERPRINTS = {
    "24x7": "799e00fce54b",
    "fx": "5397fe70c62f",
    "metals": "3542e8f66452",
    "cme_fx": "807b761ba794",
    "XNYS": "9dec43a2f96f",
    "XSHG": "c3f667ec3cc7",
}


def test_tables_are_the_same_whatever_the_machine() -> None:
    """Another local time zone, no system tzdata, another hash seed. A change here changes what a gap is: say so."""
    script = "import sys; from actors.calendars import calendar\nfor n in sys.argv[1:]: print(calendar(n).fingerprint)"
    env = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONTZPATH": "", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", script, *FINGERPRINTS]
    lines = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert [line[:12] for line in lines] == list(FINGERPRINTS.values())
    assert [calendar(name).fingerprint for name in FINGERPRINTS] == lines


def test_crypto_and_fx_do_not_import_pandas() -> None:
    script = "import sys; from actors.calendars import calendar; calendar('24x7'), calendar('fx'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "exchange_calendars"} & set(modules)


def test_easter() -> None:
    assert all(easter(year) == dateutil_easter(year) for year in range(1900, 2200))
    assert easter(2018) == date(2018, 4, 1)
