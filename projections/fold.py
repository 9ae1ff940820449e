"""From recorded entries to rows: pure. The same entries give the same rows and state, however they are batched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Context, localcontext
from functools import lru_cache
from typing import Any, NamedTuple

from events import control as c
from events import market as m
from events import trading as t
from events.decision import Recorded
from events.fact import Fact

from . import control, market, money, orders, usual
from .plain import check, doubtful
from .rows import Rows
from .state import State

PROJECTION = "tickertape"
VERSION = 3
"""Of tables and folds together: raise it when rows come out differently, and a rebuild is asked for."""

View = Callable[[State, Rows, Recorded, int, Any], None]

_EXACT = Context(prec=200)

_ANYONES: dict[type[Fact], tuple[tuple[str, View], ...]] = {
    c.ActorClaimed: (("actors", control.claimed),),
    c.ActorHalted: (("actors", control.halted),),
    c.Quarantined: (("quarantine", control.quarantined),),
    c.QuarantineRetried: (("quarantine_steps", control.step),),
    c.QuarantineDropped: (("quarantine_steps", control.step),),
    c.Unreadable: (("quarantine", control.unreadable),),
}
"""Facts that mean the same whoever says them."""

_OWN: dict[str, dict[type[Fact], tuple[tuple[str, View], ...]]] = {
    "feed": {kind: (("feeds", view),) for kind, view in market.FEED.items()},
    "market": {
        m.Candle: (("candles", market.candle), ("money", money.marked)),
        m.CandleBackfilled: (("candles", market.candle),),
        m.CandleRevised: (("candles", market.candle),),
        m.CandleBlock: (("candles", market.block),),
        m.GapFound: (("gaps", market.gap),),
        m.GapFilled: (("gaps", market.gap),),
        m.DataFlagged: (("data_quality", market.flagged),),
    },
    "bot": {
        c.BotStarted: (("bots", control.started),),
        c.BotPaused: (("bots", control.switched),),
        c.BotResumed: (("bots", control.switched),),
        t.Signal: (("signals", orders.signal), ("bots", control.wanted)),
    },
    "account": {
        c.AccountOpened: (("money", money.opened),),
        c.TradingRestricted: (("money", money.restricted),),
        c.TradingReleased: (("money", money.restricted),),
        t.RiskApproved: (("risk", orders.verdict),),
        t.RiskRefused: (("risk", orders.verdict),),
        t.OrderPlaced: (("orders", orders.placed),),
        t.OrderTriggered: (("orders", orders.triggered),),
        t.OrderAmended: (("orders", orders.amended),),
        t.OrderCancelled: (("orders", orders.ended),),
        t.OrderRejected: (("orders", orders.ended),),
        t.Fill: (
            ("fills", orders.fill),
            ("orders", orders.filled),
            ("money", money.filled),
            ("bots", control.held),
        ),
    },
    "command": dict.fromkeys(
        (c.PauseBot, c.ResumeBot, c.RestrictTrading, c.ReleaseTrading, c.StopSession, c.SessionResumed),
        (("commands", control.command),),
    ),
    "session": {c.SessionStarted: (("sessions", control.session),)},
}
"""By the entity that may say it: a candle on a feed is not a validated one."""


_USUAL: dict[tuple[str, type[Fact]], Callable[[State, Rows, Recorded, Any], bool]] = {
    ("market", m.Candle): usual.candle
}
"""Tried first; what it answers False to, having done nothing, goes to the views."""


class Wanted(NamedTuple):
    """What is made of facts of one type that one entity says."""

    doubtful: Callable[[Any], bool]
    usual: Callable[[State, Rows, Recorded, Any], bool] | None
    views: tuple[tuple[str, View], ...]


@lru_cache(maxsize=65_536)
def _views(actor: str) -> dict[type[Fact], Wanted]:
    return _views_of(actor.partition(".")[0])


@lru_cache
def _views_of(entity: str) -> dict[type[Fact], Wanted]:
    found = {**_ANYONES, **_OWN.get(entity, {})}
    return {kind: Wanted(doubtful(kind), _USUAL.get((entity, kind)), views) for kind, views in found.items()}


def fold(state: State, entries: Iterable[Recorded]) -> Rows:
    """The rows of a batch; `state` is changed in place. What a view cannot project is parked, for that view alone."""
    rows = Rows()
    add(state, rows, entries)
    settle(state, rows)
    return rows


def add(state: State, rows: Rows, entries: Iterable[Recorded]) -> None:
    """More entries of a batch; `settle` ends it."""
    with localcontext(_EXACT):
        for entry in entries:
            views = _views(entry.actor)
            for n, fact in enumerate(entry.decision.facts):
                wanted = views.get(type(fact))
                if wanted is None:
                    continue
                is_doubtful, is_usual, heard = wanted
                if is_doubtful(fact):
                    try:
                        check(fact)
                    except ValueError as error:
                        rows.park(entry.seq, n, "all", str(error))
                        continue
                elif is_usual is not None and is_usual(state, rows, entry, fact):
                    continue
                for name, view in heard:
                    try:
                        view(state, rows, entry, n, fact)
                    except Exception as error:  # whatever it is, the other views go on, and the table says so
                        rows.park(entry.seq, n, name, f"{type(error).__name__}: {error}")


def settle(state: State, rows: Rows) -> None:
    """Makes of the batch's last values what was put off."""
    with localcontext(_EXACT):
        market.settle_feeds(rows)
        market.settle_candles(state, rows)
        control.settle_bots(rows)
        money.settle_marks(state, rows)
        rows.settle()


def parked(entry: Recorded, reason: str) -> Rows:
    """An entry whose rows the database refuses: none of its facts is projected."""
    rows = Rows()
    rows.park(entry.seq, 0, "all", reason)
    return rows
