"""From files and tapes to streams: names, steps, order, and the same ids as live."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from actors.plan import BotPlan, Plan
from events import subjects
from events.block import ROWS_MAX, Columns, pack
from events.control import Quarantined
from events.feed import observed
from events.memory import MemoryTape
from events.timeframe import MINUTE
from infra.backtest.data import DataError, Spec, from_tape, load, parse, stream, symbol_plans, windows
from infra.backtest.engine import backtest, record
from infra.backtest.naming import named, paired
from infra.backtest.steps import step_of
from infra.importers import parts as importer_parts
from infra.session.market import Stamped, candle_messages, merged
from infra.store import Series, StoreError, Writer
from tests import data
from tests.infra import backtesting


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [
        ("BTC_USDT_USDT-1m-futures.feather", "BTC-USDT", "1m"),
        ("ETH_BTC-5m.feather", "ETH-BTC", "5m"),
        ("UNITTEST_BTC-1m.json.gz", "UNITTEST-BTC", "1m"),
        ("BTCUSDT-1m-2021-11-27.csv", "BTC-USDT", "1m"),
        ("ADABTC-1m-2021-11-27.csv", "ADA-BTC", "1m"),
        ("BTCUSDT-aggTrades-2024-01.zip", "BTC-USDT", None),
        ("XBTUSDC_1.csv", "XBT-USDC", "1m"),
        ("XBTUSDC_1440.csv.gz", "XBT-USDC", "1d"),
        ("HISTDATA_COM_ASCII_EURUSD_M12018.zip", "EUR-USD", "1m"),
        ("DAT_ASCII_EURUSD_T_201801.csv", "EUR-USD", None),
        ("EURUSD_M15.csv", "EUR-USD", "15m"),
        ("XAUUSD_H1_2020.csv", "XAU-USD", "1h"),
        ("BTC-USDT_1h.csv", "BTC-USDT", "1h"),
        ("GOOG.csv", "GOOG", None),
        ("EURUSD.csv", "EUR-USD", None),
        ("2006-day-001.txt", None, None),
        ("my data (final).csv", None, None),
    ],
)
def test_what_a_name_says(name: str, symbol: str | None, timeframe: str | None) -> None:
    found = named(Path(name))
    assert (found.symbol, found.timeframe) == (symbol, timeframe)


def test_what_a_lean_folder_says() -> None:
    found = named(Path("/x/crypto/coinbase/minute/btcusd/20161007_trade.zip"))
    assert (found.venue, found.symbol, found.timeframe) == ("coinbase", "BTC-USD", "1m")
    found = named(Path("forex/oanda/hour/eurusd.zip"))
    assert (found.venue, found.symbol, found.timeframe) == ("oanda", "EUR-USD", "1h")


def test_pairs() -> None:
    assert [paired(text) for text in ("BTCUSDT", "ethbtc", "USDT", "AAPL")] == ["BTC-USDT", "ETH-BTC", "USDT", "AAPL"]


def write(folder: Path, name: str, rows: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


CANDLES = [
    "timestamp,open,high,low,close,volume",
    "2024-01-01 00:00:00,100.5,101,100,100.25,3",
    "2024-01-01 00:01:00,100.25,101,100,100.75,1.5",
    "2024-01-01 00:02:00,100.75,102,100,101,2",
]


def test_specs(tmp_path: Path) -> None:
    path = write(tmp_path, "some.csv", CANDLES)
    assert parse(str(path)) == Spec(path)
    assert parse(f"{path}=sim/BTC-USDT@1m") == Spec(path, "sim", "BTC-USDT", "1m")
    assert parse(f"{path}=BTC-USDT") == Spec(path, None, "BTC-USDT")
    assert parse(f"{path}=sim/BTC-USDT") == Spec(path, "sim", "BTC-USDT")
    assert parse(f"{path}@1m") == Spec(path, timeframe="1m")
    odd = write(tmp_path, "a=b@1m.csv", CANDLES)
    assert parse(str(odd)) == Spec(odd)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("nowhere.csv", "there is no file 'nowhere.csv'"),
        ("nowhere.csv=sim/X", "there is no file 'nowhere.csv'"),
        ("{}=si.m/X", "'si.m' cannot be used as a name"),
        ("{}=sim/B T", "'B T' cannot be used as a name"),
        ("{}=sim/X@1y", "'1y' is not a timeframe"),
    ],
)
def test_specs_that_say_nothing_usable(tmp_path: Path, spec: str, problem: str) -> None:
    path = write(tmp_path, "some.csv", CANDLES)
    with pytest.raises(DataError, match=problem):
        parse(spec.format(path))


def test_a_file_with_its_steps(tmp_path: Path) -> None:
    found = load(f"{write(tmp_path, 'BTC-USDT_1m.csv', CANDLES)}")
    assert (found.venue, found.symbol, found.timeframe) == ("data", "BTC-USDT", "1m")
    assert (found.tick, found.lot) == (Decimal("0.01"), Decimal("0.1"))
    (plan,) = symbol_plans([found], timeframes=("1m", "5m", "15m", "5m"))
    assert (plan.tick, plan.lot, plan.timeframes) == (Decimal("0.01"), Decimal("0.1"), ("5m", "15m"))


def test_a_name_that_contradicts_its_rows_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "BTC-USDT_5m.csv", CANDLES)
    with pytest.raises(DataError, match="its name says 5m, its rows 1m"):
        load(str(path))
    assert load(f"{path}@1m").timeframe == "1m"


def test_a_file_that_does_not_say_its_symbol_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not say its symbol: write .*=data/SYMBOL"):
        load(str(write(tmp_path, "2024-prices (1).csv", CANDLES)))


def test_two_timeframes_of_one_instrument_are_an_error(tmp_path: Path) -> None:
    one = load(f"{write(tmp_path, 'a.csv', CANDLES)}=sim/X")
    hourly = [CANDLES[0], *(row.replace("00:0", "0").replace(":00,", ":00:00,") for row in CANDLES[1:])]
    two = load(f"{write(tmp_path, 'b.csv', hourly)}=sim/X")
    assert (one.timeframe, two.timeframe) == ("1m", "1h")
    with pytest.raises(DataError, match="comes as 1h and 1m"):
        symbol_plans([one, two])


def test_steps() -> None:
    assert step_of(np.array([1.0, 20.0, 300.0])) == Decimal(1)
    assert step_of(np.array([0.1, 0.25]), np.array([7.0])) == Decimal("0.01")
    assert step_of(np.array([65_432.1, 0.0000001])) == Decimal("1E-7")
    assert step_of(np.array([0.1 + 0.2])) is None  # computed, not quoted
    assert step_of(np.array([0.0, 0.0])) is None
    assert step_of(np.array([], np.float64)) is None
    assert step_of(np.array([np.nan, 1.5])) == Decimal("0.1")
    assert step_of(np.array([1e17])) is None


def test_rejected_rows_go_to_quarantine_first(tmp_path: Path) -> None:
    path = write(tmp_path, "x.csv", [*CANDLES, "2024-01-01 00:03:00,broken,1,1,1,1"])
    first, *rest = stream([load(f"{path}=sim/X")])
    (fact,) = first[2].facts
    assert isinstance(fact, Quarantined)
    assert (first[1], b"broken" in fact.raw, fact.source) == ("quarantine.sim-X", True, "x.csv:5")
    assert len(rest) == 3


def test_what_two_files_say_alike_is_said_once(tmp_path: Path) -> None:
    one = load(f"{write(tmp_path, 'a.csv', CANDLES)}=sim/X")
    two = load(f"{write(tmp_path, 'b.csv', [CANDLES[0], *CANDLES[2:]])}=sim/X")
    assert len(list(stream([one, two]))) == 3
    assert list(stream([one, two])) == list(stream([one]))


def test_bounds_are_close_times(tmp_path: Path) -> None:
    one = load(f"{write(tmp_path, 'a.csv', CANDLES)}=sim/X")
    assert one.candles is not None
    ts = one.candles.ts.tolist()
    assert [message[0] for message in stream([one], start=ts[0], end=ts[1])] == [ts[1]]


def test_equal_trades_of_one_instant_stay_two(tmp_path: Path) -> None:
    rows = ["timestamp,price,qty", "2024-01-01 00:00:00,100,1", "2024-01-01 00:00:00,100,1", "2024-01-01 00:00:01,9,1"]
    found = load(f"{write(tmp_path, 't.csv', rows)}=sim/X")
    messages = list(stream([found]))
    assert len({message[2].id for message in messages}) == len(messages) == found.report.accepted
    assert symbol_plans([found])[0].source == "trades"


def test_compressed_files_have_the_sum_of_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT_1m.csv.gz"
    path.write_bytes(gzip.compress(("\n".join(CANDLES) + "\n").encode(), mtime=0))
    found = load(str(path))
    assert found.report.accepted == 3
    assert len(found.sha256) == 64


async def test_blocks_on_a_tape_are_the_candles_of_the_file() -> None:
    """Candles of imported blocks have the ids of live ones, so a backtest of the tape is that of the file."""
    data.path(backtesting.FOLDER)
    files = backtesting.files(data.ROOT)
    tape = MemoryTape("history")
    for file in files:
        assert file.candles is not None
        actor, version = subjects.feed(file.venue, file.symbol), 0
        for block in pack(file.venue, file.symbol, "1m", file.candles[slice(0, 12_000)]):
            message = observed(actor, int.from_bytes(block.ts[-8:], "little"), block)
            version = tape.put(actor, message, expected=version).seq
    assert len(tape.entries) == 2 * -(-12_000 // ROWS_MAX) > 2
    last = files[0].candles.ts[11_999] if files[0].candles is not None else 0
    assert list(await from_tape(tape)) == list(stream(files, end=int(last)))


async def test_a_recorded_session_can_be_played_again() -> None:
    data.path(backtesting.FOLDER)
    plan, tape = backtesting.plan(data.ROOT), MemoryTape("live")
    first = await record(plan, backtesting.stream(data.ROOT, 0.5), tape)
    assert backtest(plan, await from_tape(tape)).digest == first.digest


async def test_a_tape_without_markets_is_an_error() -> None:
    with pytest.raises(DataError, match="holds no market data"):
        await from_tape(MemoryTape("empty"))


def test_a_real_file_from_name_to_digest() -> None:
    path = data.path("crypto_klines/binance_12col_csv/ADABTC-1m-2021-11-27.csv")
    files = [load(str(path)), load(str(path).replace("-27", "-28"))]
    (symbol,) = symbol_plans(files)
    assert (symbol.venue, symbol.symbol, symbol.base) == ("binance", "ADA-BTC", "1m")
    assert (symbol.tick, symbol.lot) == (Decimal("1E-8"), Decimal("0.1"))
    plan = Plan(symbols=(symbol,), bots=(BotPlan(name="b", venue="binance", symbol="ADA-BTC"),))
    (market,) = backtest(plan, stream(files)).markets
    assert (market.bars, market.gaps, market.missing) == (21, 1, 1430)


def spoken(found: Iterable[dict[str, Columns]]) -> list[Stamped]:
    messages: list[Stamped] = []
    for window in found:
        assert list(window) == sorted(window)
        parts = []
        for feed, rows in window.items():
            _, venue, symbol = feed.split(".")
            parts.append(candle_messages(venue, symbol, "1m", rows))
        messages += merged(parts)
    return messages


def minutes(rows: int, first: int, seed: int, *, holes: bool) -> Columns:
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(rows) < 0.7) if holes else np.arange(rows)
    ts = 1_704_067_200_000_000 + (first + places) * MINUTE
    prices = [np.round(rng.random(len(ts)) + 10, 1 + seed % 3) for _ in range(5)]
    return Columns(ts, *prices)


def stored(path: Path, symbol: str, columns: Columns) -> Path:
    with Writer(path, Series("sim", symbol, "1m")) as writer:
        for at in range(0, len(columns), 100):
            writer.add(columns[slice(at, at + 100)])
    return path


def csv_of(path: Path, columns: Columns) -> Path:
    values = (getattr(columns, name).tolist() for name in ("ts", "open", "high", "low", "close", "volume"))
    rows = (
        f"{ts // 1000},{o},{max(o, h, l, c)},{min(o, h, l, c)},{c},{v}"
        for ts, o, h, l, c, v in zip(*values, strict=True)
    )
    return write(path.parent, path.name, ["close time,open,high,low,close,volume", *rows])


@pytest.mark.parametrize("rows", [1, 7, 64, 1_000])
@pytest.mark.parametrize("span", [(None, None), (250, 900), (1_500, None)])
def test_windows_say_what_the_stream_says(tmp_path: Path, rows: int, span: tuple[int | None, int | None]) -> None:
    """Three instruments of different length and with holes; one of them in two files that overlap."""
    specs = [
        stored(tmp_path / "a.store", "A", minutes(700, 0, 1, holes=True)),
        stored(tmp_path / "b.store", "B", minutes(500, 300, 2, holes=False)),
        stored(tmp_path / "a2.store", "A", minutes(1_400, 600, 3, holes=True)),
        stored(tmp_path / "c.store", "C", minutes(30, 1_990, 4, holes=True)),
        stored(tmp_path / "b2.store", "B", minutes(500, 300, 2, holes=False)[slice(200, 500)]),
    ]
    start, end = (None if at is None else 1_704_067_200_000_000 + at * MINUTE for at in span)
    expected = list(stream([load(str(one)) for one in specs], start=start, end=end))
    assert expected
    for flat in (False, True):
        files = [load(str(one), flat=flat) for one in specs]
        found = list(windows(files, start=start, end=end, rows=rows))
        ends = [(min(int(c.ts[0]) for c in one.values()), max(int(c.ts[-1]) for c in one.values())) for one in found]
        assert all(before[1] < after[0] for before, after in pairwise(ends))
        assert spoken(found) == expected
        assert list(stream(files, start=start, end=end)) == expected


def test_a_flat_file_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv_of(tmp_path / "x.csv", minutes(2_000, 0, 5, holes=True))
    monkeypatch.setattr(importer_parts, "PIECE_BYTES", 9_000)
    whole, flat = load(f"{path}=sim/X"), load(f"{path}=sim/X", flat=True)
    assert flat.candles is None
    for name in ("venue", "symbol", "timeframe", "tick", "lot", "report", "sha256", "rejects", "rows", "span"):
        assert getattr(whole, name) == getattr(flat, name), name
    assert list(stream([flat])) == list(stream([whole]))
    assert spoken(windows([flat], rows=100)) == list(stream([whole]))
    assert symbol_plans([flat]) == symbol_plans([whole])


def test_a_store_file_is_a_market_file(tmp_path: Path) -> None:
    path = stored(tmp_path / "some", "BTC-USDT", minutes(500, 0, 1, holes=False))
    found = load(str(path))
    assert (found.venue, found.symbol, found.timeframe, found.rows) == ("sim", "BTC-USDT", "1m", 500)
    assert (found.tick, found.lot) == (Decimal("0.01"), Decimal("0.01"))
    assert (found.report.format, found.report.accepted, found.report.notes) == ("store", 500, ())
    with pytest.raises(DataError, match="holds sim/BTC-USDT@1m, not ETH-USDT"):
        load(f"{path}=sim/ETH-USDT")
    with path.open("ab") as file:
        file.write(b"torn")
    (tmp_path / "some").rename(tmp_path / "some.store")
    assert load(str(tmp_path / "some.store")).report.notes != ()


def test_a_changed_store_file_is_an_error(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.store", "A", minutes(500, 0, 1, holes=False))
    data_ = bytearray(path.read_bytes())
    data_[1_000] ^= 4
    path.write_bytes(data_)
    with pytest.raises(StoreError, match="was changed"):
        load(str(path))


def test_stored_trades_are_the_trades_of_the_file(tmp_path: Path) -> None:
    rows = ["timestamp,price,amount,side,id", *(f"{1_704_067_200 + i // 2},1.{i},2,buy,{i}" for i in range(50))]
    file = load(f"{write(tmp_path, 'trades.csv', rows)}=sim/X")
    with Writer(tmp_path / "trades.store", Series("sim", "X", None)) as writer:
        writer.add(file.trades)
    kept = load(str(tmp_path / "trades.store"))
    assert (kept.timeframe, kept.tick, kept.lot) == (None, file.tick, file.lot)
    assert list(stream([kept])) == list(stream([file]))
    with pytest.raises(DataError, match="holds trades, which do not come in windows"):
        next(windows([kept]))
