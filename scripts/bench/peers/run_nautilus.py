"""NautilusTrader with its Cython core: its bars fill market orders at the close they were decided on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from work import CASH, DIGITS, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()

import pandas as pd  # noqa: E402
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # noqa: E402
from nautilus_trader.config import LoggingConfig, StrategyConfig  # noqa: E402
from nautilus_trader.indicators import ExponentialMovingAverage  # noqa: E402
from nautilus_trader.model import BarType, InstrumentId, Money, Symbol, TraderId, Venue  # noqa: E402
from nautilus_trader.model.currencies import USDT  # noqa: E402
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide  # noqa: E402
from nautilus_trader.model.instruments import CurrencyPair  # noqa: E402
from nautilus_trader.model.objects import Currency, Price, Quantity  # noqa: E402
from nautilus_trader.persistence.wranglers import BarDataWrangler  # noqa: E402
from nautilus_trader.trading.strategy import Strategy  # noqa: E402

VENUE, BARS = Venue("SIM"), BarType.from_str("X.SIM-1-MINUTE-LAST-EXTERNAL")


class Cross(Strategy):
    def __init__(self, instrument: CurrencyPair) -> None:
        super().__init__(StrategyConfig())
        self.traded = instrument
        self.fast, self.slow = ExponentialMovingAverage(FAST), ExponentialMovingAverage(SLOW)

    def on_start(self) -> None:
        self.register_indicator_for_bars(BARS, self.fast)
        self.register_indicator_for_bars(BARS, self.slow)
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Any) -> None:
        if not self.indicators_initialized():
            return
        of = self.traded.id
        if self.fast.value <= self.slow.value:
            if self.portfolio.is_net_long(of):
                self.close_all_positions(of)
        elif self.portfolio.is_flat(of):
            self.submit_order(self.order_factory.market(of, OrderSide.BUY, self.traded.make_qty(1)))


def instrument() -> CurrencyPair:
    free = dict.fromkeys(
        ("lot_size", "max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price")
    )
    return CurrencyPair(
        instrument_id=InstrumentId(Symbol("X"), VENUE), raw_symbol=Symbol("X"), base_currency=Currency.from_str("ETH"),
        quote_currency=USDT, price_precision=DIGITS, size_precision=3, price_increment=Price(10**-DIGITS, DIGITS),
        size_increment=Quantity(0.001, 3), margin_init=Decimal(0), margin_maint=Decimal(0),
        maker_fee=Decimal(str(FEE)), taker_fee=Decimal(str(FEE)), ts_event=0, ts_init=0, **free,
    )  # fmt: skip


watch.done("import")
frame = table()
frame.index = (frame.index + pd.Timedelta(minutes=1)).tz_localize("UTC")  # it stamps bars with their close
traded = instrument()
bars = BarDataWrangler(BARS, traded).process(frame)
watch.done("load")
engine = BacktestEngine(BacktestEngineConfig(trader_id=TraderId("B-1"), logging=LoggingConfig(bypass_logging=True)))
engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(CASH, USDT)])
engine.add_instrument(traded)
engine.add_data(bars)
engine.add_strategy(Cross(traded))
watch.done("setup")
engine.run()
watch.done("engine")
balance = engine.portfolio.account(VENUE).balance_total(USDT).as_double()
orders = engine.cache.orders_total_count()
tell(watch, len(frame), orders // 2, balance - CASH, note="fills at the close; open position not in the PnL")
