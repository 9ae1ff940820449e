"""The peers, pinned, and what each is asked to do: its script in this folder, on which markets, with which variants."""

from __future__ import annotations

import msgspec

from scripts.bench.market import ETH, TRADES, XAU
from scripts.bench.work import Oracle

READ = ("pyarrow==26.0.1", "pandas")
"""How the scripts read the data; pandas as the peer itself wants it."""


class Variant(msgspec.Struct, frozen=True):
    """`name` becomes the work's; `markets`: on which data. `oracles`: by market, where others than the common ones."""

    name: str
    argv: tuple[str, ...] = ()
    markets: tuple[str, ...] = (ETH.name, XAU.name)
    oracles: dict[str, Oracle] = {}


class Peer(msgspec.Struct, frozen=True):
    """`python`: the least minor version of Python 3, and `python_max` the largest. `slow`: its runs of 500 thousand
    rows take half a minute and more, so they are done once."""

    name: str
    requirements: tuple[str, ...]
    script: str
    variants: tuple[Variant, ...]
    python: int = 11
    python_max: int = 13
    slow: bool = False


SWEEP = {ETH.name: Oracle(124_591, -6_394.9524), XAU.name: Oracle(1_038_324, -29_520.3352)}
"""Closed trades of all pairs, PnL of the pair 10/20."""


def _only(name: str) -> tuple[Variant, ...]:
    return (Variant(name),)


VECTORBT = (
    Variant("vectorbt", ("single",)),
    Variant("vectorbt sweep", ("sweep",), oracles=SWEEP),
)

PEERS = (
    Peer("backtesting", ("backtesting==0.6.6", *READ), "run_backtesting.py", _only("backtesting")),
    Peer("vectorbt", ("vectorbt==1.2.0", *READ), "run_vectorbt.py", VECTORBT),
    Peer(
        "vectorbt-rust",
        ("vectorbt==1.2.0", "vectorbt-rust==1.2.0", *READ),
        "run_vectorbt.py",
        (Variant("vectorbt-rust", ("single",)), Variant("vectorbt-rust sweep", ("sweep",), oracles=SWEEP)),
    ),
    Peer("hftbacktest", ("hftbacktest==2.4.4", *READ), "run_hftbacktest.py", _only("hftbacktest")),
    Peer("bt", ("bt==1.4.1", *READ), "run_bt.py", _only("bt")),
    Peer("backtrader", ("backtrader==1.9.78.123", *READ), "run_backtrader.py", _only("backtrader"), slow=True),
    Peer(
        "nautilus-rust", ("nautilus_trader==1.231.0", *READ), "run_nautilus_rust.py",
        (Variant("nautilus-rust"), Variant("nautilus-rust", ("trades",), (TRADES,))),
        python=12, python_max=14, slow=True,
    ),
    Peer(
        "nautilus", ("nautilus_trader==1.221.0", *READ), "run_nautilus.py", _only("nautilus"), python_max=13, slow=True
    ),
    Peer("freqtrade", ("freqtrade==2026.9", *READ), "run_freqtrade.py", _only("freqtrade"), slow=True),
    # It pins a NumPy that newer releases of pyarrow refuse.
    Peer("jesse", ("jesse==3.5.3", "pyarrow==17.0.0", "pandas"), "run_jesse.py", _only("jesse"), slow=True),
)  # fmt: skip
