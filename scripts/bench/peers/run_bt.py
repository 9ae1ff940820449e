"""bt trades one price series, so it is given the opens, and the crosses of the closes one candle later."""

from __future__ import annotations

import warnings
from typing import Any

from work import CASH, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()
warnings.filterwarnings("ignore")

import bt  # noqa: E402


class Cross(bt.Algo):
    """`crosses`: 1 or -1 by time, where there is one."""

    def __init__(self, crosses: dict[Any, int]) -> None:
        super().__init__()
        self.crosses, self.trades, self.held = crosses, 0, False

    def __call__(self, target: Any) -> bool:
        cross = self.crosses.get(target.now)
        if cross and (cross > 0) != self.held:
            self.held = cross > 0
            self.trades += not self.held
            target.transact(cross, "X")
        return True


watch.done("import")
frame = table()
watch.done("load")
gap = frame.close.ewm(span=FAST, adjust=False).mean() - frame.close.ewm(span=SLOW, adjust=False).mean()
up, down = (gap > 0) & (gap.shift() <= 0), (gap < 0) & (gap.shift() >= 0)
late = (up.astype(int) - down.astype(int)).shift(1, fill_value=0)
late.iloc[: SLOW + 1] = 0
algo = Cross(late[late != 0].to_dict())
test = bt.Backtest(
    bt.Strategy("cross", [algo], children=["X"]),
    frame[["open"]].rename(columns={"open": "X"}),
    initial_capital=CASH,
    commissions=lambda quantity, price: abs(quantity) * price * FEE,
    integer_positions=False,
    progress_bar=False,
)
own = next(one for one in test.strategy.stack.algos if isinstance(one, Cross))
watch.done("setup")
test.run()
watch.done("engine")
tell(watch, len(frame), own.trades, test.strategy.values.iloc[-1] - CASH, note="averages are part of its set-up")
