"""backtrader: a market order of one bar is filled at the next open by default."""

from __future__ import annotations

from typing import Any

from work import CASH, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()

import backtrader as bt  # noqa: E402


class Cross(bt.Strategy):
    def __init__(self) -> None:
        self.cross = bt.ind.CrossOver(bt.ind.EMA(period=FAST), bt.ind.EMA(period=SLOW))
        self.trades = 0

    def next(self) -> None:
        if self.position:
            if self.cross < 0:
                self.close()
        elif self.cross > 0:
            self.buy(size=1)

    def notify_trade(self, trade: Any) -> None:
        self.trades += trade.isclosed


watch.done("import")
frame = table()
watch.done("load")
cerebro = bt.Cerebro(stdstats=False)
cerebro.adddata(bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=1))
cerebro.addstrategy(Cross)
cerebro.broker.setcash(CASH)
cerebro.broker.setcommission(commission=FEE)
watch.done("setup")
played = cerebro.run()[0]
watch.done("engine")
tell(watch, len(frame), played.trades, cerebro.broker.getvalue() - CASH, note="preloads its feed in its run")
