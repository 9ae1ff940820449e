"""jesse: its research function, which needs neither its server nor its database. It fills market orders at the close
they were decided on.

Averages are taken over the whole column before it starts, as its users do for speed; by the number of candles seen.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from work import CASH, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()
os.chdir(tempfile.mkdtemp())  # it writes into the working directory

import numpy as np  # noqa: E402
from jesse.research import backtest  # noqa: E402
from jesse.strategies import Strategy  # noqa: E402

EXCHANGE, SYMBOL = "Binance Perpetual Futures", "ETH-USDT"
AVERAGES: list[Any] = []


class Cross(Strategy):  # type: ignore[misc]
    def sign(self, back: int = 0) -> float:
        at = int(self.index) - back
        return float(AVERAGES[0][at] - AVERAGES[1][at]) if at >= 0 else 0.0

    def should_long(self) -> bool:
        return self.index >= SLOW and self.sign() > 0 and self.sign(1) <= 0

    def go_long(self) -> None:
        self.buy = 1, self.price

    def update_position(self) -> None:
        if self.sign() < 0:
            self.liquidate()

    def should_cancel_entry(self) -> bool:
        return True


watch.done("import")
frame = table()
for span in (FAST, SLOW):
    AVERAGES.append(frame.close.ewm(span=span, adjust=False).mean().to_numpy())
stamps = frame.index.astype("datetime64[ms]").astype("int64").to_numpy()
columns = [frame[name].to_numpy() for name in ("open", "close", "high", "low", "volume")]
candles = np.column_stack([stamps.astype(float), *columns])
watch.done("load")
config = {
    "starting_balance": CASH,
    "fee": FEE,
    "type": "futures",
    "futures_leverage": 1,
    "futures_leverage_mode": "cross",
    "exchange": EXCHANGE,
    "warm_up_candles": 0,
}
route = {"exchange": EXCHANGE, "strategy": Cross, "symbol": SYMBOL, "timeframe": "1m"}
feed = {f"{EXCHANGE}-{SYMBOL}": {"exchange": EXCHANGE, "symbol": SYMBOL, "candles": candles}}
found = backtest(config, [route], [], feed)
watch.done("engine")
metrics = found["metrics"]
tell(watch, len(frame), metrics["total"], metrics["net_profit"], note="fills at the close")
