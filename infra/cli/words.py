"""A fact as one line that a person can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from rich.text import Text

from events import control, market, trading
from events.decision import Recorded
from events.fact import Fact, kind
from infra.cli.values import clock, number

_STYLES = {
    "feed": "dim", "market": "cyan", "bot": "magenta", "account": "green", "command": "bold yellow",
    "session": "bold blue", "quarantine": "red", "supervisor": "bold red", "venue": "blue",
}  # fmt: skip
_TOP = 3  # levels of a book worth a line
_FIELD_MAX = 60


def line(entry: Recorded) -> Text:
    """Sequence, event time, actor, and every fact of the message in words."""
    actor = entry.actor
    text = Text(f"{entry.seq:>8} ", "dim")
    text.append(f"{clock(entry.decision.ts):<19.19} ", "dim")
    text.append(f"{actor:<26} ", _STYLES.get(actor.partition(".")[0], ""))
    for place, fact in enumerate(entry.decision.facts):
        text.append(" · " if place else "", "dim")
        text.append(f"{kind(fact)} ", "bold" if _loud(fact) else "")
        text.append(said(fact))
    return text


def said(fact: Fact) -> str:
    """What the fact says, without its kind."""
    say = _SAID.get(type(fact))
    return say(fact) if say is not None else _rest(fact)


def _loud(fact: Fact) -> bool:
    return isinstance(fact, trading.Fill | trading.Signal | control.ActorHalted | market.GapFound)


def _candle(f: market.Candle) -> str:
    prices = " ".join(f"{n}{number(v)}" for n, v in zip("OHLC", (f.open, f.high, f.low, f.close), strict=True))
    return f"{f.timeframe} {prices} V{number(f.volume)}"


def _trade(f: market.Trade) -> str:
    return f"{f.side or 'traded'} {number(f.qty)} @ {number(f.price)}"


def _book(f: market.Book) -> str:
    sides = [" ".join(f"{number(p)}x{number(q)}" for p, q in side[:_TOP]) for side in (f.bids, f.asks)]
    return f"{sides[0]} | {sides[1]}"


def _block(f: market.CandleBlock) -> str:
    first, last = (int.from_bytes(f.ts[at : at + 8 or None], "little", signed=True) for at in (0, -8))
    return f"{f.timeframe} {f.rows:,} rows, {clock(first)} to {clock(last)}"


def _gap(f: market.GapFound | market.GapFilled) -> str:
    return f"{f.timeframe} {f.missing} missing, {clock(f.first)} to {clock(f.last)}"


def _signal(f: trading.Signal) -> str:
    want = "flat" if not f.target else f"{'long' if f.target > 0 else 'short'} {abs(f.target):g}"
    levels = "".join(
        f" {name.replace('_', '-')} {number(value)}"
        for name in ("limit", "trigger", "stop", "take_profit", "trail")
        if (value := getattr(f, name)) is not None
    )
    why = f" ({'; '.join(f.reasons)})" if f.reasons else ""
    return f"{f.symbol} {want} at {number(f.price)}{levels}{why}"


def _placed(f: trading.OrderPlaced) -> str:
    levels = "".join(
        f" {name} {number(value)}" for name in ("limit", "trigger", "trail") if (value := getattr(f, name)) is not None
    )
    return f"{f.bot} {f.role}: {f.kind} {f.side} {number(f.qty) if f.qty else 'all'} {f.symbol}{levels} [{f.order}]"


def _fill(f: trading.Fill) -> str:
    return (
        f"{f.bot} {f.role}: {f.side} {number(f.qty)} {f.symbol} @ {number(f.price)} fee {number(f.fee)} "
        f"realized {number(f.realized)} position {number(f.position)} [{f.fill}]"
    )


def _refused(f: trading.RiskRefused) -> str:
    return f"{f.bot} {f.symbol}: {f.reason} ({f.detail})"


def _halted(f: control.ActorHalted) -> str:
    return f"{f.actor} at {f.at}: {f.reason}: {f.detail}"


def _session(f: control.SessionStarted) -> str:
    counts = ", ".join(f"{len(f.plan.get(name, ()))} {name}" for name in ("symbols", "bots", "accounts"))
    return f"{counts}, plan {f.hash[:12]}"


def _claimed(f: control.ActorClaimed) -> str:
    return f"epoch {f.epoch}, version {f.version or 'unknown'}, by {f.writer.rpartition('/')[0]}"


def _quarantined(f: control.Quarantined) -> str:
    return f"{f.reason}: {f.detail}"


def _rest(fact: Fact) -> str:
    """Any other fact: its fields, but what the actor's name says already."""
    parts = []
    for name in fact.__struct_fields__:
        value: Any = getattr(fact, name)
        if name in ("venue", "account", "ts") or value in ("", None):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()
        parts.append(f"{name} {text if len(text) <= _FIELD_MAX else text[:_FIELD_MAX] + '…'}")
    return ", ".join(parts)


_SAID: dict[type[Fact], Callable[[Any], str]] = {
    market.Candle: _candle,
    market.CandleBackfilled: _candle,
    market.CandleRevised: _candle,
    market.Trade: _trade,
    market.Book: _book,
    market.CandleBlock: _block,
    market.GapFound: _gap,
    market.GapFilled: _gap,
    trading.Signal: _signal,
    trading.OrderPlaced: _placed,
    trading.Fill: _fill,
    trading.RiskRefused: _refused,
    control.ActorHalted: _halted,
    control.SessionStarted: _session,
    control.ActorClaimed: _claimed,
    control.Quarantined: _quarantined,
}
