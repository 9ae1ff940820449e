"""Calendars against recorded markets: closures are not gaps, gaps are not closures, and the sums are the manifest's."""

import csv
import itertools
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache, partial

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from actors.calendars import Sessions, calendar
from tests import data

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
NEW_YORK = "America/New_York"
FX = "forex_metals/"
LEAN = FX + "lean_zip/"
Stamps = NDArray[np.int64]


def micros(index: pd.DatetimeIndex, zone: str = "UTC") -> Stamps:
    if index.tz is None:
        index = index.tz_localize(zone)
    return index.tz_convert("UTC").as_unit("us").asi8


def column(name: str, title: str) -> Stamps:
    return micros(pd.DatetimeIndex(pd.read_csv(data.path(name))[title]))


def unittest_btc() -> Stamps:
    return micros(
        pd.DatetimeIndex(pd.read_feather(data.path("crypto_klines/freqtrade_testdata/UNITTEST_BTC-1m.feather"))["date"])
    )


@cache
def zipped(name: str, separator: str = ",") -> pd.DataFrame:
    with zipfile.ZipFile(data.path(name)) as archive, archive.open(archive.namelist()[0]) as file:
        return pd.read_csv(file, sep=separator, header=None)


def histdata(symbol: str, zone: str = NEW_YORK) -> Stamps:
    frame = zipped(f"{FX}histdata_m1/HISTDATA_COM_ASCII_{symbol}_M12018.zip", ";")
    return micros(pd.DatetimeIndex(pd.to_datetime(frame[0], format="%Y%m%d %H%M%S")), zone)


def lean_hour(name: str) -> Stamps:
    return micros(pd.DatetimeIndex(pd.to_datetime(zipped(LEAN + name)[0], format="%Y%m%d %H:%M")))


def lean_day(name: str, zone: str) -> Stamps:
    day = pd.Timestamp(name.rsplit("/", 1)[1][:8])
    return micros(pd.DatetimeIndex(day + pd.to_timedelta(zipped(name)[0], unit="ms")), zone)


def lean_minutes(folder: str, zone: str = "UTC") -> Stamps:
    """The days of May 2014, each checked against its own row of the manifest."""
    days = [name for name in manifest() if name.startswith(f"{LEAN}{folder}/201405")]
    stamps = [lean_day(name, zone) for name in sorted(days)]
    for name, day in zip(sorted(days), stamps, strict=True):
        assert raw(day, MINUTE) == manifest()[name], name
    return np.concatenate(stamps)


@cache
def manifest() -> dict[str, tuple[int, int]]:
    """Gaps and missing candles on the 24x7 grid, where the manifest states them."""
    with data.path("MANIFEST.csv").open() as file:
        return {row["path"]: _numbers(row) for row in csv.DictReader(file) if row["gaps"]}


def _numbers(row: dict[str, str]) -> tuple[int, int]:
    return int(float(row["gaps"])), int(float(row["missing"]))


def raw(stamps: Stamps, step: int) -> tuple[int, int]:
    steps = np.diff(stamps) // step
    return int((steps > 1).sum()), int((steps - 1).sum())


class Case(msgspec.Struct, frozen=True):
    """A recorded file, its calendar, and what must come out.

    gaps, missing: holes of expected candles between the first and the last row, and the candles in them.
    closed: rows that lie in closed time, by why.
    holidays: days (mm-dd, New York) of closures that are neither weekend nor daily break.
    """

    read: Callable[[], Stamps]
    calendar: str
    gaps: int
    missing: int
    step: int = MINUTE
    file: str = ""
    closed: dict[str, int] = {}
    holidays: set[str] = set()
    stamp: str = "open"


