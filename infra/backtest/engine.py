"""The backtest: the live deciders over stored market facts, by the same loop, in one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, cast

from actors.express import Express, Window
from actors.lockstep import Lockstep
from actors.plan import Plan
from actors.roster import deciders
from events import subjects, timeframe
from events.control import RestrictTrading
from events.decision import Recorded
from events.feed import command
from events.tape import Tape, TapeError
from infra.backtest.collect import Collector
from infra.backtest.memory import remembering
from infra.backtest.result import Result
from infra.backtest.shared import Shared
from infra.session.market import Stamped, candle_messages, merged

Sink = Callable[[Recorded], None]
CloseLast = Literal["open"] | None
PROGRESS_EVERY = 1_000


def backtest(
    plan: Plan,
    stream: Iterable[Stamped],
    *,
    sinks: Sequence[Sink] = (),
    close_last: CloseLast = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Plays the stream through the actors of the plan.

    `stream`: messages from outside in the order of the tape, as `infra.backtest.data` makes them. Each of `sinks` is
    shown every entry in tape order. `progress` is told how many messages are done. `close_last`: see `closing_last`.
    Memory grows with trades and bars, not with facts. Raises BadPlan, UnknownStrategy and ValueError for a plan that
    cannot run, and Poison where an actor stops.
    """
    run = _Run(plan, sinks, 0)
    for done, message in enumerate(_prepared(plan, stream, close_last), 1):
        run.feed(message)
        if progress is not None and done % PROGRESS_EVERY == 0:
            progress(done)
    return run.result(close_last, progress)


