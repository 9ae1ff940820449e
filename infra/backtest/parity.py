"""Proof that the fast ways of a backtest decide as the true one does. For tests, and for whoever writes a strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from actors.express import Express, Window
from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from events import subjects
from events.block import Columns
from events.decision import Decision, Recorded
from infra.backtest.engine import backtest, messages, play
from infra.session.market import Stamped

WINDOWS = (64, 65_536)
"""Rows a window, by default: strategies are asked in pieces, and at once."""


class ParityError(AssertionError):
    """Two ways of playing the same candles decided differently; the message shows the first difference."""


def assert_parity(
    strategy: str | Plan,
    data: Columns | Window,
    *,
    params: Mapping[str, Any] | None = None,
    sizing: Sizing | None = None,
    account: AccountPlan | None = None,
    windows: Sequence[int] = WINDOWS,
    commands: Sequence[Stamped] = (),
) -> str:
    """Plays the candles message by message, candle by candle and in columns, and returns the digest they share.

    `strategy`: a shipped name or `module:Class` with its `params`, or a whole plan. `data`: candles of one minute, or
    candles by feed in the base timeframes of the plan's symbols. `commands`: messages of an operator in order of time,
    each heard before the candles of its time. Raises ParityError where decisions, ids, places on
    the tape, final states or digests differ.
    """
    if isinstance(data, Columns):
        data = {subjects.feed("parity", "DATA"): data}
    plan = strategy if isinstance(strategy, Plan) else _plan(strategy, dict(params or {}), sizing, account)
    truth = _Tale(plan)
    loop = Lockstep(deciders(plan), truth.hear)
    stream = list(_stream(plan, _told(data, commands)))
    for _, actor, message in stream:
        loop.feed(actor, message)
    expected = backtest(plan, stream)
    for columns in (False, True):
        for rows in windows:
            way = f"{'in columns' if columns else 'candle by candle'}, {rows} rows a window"
            told = _Tale(plan)
            fast = Express(deciders(plan), told.hear, columns=columns)
            parts = [
                one
                for part in _told(data, commands)
                for one in ([part] if isinstance(part, tuple) else cut(part, rows))
            ]
            for part in parts:
                if isinstance(part, tuple):
                    fast.feed(part[1], part[2])
                else:
                    fast.play(part)
            fast.settle()
            _compare(way, truth, told)
            if fast.end != loop.end:
                raise ParityError(f"{way}: the tape ends at {fast.end}, not at {loop.end}")
            _same_states(way, loop, fast)
            found = play(plan, parts, columns=columns)
            for name in ("digests", "entries", "decisions", "counts", "fills", "markets"):
                if getattr(found, name) != getattr(expected, name):
                    raise ParityError(f"{way}: {name} {getattr(found, name)}, expected {getattr(expected, name)}")
    return expected.digest


def cut(data: Window, rows: int) -> Iterator[dict[str, Columns]]:
    """The candles in windows of about `rows` rows, cut at the same times for all feeds."""
    stamps = sorted({ts for columns in data.values() for ts in columns.ts.tolist()})
    ends = stamps[rows - 1 :: rows] + stamps[-1:]
    done = dict.fromkeys(data, 0)
    for end in ends:
        window = {}
        for feed, columns in data.items():
            last = int((columns.ts <= end).sum())
            window[feed] = columns[slice(done[feed], last)]
            done[feed] = last
        yield window


def _told(data: Window, commands: Sequence[Stamped]) -> Iterator[Window | Stamped]:
    """The candles up to each command, and the command."""
    for command in commands:
        before = {feed: columns[columns.ts < command[0]] for feed, columns in data.items()}
        data = {feed: columns[columns.ts >= command[0]] for feed, columns in data.items()}
        yield before
        yield command
    yield data


def _stream(plan: Plan, parts: Iterable[Window | Stamped]) -> Iterator[Stamped]:
    for part in parts:
        yield from [part] if isinstance(part, tuple) else messages(plan, [part])


class _Tale:
    """What bots and accounts decided, with its place on the tape."""

    def __init__(self, plan: Plan) -> None:
        self._markets = {subjects.market(one.venue, one.symbol) for one in plan.symbols}
        self.decisions: list[tuple[int, str, Decision]] = []

    def hear(self, entry: Recorded) -> None:
        if entry.decision.by and entry.actor not in self._markets:
            self.decisions.append((entry.seq, entry.actor, entry.decision))


def _compare(way: str, truth: _Tale, told: _Tale) -> None:
    for number, (expected, found) in enumerate(zip(truth.decisions, told.decisions, strict=False)):
        if expected != found:
            raise ParityError(f"{way}: decision {number} is\n  {found}\nwhere message by message it is\n  {expected}")
    if len(truth.decisions) != len(told.decisions):
        longer, which = max(
            (truth.decisions, "is missing"), (told.decisions, "is too much"), key=lambda one: len(one[0])
        )
        first = longer[min(len(truth.decisions), len(told.decisions))]
        raise ParityError(
            f"{way}: {len(told.decisions)} decisions for {len(truth.decisions)}; first {which}:\n  {first}"
        )


def _same_states(way: str, truth: Lockstep, fast: Lockstep) -> None:
    for expected, found in zip(truth.seats, fast.seats, strict=True):
        ours, theirs = found.state, expected.state
        if ours == theirs:
            continue
        names = [name for name in theirs.__struct_fields__ if getattr(ours, name) != getattr(theirs, name)]
        shown = "; ".join(f"{name}: {getattr(ours, name)} for {getattr(theirs, name)}" for name in names)
        raise ParityError(f"{way}: at the end {found.actor} differs in {shown[:2000]}")


def _plan(strategy: str, params: dict[str, Any], sizing: Sizing | None, account: AccountPlan | None) -> Plan:
    wallet = account or AccountPlan()
    bot = BotPlan(
        name="parity", venue="parity", symbol="DATA", account=wallet.name, strategy=strategy, params=params,
        sizing=sizing or Sizing(),
    )  # fmt: skip
    return Plan(symbols=(SymbolPlan(venue="parity", symbol="DATA"),), bots=(bot,), accounts=(wallet,))


__all__ = ["WINDOWS", "ParityError", "assert_parity", "cut"]
