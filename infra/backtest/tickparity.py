"""Proof that trades in columns decide as trades one by one do. For tests, and for whoever writes a strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from actors.ticks import Ticks, Window
from events import subjects
from infra.backtest.engine import backtest
from infra.backtest.parity import ParityError, _compare, _same_states, _Tale
from infra.backtest.ticks import messages, play_trades
from infra.store.trades import Trades

WINDOWS = (64, 65_536)
"""Rows a window, by default."""


def assert_trade_parity(
    strategy: str | Plan,
    data: Trades | Mapping[str, Trades],
    *,
    params: Mapping[str, Any] | None = None,
    sizing: Sizing | None = None,
    account: AccountPlan | None = None,
    windows: Sequence[int] = WINDOWS,
) -> str:
    """Plays the trades message by message and in columns, and returns the digest they share.

    `strategy`: a shipped name or `module:Class` with its `params`, or a whole plan. `data`: trades, or trades by feed
    of the plan's symbols. Raises ParityError where decisions, ids, places on the tape, final states or digests differ.
    """
    if not isinstance(data, Mapping):
        data = {subjects.feed("parity", "DATA"): data}
    plan = strategy if isinstance(strategy, Plan) else _plan(strategy, dict(params or {}), sizing, account)
    digest = ""
    for rows in windows:
        way, cuts = f"{rows} rows a window", list(cut(data, rows))
        truth, told = _Tale(plan), _Tale(plan)
        loop, fast = Lockstep(deciders(plan), truth.hear), Ticks(deciders(plan), told.hear)
        for _, actor, message in messages(plan, cuts):
            loop.feed(actor, message)
        for window in cuts:
            fast.play(window)
        _compare(way, truth, told)
        if fast.end != loop.end:
            raise ParityError(f"{way}: the tape ends at {fast.end}, not at {loop.end}")
        _same_states(way, loop, fast)
        expected, found = backtest(plan, messages(plan, cuts)), play_trades(plan, cuts)
        for name in ("digests", "entries", "decisions", "counts", "fills", "markets"):
            if getattr(found, name) != getattr(expected, name):
                raise ParityError(f"{way}: {name} {getattr(found, name)}, expected {getattr(expected, name)}")
        for name, curve in expected.curves.items():
            for one in ("ts", "equity", "gross", "held"):
                if not np.array_equal(getattr(curve, one), getattr(found.curves[name], one)):
                    raise ParityError(f"{way}: the {one} of account {name} differs")
        digest = expected.digest
    return digest


def cut(data: Window, rows: int) -> Iterator[dict[str, Any]]:
    """The trades in windows of about `rows` rows of each feed."""
    longest = max(len(one.ts) for one in data.values())
    for start in range(0, longest, rows):
        yield {feed: one[start : start + rows] for feed, one in data.items()}  # type: ignore[index]


def _plan(strategy: str, params: dict[str, Any], sizing: Sizing | None, account: AccountPlan | None) -> Plan:
    wallet = account or AccountPlan()
    bot = BotPlan(
        name="parity", venue="parity", symbol="DATA", account=wallet.name, strategy=strategy, params=params,
        sizing=sizing or Sizing(),
    )  # fmt: skip
    return Plan(symbols=(SymbolPlan(venue="parity", symbol="DATA", source="trades"),), bots=(bot,), accounts=(wallet,))


__all__ = ["WINDOWS", "ParityError", "assert_trade_parity", "cut"]
