"""NautilusTrader with its Rust core and a strategy in Python: market orders fill at the close they were decided on.

`trades`: the file holds trades, of which the engine makes the 1-minute bars of the strategy and by which it fills.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from work import CASH, DIGITS, FAST, FEE, SLOW, VARIANT, Watch, table, tell

watch = Watch()

from nautilus_trader.core import nautilus_pyo3 as nt  # noqa: E402

MINUTE_NS = 60_000_000_000
TRADES = VARIANT == "trades"
VENUE = nt.Venue("SIM")
BARS = nt.BarType.from_str(f"X.SIM-1-MINUTE-LAST-{'INTERNAL' if TRADES else 'EXTERNAL'}")
INSTRUMENT, CURRENCY = nt.InstrumentId.from_str("X.SIM"), nt.Currency.from_str("USDT")


class Cross(nt.Strategy):
    def setup(self) -> Cross:
        self.fast, self.slow = nt.ExponentialMovingAverage(FAST), nt.ExponentialMovingAverage(SLOW)
        self.one = nt.Quantity(1.0, 3)
        return self

    def on_start(self) -> None:
        self.register_indicator_for_bars(BARS, self.fast)
        self.register_indicator_for_bars(BARS, self.slow)
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Any) -> None:
        if not self.indicators_initialized():
            return
        if self.fast.value <= self.slow.value:
            if self.portfolio.is_net_long(INSTRUMENT):
                self.close_all_positions(INSTRUMENT)
        elif self.portfolio.is_flat(INSTRUMENT):
            self.submit_order(self.order_factory.market(INSTRUMENT, nt.OrderSide.BUY, self.one))


def bars(frame: Any) -> list[Any]:
    """Stamped with their close."""
    stamps = (frame.index.astype("datetime64[ns]").astype("int64") + MINUTE_NS).tolist()
    columns = (frame[name].tolist() for name in ("open", "high", "low", "close", "volume"))
    made = []
    for stamp, *prices, volume in zip(stamps, *columns, strict=True):
        made.append(nt.Bar(BARS, *(nt.Price(one, DIGITS) for one in prices), nt.Quantity(volume, 3), stamp, stamp))
    return made


def ticks(frame: Any) -> list[Any]:
    stamps = frame.index.astype("datetime64[ns]").astype("int64").tolist()
    sides = {"buy": nt.AggressorSide.BUYER, "sell": nt.AggressorSide.SELLER}
    columns = (frame[name].tolist() for name in ("price", "amount", "side", "id"))
    made = []
    for stamp, price, amount, side, name in zip(stamps, *columns, strict=True):
        size, number = nt.Quantity(amount, 3), nt.TradeId(name)
        made.append(nt.TradeTick(INSTRUMENT, nt.Price(price, DIGITS), size, sides[side], number, stamp, stamp))
    return made


def instrument() -> Any:
    tick, lot, rate = nt.Price(10**-DIGITS, DIGITS), nt.Quantity(0.001, 3), Decimal(str(FEE))
    return nt.CurrencyPair(
        INSTRUMENT, nt.Symbol("X"), nt.Currency.from_str("ETH"), CURRENCY, DIGITS, 3, tick, lot, 0, 0,
        margin_init=Decimal(0), margin_maint=Decimal(0), maker_fee=rate, taker_fee=rate,
    )  # fmt: skip


def engine() -> Any:
    logging = nt.LoggerConfig(stdout_level=nt.LogLevel.OFF, bypass_logging=True)
    made = nt.backtest.BacktestEngine(
        nt.backtest.BacktestEngineConfig(bypass_logging=True, run_analysis=False, logging=logging)
    )
    made.add_venue(VENUE, nt.OmsType.NETTING, nt.AccountType.MARGIN, [nt.Money(CASH, CURRENCY)])
    made.add_instrument(instrument())
    return made


watch.done("import")
data = table()
made = ticks(data) if TRADES else bars(data)
watch.done("load")
played = engine()
played.add_data(made)
played.add_strategy(Cross(nt.StrategyConfig(strategy_id=nt.StrategyId("CROSS-1"))).setup())
watch.done("setup")
played.run()
watch.done("engine")
balance = played.cache.account_for_venue(VENUE).balance_total(CURRENCY).as_double()
orders = played.get_result().total_orders
tell(watch, len(data), orders // 2, balance - CASH, note="fills at the close; open position not in the PnL")