async def record(
    plan: Plan,
    stream: Iterable[Stamped],
    tape: Tape,
    *,
    sinks: Sequence[Sink] = (),
    close_last: CloseLast = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """`backtest`, with the plan and then every entry put on an empty tape, so that it can be audited and replayed.

    Raises TapeError where the tape holds something already or takes an entry at another place than the next.
    """
    from infra.session.opening import record_plan  # brings the bus client, which a backtest without a tape can spare

    if await tape.end():
        raise TapeError(f"tape {tape.name!r} is not empty: a backtest is recorded on a tape of its own")
    messages = _prepared(plan, stream, close_last)
    first = next(messages, None)
    await record_plan(tape, plan, first[0] if first is not None else 0)
    fresh: deque[Recorded] = deque()
    run = _Run(plan, (fresh.append, *sinks), await tape.end())
    versions: dict[str, int] = {}
    done = 0
    while first is not None:
        run.feed(first)
        while fresh:
            await _append(tape, fresh.popleft(), versions)
        done += 1
        if progress is not None and done % PROGRESS_EVERY == 0:
            progress(done)
        first = next(messages, None)
    return run.result(close_last, progress)


async def _append(tape: Tape, entry: Recorded, versions: dict[str, int]) -> None:
    seq = await tape.append(entry.actor, entry.decision, expected=versions.get(entry.actor, 0))
    if seq != entry.seq:
        raise TapeError(f"tape {tape.name!r} took an entry of {entry.actor} at {seq}, where {entry.seq} was next")
    versions[entry.actor] = seq


def play(
    plan: Plan,
    parts: Iterable[Window | Stamped],
    *,
    columns: bool = True,
    digest: bool = True,
    close_last: CloseLast = None,
    progress: Callable[[int], None] | None = None,
    shared: Shared | None = None,
) -> Result:
    """`backtest` over columns: the same decisions, faster.

    `parts` as `infra.backtest.parts.parts` makes them: windows of candles (of trades, as `infra.backtest.tickfiles`
    makes them, where all bars are made of trades), and messages between them. `columns`
    False: every strategy is asked candle by candle. `digest` False: it is not worked out, and empty in the result.
    `close_last` is only noted: the parts hold the command. `shared`: with other runs over the very same parts.
    Symbols with higher timeframes, and those whose bars are made of trades, make the whole plan go message by message.
    Raises what `backtest` raises.
    """
    if all(one.source == "trades" and not one.timeframes for one in plan.symbols):
        from infra.backtest import ticks  # which is made of the same parts

        return ticks.play_trades(plan, cast(Any, parts), digest=digest, close_last=close_last, progress=progress)
    made = deciders(plan)
    markets = {subjects.market(one.venue, one.symbol) for one in plan.symbols}
    collector = Collector(plan, digest=digest, columnar=markets, shared=shared)
    express = Express(made, collector, collector.passed, collector.traded, columns=columns)
    if shared is not None:
        express.judge = shared.judge
    run: Express | _Plain = express
    if set(express.feeds) != {subjects.feed(one.venue, one.symbol) for one in plan.symbols}:
        collector = Collector(plan, digest=digest)
        run = _Plain(plan, Lockstep(made, collector))
    with remembering(shared.indicators if shared is not None else None):
        collector.drive(run, parts, progress)
    return collector.result(close_last)


class _Plain:
    """Plays windows message by message."""

    def __init__(self, plan: Plan, loop: Lockstep) -> None:
        self._plan, self.feed = plan, loop.feed

    def play(self, window: Window) -> None:
        for _, actor, message in messages(self._plan, [window]):
            self.feed(actor, message)


def messages(plan: Plan, windows: Iterable[Window]) -> Iterator[Stamped]:
    """What the feeds say in these windows, one message a candle, in canonical order."""
    bases = {subjects.feed(one.venue, one.symbol): one for one in plan.symbols}
    for window in windows:
        yield from merged(
            [candle_messages(bases[feed].venue, bases[feed].symbol, bases[feed].base, rows)
             for feed, rows in window.items()]
        )  # fmt: skip


class _Run:
    """The loop and its collector; `start` is the last sequence on the tape before it."""

    def __init__(self, plan: Plan, sinks: Sequence[Sink], start: int) -> None:
        self._collector = Collector(plan)
        self._lockstep = Lockstep(deciders(plan), _all((self._collector, *sinks)))
        self._lockstep.end = start
        self._done = 0

    def feed(self, message: Stamped) -> None:
        _, actor, decision = message
        self._lockstep.feed(actor, decision)
        self._done += 1

    def result(self, close_last: CloseLast, progress: Callable[[int], None] | None) -> Result:
        if progress is not None:
            progress(self._done)
        return self._collector.result(close_last)


def _all(sinks: tuple[Sink, ...]) -> Sink:
    if len(sinks) == 1:
        return sinks[0]

    def show(entry: Recorded) -> None:
        for sink in sinks:
            sink(entry)

    return show


def _prepared(plan: Plan, stream: Iterable[Stamped], close_last: CloseLast) -> Iterator[Stamped]:
    if close_last is None:
        return iter(stream)
    if close_last != "open":
        raise ValueError(f"close_last {close_last!r} is not known: write 'open', or leave it out")
    return closing_last(plan, stream)


def closing_last(plan: Plan, stream: Iterable[Stamped]) -> Iterator[Stamped]:
    """The stream with an order to flatten every account just before its last bar.

    The command is stamped with the open of the last bar of the slowest symbol, so what is open then is sold at the
    open of its next bar, and nothing new is opened. A symbol whose data end earlier has no next bar: its position
    stays, at its last close. Only that last bar's messages are held back.
    """
    length = max((timeframe.micros(one.base) for one in plan.symbols), default=0)
    held: deque[Stamped] = deque()
    newest = 0
    for message in stream:
        newest = max(newest, message[0])
        held.append(message)
        while held and held[0][0] <= newest - length:
            yield held.popleft()
    cutoff = newest - length
    if held:
        fact = RestrictTrading("*", cutoff, "backtest", "flatten", "the data end with the next bar")
        yield cutoff, subjects.COMMAND, command(fact, cutoff)
    yield from held