CASES = {
    "unittest": Case(unittest_btc, "24x7", 538, 717, file="crypto_klines/freqtrade_testdata/UNITTEST_BTC-1m.feather"),
    # Quoted on Christmas eve from 17:06 to 03:00; of 2018's other holidays the file has nothing in closed time.
    "histdata eurusd": Case(
        partial(histdata, "EURUSD"),
        "fx",
        783,
        931,
        file=FX + "histdata_m1/HISTDATA_COM_ASCII_EURUSD_M12018.zip",
        closed={"Mon 12-24": 401, "Tue 12-25": 177},
        holidays={"12-24", "12-25"},
    ),
    # The tick of the closing instant has a candle of its own; the first minute of a session often has none.
    "histdata xauusd": Case(
        partial(histdata, "XAUUSD"),
        "metals",
        517,
        562,
        file=FX + "histdata_m1/HISTDATA_COM_ASCII_XAUUSD_M12018.zip",
        closed={"17:00": 127, "13:00": 4, "13:45": 1},
        holidays={"01-15", "02-19", "03-29", "03-30", "05-28", "07-04", "09-03", "11-22", "11-23", "12-24", "12-25"},
    ),
    "fxcm gbpusd bid": Case(
        partial(column, FX + "fxcm_m1_bidask_csv/gbpusd-m1-bid-2012.csv.gz", "timestamp"),
        "fx",
        110,
        124,
        file=FX + "fxcm_m1_bidask_csv/gbpusd-m1-bid-2012.csv.gz",
    ),
    "fxcm gbpusd ask": Case(
        partial(column, FX + "fxcm_m1_bidask_csv/gbpusd-m1-ask-2012.csv.gz", "timestamp"),
        "fx",
        110,
        124,
        file=FX + "fxcm_m1_bidask_csv/gbpusd-m1-ask-2012.csv.gz",
    ),
    "backtesting eurusd": Case(
        partial(column, FX + "backtesting_eurusd_1h/EURUSD.csv", "Unnamed: 0"),
        "fx",
        0,
        0,
        HOUR,
        FX + "backtesting_eurusd_1h/EURUSD.csv",
        {"Fri 10-06": 1, "Fri 10-20": 1},  # one hour after the Friday close, twice
        {"12-24", "12-25", "12-31", "01-01"},
    ),
    "cme 6E": Case(
        partial(column, FX + "cme_6E_m1/6EH4.XCME_1min_bars_20240101_20240131.csv.gz", "timestamp_utc"),
        "cme_fx",
        353,
        423,
        file=FX + "cme_6E_m1/6EH4.XCME_1min_bars_20240101_20240131.csv.gz",
        stamp="close",
    ),
    "oanda eurusd": Case(partial(lean_minutes, "forex/oanda/minute/eurusd"), "fx", 387, 474),
    # Oanda's gold paused at 17:15 then.
    "oanda xauusd": Case(partial(lean_minutes, "cfd/oanda/minute/xauusd"), "metals?close=17:15", 73, 93),
    # FXCM's stamps are UTC-5 all year, and it quotes from Sunday 15:00 New York.
    "fxcm eurusd": Case(partial(lean_minutes, "forex/fxcm/minute/eurusd", "Etc/GMT+5"), "fx?sunday=15:00", 177, 223),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_closures_are_not_gaps(case: Case) -> None:
    stamps, cal, step = case.read(), calendar(case.calendar), case.step
    holes, missing = raw(stamps, step)
    if case.file:
        assert (holes, missing) == manifest()[case.file]
    closes = (stamps if case.stamp == "close" else stamps + step).tolist()
    pairs = [(a, b) for a, b in itertools.pairwise(closes) if b - a > step]
    found = [gap for a, b in pairs if (gap := cal.gap(a, b, step))]
    assert (len(found), sum(gap.count for gap in found)) == (case.gaps, case.missing)

    absent = [close for a, b in pairs for close in range(a + step, b, step)]
    in_session = [close for close in absent if cal.expects(close, step)]
    parts = [part for a, b in pairs for part in cal.gaps(a, b, step)]
    assert in_session == [close for part in parts for close in range(part.first, part.last + 1, step)]
    shut = [close for close in absent if not cal.expects(close, step)]
    assert len(in_session) + len(shut) == len(absent) == missing
    if isinstance(cal, Sessions):
        assert not by_the_wall_clock(in_session, step, case.calendar)[0].any()
        asleep, days = by_the_wall_clock(shut, step, case.calendar)
        assert set(days[~asleep]) == case.holidays

    closed = [close for close in closes if not cal.expects(close, step)]
    assert explained(closed, step, case.closed) == case.closed
    assert cal.closes(closes[0] - 1, closes[-1], step) - case.missing == len(closes) - len(closed)


def by_the_wall_clock(closes: list[int], step: int, name: str) -> tuple[NDArray[np.bool_], pd.Index]:
    """Weekend or daily break, told by New York's clock alone, and the New York day (mm-dd) of each candle."""
    opens = pd.DatetimeIndex(pd.to_datetime(np.array(closes, np.int64) - step, unit="us", utc=True)).tz_convert(
        NEW_YORK
    )
    sunday = 15 if "sunday=15" in name else 17 if name.startswith("fx") else 18
    pause = 15 if "close=17:15" in name else 0
    day, hour = opens.day_of_week, opens.hour
    asleep = (day == 5) | ((day == 6) & (hour < sunday)) | ((day == 4) & (hour >= 17))
    if not name.startswith("fx"):
        asleep = asleep | ((hour == 17) & (opens.minute >= pause))
    return np.asarray(asleep), opens.strftime("%m-%d")


def explained(closes: list[int], step: int, reasons: dict[str, int]) -> dict[str, int]:
    """Counts by New York day or minute, whichever the reasons name; what no reason names under its own time."""
    opens = pd.DatetimeIndex(pd.to_datetime(np.array(closes, np.int64) - step, unit="us", utc=True)).tz_convert(
        NEW_YORK
    )
    counts: Counter[str] = Counter()
    for stamp in opens:
        keys = (stamp.strftime("%a %m-%d"), stamp.strftime("%H:%M"))
        counts[next((key for key in keys if key in reasons), f"{stamp}")] += 1
    return dict(counts)


def test_histdata_2018_is_in_new_york_time_not_in_est() -> None:
    """It says EST without daylight saving. Its weeks begin and end at 17:00 by its own stamps all year, and ..."""
    frame = zipped(f"{FX}histdata_m1/HISTDATA_COM_ASCII_EURUSD_M12018.zip", ";")
    wall = pd.Series(pd.to_datetime(frame[0], format="%Y%m%d %H%M%S"))
    weekend = wall.diff() > pd.Timedelta(days=1)
    assert weekend.sum() == 52
    assert set(wall[weekend].dt.strftime("%a %H:%M")) == {"Sun 17:00"}
    assert set(wall.shift()[weekend].dt.strftime("%a %H:%M")) == {"Fri 16:59"}
    cal = calendar("fx")
    fridays = (wall.dt.day_of_week == 4).to_numpy()
    late = {
        zone: sum(not cal.expects(stamp + MINUTE, MINUTE) for stamp in histdata("EURUSD", zone)[fridays].tolist())
        for zone in (NEW_YORK, "Etc/GMT+5")
    }
    # As EST, the last hour of 34 summer Fridays would be after the close (12 minutes of them had no quote).
    assert late == {NEW_YORK: 0, "Etc/GMT+5": 34 * 60 - 12}


def test_histdata_agrees_with_another_source_in_new_york_time_only() -> None:
    """... its summer prices are those of Oanda, whose stamps are UTC, four hours away and not five."""
    frame = zipped(f"{FX}histdata_m1/HISTDATA_COM_ASCII_EURUSD_M12018.zip", ";")
    name = LEAN + "forex/oanda/minute/eurusd/20180403_quote.zip"
    oanda = pd.Series(zipped(name)[4].to_numpy(), lean_day(name, "UTC"))
    differences = {}
    for zone in (NEW_YORK, "Etc/GMT+5"):
        theirs = pd.Series(frame[4].to_numpy(), histdata("EURUSD", zone)).reindex(oanda.index)
        differences[zone] = float((oanda - theirs).diff().abs().mean())
    assert differences[NEW_YORK] < 0.00003 < 0.0001 < differences["Etc/GMT+5"]


def test_twelve_years_of_hours() -> None:
    """Oanda's EURUSD, 2007 to 2018: no candle in closed time but for holidays that the broker kept differently."""
    cal = calendar("fx")
    closes = (lean_hour("forex/oanda/hour/eurusd.zip") + HOUR).tolist()
    gaps = [gap for a, b in itertools.pairwise(closes) if (gap := cal.gap(a, b, HOUR))]
    assert (len(closes), len(gaps), sum(gap.count for gap in gaps)) == (74439, 20, 269)
    closed = pd.DatetimeIndex(
        pd.to_datetime([c - HOUR for c in closes if not cal.expects(c, HOUR)], unit="us", utc=True)
    )
    by_day = Counter(closed.tz_convert(NEW_YORK).strftime("%m-%d"))
    assert sum(by_day.values()) == 92
    assert set(by_day) <= {"12-24", "12-25", "12-26", "12-31", "01-01", "01-02"}


def test_cme_6e_is_stamped_at_the_close() -> None:
    """Read as open stamps, the last candle of each session would lie in the daily break."""
    stamps = column(FX + "cme_6E_m1/6EH4.XCME_1min_bars_20240101_20240131.csv.gz", "timestamp_utc").tolist()
    cal = calendar("cme_fx")
    assert sum(not cal.expects(stamp, MINUTE) for stamp in stamps) == 0
    assert sum(not cal.expects(stamp + MINUTE, MINUTE) for stamp in stamps) == 22


def test_every_session_of_nasdaq_from_2004_to_2013() -> None:
    """A daily file stamped with the session's date: the candle of a UTC day, expected on sessions alone."""
    stamps = column("published/backtesting.py/GOOG.csv", "Unnamed: 0").tolist()
    cal = calendar("XNAS")
    assert len(stamps) == cal.closes(stamps[0], stamps[-1] + DAY, DAY) == 2148
    assert all(cal.expects(stamp + DAY, DAY) for stamp in stamps)
