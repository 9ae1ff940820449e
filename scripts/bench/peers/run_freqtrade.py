"""freqtrade: signals from whole columns, then candle by candle in Python, entries and exits at the next open.

Its exchange is one that knows a single market and asks nobody. The data lie in its own format before it starts.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from work import CASH, DIGITS, FEE, Watch, table, tell

watch = Watch()
logging.disable(logging.CRITICAL)

from freqtrade.configuration import TimeRange  # noqa: E402
from freqtrade.data.history import get_datahandler  # noqa: E402
from freqtrade.enums import CandleType, RunMode  # noqa: E402
from freqtrade.exchange.binance import Binance  # noqa: E402
from freqtrade.optimize.backtesting import Backtesting  # noqa: E402

PAIR = "ETH/USDT"
MARKET = {
    "id": "ETHUSDT", "symbol": PAIR, "base": "ETH", "quote": "USDT", "spot": True, "swap": False, "linear": None,
    "active": True, "type": "spot", "contract": False, "taker": FEE, "maker": FEE, "info": {},
    "precision": {"amount": 0.001, "price": 10**-DIGITS},
    "limits": {"amount": {"min": None, "max": None}, "cost": {"min": None, "max": None}, "price": {}, "leverage": {}},
}  # fmt: skip


class Offline(Binance):
    def reload_markets(self, *given: Any, **named: Any) -> None:
        self._markets = {PAIR: MARKET}
        self._api.markets = self._api_async.markets = self._markets


def configuration(folder: Path) -> dict[str, Any]:
    exchange = {"name": "binance", "pair_whitelist": [PAIR], "pair_blacklist": [], "key": "", "secret": ""}
    pricing = {"price_side": "same", "use_order_book": False}
    return {
        "runmode": RunMode.BACKTEST, "dry_run": True, "exchange": exchange, "user_data_dir": folder, "datadir": folder,
        "dataformat_ohlcv": "feather", "dataformat_trades": "feather", "export": "none", "strategy": "Cross",
        "strategy_path": str(Path(__file__).parent / "freqtrade_strategies"), "recursive_strategy_search": False,
        "timeframe": "1m", "stake_currency": "USDT", "stake_amount": "unlimited", "dry_run_wallet": CASH,
        "max_open_trades": 1, "tradable_balance_ratio": 1.0, "fee": FEE, "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": pricing, "exit_pricing": pricing, "trading_mode": "spot", "margin_mode": "",
        "candle_type_def": CandleType.SPOT, "internals": {}, "unfilledtimeout": {"entry": 10, "exit": 10},
    }  # fmt: skip


def store(frame: Any, folder: Path) -> None:
    stored = frame.reset_index(names="date")
    stored["date"] = stored.date.dt.tz_localize("UTC")
    get_datahandler(folder, "feather").ohlcv_store(PAIR, "1m", stored, CandleType.SPOT)


watch.done("import")
with tempfile.TemporaryDirectory() as name:
    frame, settings = table(), configuration(Path(name))
    store(frame, Path(name))
    watch.done("convert")
    exchange = Offline(settings, validate=False)
    exchange.reload_markets()
    test = Backtesting(settings, exchange)
    watch.done("setup")
    data, span = test.load_bt_data()
    watch.done("load")
    test.backtest_one_strategy(test.strategylist[0], data, span if span is not None else TimeRange())
    watch.done("engine")
found = test.all_bt_content["Cross"]
trades, pnl = len(found["results"]), float(found["final_balance"]) - CASH
tell(watch, len(frame), trades, pnl, note="the open position is closed at the end")
