"""backtesting.py: orders on the close are filled at the next open by default; `size=1` is one unit."""

from __future__ import annotations

import warnings
from typing import Any

from work import CASH, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()
warnings.filterwarnings("ignore")

from backtesting import Backtest, Strategy  # noqa: E402
from backtesting.lib import crossover  # noqa: E402


def average(closes: Any, span: int) -> Any:
    return closes.s.ewm(span=span, adjust=False, min_periods=span).mean()


class Cross(Strategy):
    def init(self) -> None:
        self.fast = self.I(average, self.data.Close, FAST)
        self.slow = self.I(average, self.data.Close, SLOW)

    def next(self) -> None:
        if self.position:
            if crossover(self.slow, self.fast):
                self.position.close()
        elif crossover(self.fast, self.slow):
            self.buy(size=1)


watch.done("import")
frame = table().rename(columns=str.title)
watch.done("load")
test = Backtest(frame, Cross, cash=CASH, commission=FEE, finalize_trades=True)
watch.done("setup")
stats = test.run()
watch.done("engine")
tell(watch, len(frame), stats["# Trades"], stats["Equity Final [$]"] - CASH, note="statistics are part of its run")
