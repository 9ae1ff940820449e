"""A symbol's trades in columns: the bars they make, on which of them its decider says more than one bar, its state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns, Floats, Ints

from .bars import Bar, totals
from .columns import Flags, remember
from .decider import SymbolDecider
from .rules import ID_MAX, IDS_MAX, PRICE_MAX, PRICE_MIN, TRIM, VOLUME_MAX, Rules
from .state import Stream, SymbolState, forget

_PRICES = ("open", "high", "low", "close", "volume")


class Trades(Protocol):
    """Trades as columns of equal length, in the order in which their feed says them.

    `ts` µs UTC; `side` +1 where the taker bought, -1 sold, 0 unknown; `id` empty where the venue gives none.
    """

    @property
    def ts(self) -> Ints: ...
    @property
    def price(self) -> Floats: ...
    @property
    def qty(self) -> Floats: ...
    @property
    def side(self) -> NDArray[np.int8]: ...
    @property
    def id(self) -> Sequence[str]: ...


class Judged(msgspec.Struct, frozen=True):
    """`odd`: rows that must be decided the long way. `closings`: rows whose decision is one bar and nothing else;
    `bars`: these bars. On all others nothing is decided.

    `named`: rows whose id the symbol takes note of. `taken`: rows that make bars, `reach` the newest stamp up to each.
    `starts`: the places in `taken` where a bar begins that closes at `ends`.
    """

    odd: Ints
    closings: Ints
    bars: Columns
    named: Ints
    taken: Ints
    reach: Ints
    starts: Ints
    ends: Ints


def eligible(decider: SymbolDecider) -> bool:
    """Whether trades can be judged in columns at all."""
    return decider.rules.trades and not decider.rules.higher


def sound(rules: Rules, rows: Trades) -> Flags:
    """As `validation.trade_fault` finds nothing."""
    ts, price, qty = rows.ts, rows.price, rows.qty
    if (
        PRICE_MIN <= price.min() <= price.max() <= PRICE_MAX
        and 0.0 <= qty.min() <= qty.max() <= VOLUME_MAX
        and rules.low <= ts.min() <= ts.max() <= rules.high
        and _brief(rows.id)
    ):
        return np.ones(len(ts), np.bool_)
    fine: Flags = (price >= PRICE_MIN) & (price <= PRICE_MAX) & (qty >= 0.0) & (qty <= VOLUME_MAX)
    fine &= (ts >= rules.low) & (ts <= rules.high)
    if not _brief(rows.id):
        fine &= np.array([len(text) <= ID_MAX for text in rows.id], np.bool_)
    return fine


def _brief(ids: Sequence[str]) -> bool:
    """Whether no id is too long; of ids in one array of bytes, at once."""
    ends, begin = getattr(ids, "ends", None), getattr(ids, "begin", None)
    if ends is None or begin is None:
        return max(map(len, ids), default=0) <= ID_MAX
    return not len(ends) or int(np.diff(ends, prepend=begin).max()) <= ID_MAX


def ready(decider: SymbolDecider, state: SymbolState) -> bool:
    """Whether the stream is whole and the bars are settled as far as it has come; until then every trade may matter."""
    return state.stream.open and 0 < state.last <= decider.rules.base.floor(state.stream.reached)


def judged(decider: SymbolDecider, state: SymbolState, rows: Trades, good: Flags, start: int) -> Judged:
    """Rows from `start` on, after what `state` knows, which must be `ready`. `good` as `sound` says.

    A row that is called odd may turn out not to be: it is decided the long way, to the same end.
    """
    rules, ts, reached = decider.rules, rows.ts, state.stream.reached
    repeated, has_id = _ids(state.stream.ids, rows.id[start:], good[start:])
    fresh = good.copy()
    fresh[:start] = False
    if repeated is not None:
        fresh[start:] &= ~repeated
    live = np.flatnonzero(fresh)
    named = live if has_id is None else start + np.flatnonzero(fresh[start:] & has_id)
    stamps = ts[start:] if len(live) == len(ts) - start else ts[live]
    if len(live) and int(stamps[0]) >= reached and bool((stamps[1:] >= stamps[:-1]).all()):
        reach = np.concatenate(([reached], stamps))
        bound = _floor(rules, reach)
        ends, late = bound[1:] + rules.step, live[:0]
    else:
        reach = np.maximum.accumulate(np.concatenate(([reached], stamps)))
        bound = _floor(rules, reach)
        ends = _floor(rules, stamps) + rules.step
        on_time = ends > bound[:-1]
        live, ends, late = live[on_time], ends[on_time], live[~on_time]
        reach = np.concatenate((reach[:1], reach[1:][on_time]))
    starts = np.flatnonzero(ends[1:] != ends[:-1]) + 1
    starts = np.concatenate((np.zeros(min(1, len(live)), np.int64), starts))
    closings, bars, plain = _closed(decider, state, rows, live, starts, ends[starts])
    odd = [late, closings[~plain]]
    if len(live) + len(late) < len(ts) - start:
        odd.append(start + np.flatnonzero(~fresh[start:]))
    if len(live) and not (len(closings) and closings[0] == live[0]) and ends[0] != int(bound[0]) + rules.step:
        odd.append(live[:1])  # time has passed without a bar
    found = np.unique(np.concatenate(odd))
    return Judged(found, closings[plain], bars[plain], named, live, reach[1:], starts, ends[starts])


def _floor(rules: Rules, ts: Ints) -> Ints:
    return ts - (ts - rules.origin) % rules.step


def _closed(
    decider: SymbolDecider, state: SymbolState, rows: Trades, taken: Ints, starts: Ints, ends: Ints
) -> tuple[Ints, Columns, Flags]:
    """(rows at which a bar closes, these bars, whether nothing else is said there)."""
    rules, stream = decider.rules, state.stream
    current = rules.base.floor(stream.reached) + rules.step
    carried = stream.forming.get(current)
    if not len(starts):
        return taken, _no_bars(), np.zeros(0, np.bool_)
    bars = _bars(rules, rows, taken, starts, ends)
    closings, after = taken[starts[1:]], ends[1:]
    if carried is not None and int(ends[0]) != current:
        bars = _joined(_bar_row(current, carried), bars)
        closings, after = np.concatenate((taken[:1], closings)), ends
    elif carried is not None and len(bars):
        first = _part(rows, taken[: starts[1]])
        bars = _joined(_bar_row(current, carried.plus(first)), bars[slice(1, None)])
    return closings, bars, _plain(decider, state, bars, after, current)


def _plain(decider: SymbolDecider, state: SymbolState, bars: Columns, after: Ints, current: int) -> Flags:
    """Whether the decision that closes a bar, when the one at `after` begins, is the bar and nothing else."""
    rules, stream = decider.rules, state.stream
    count = len(bars)
    if not count or any(end != current for end in stream.forming):
        return np.zeros(count, np.bool_)
    before = np.concatenate(([state.close], bars.close[:-1]))
    torn = max((last for _, last in stream.torn), default=0)
    whole = bars.ts > torn
    plain: Flags = whole & ~((before > 0.0) & (np.abs(bars.close - before) > rules.jump * before))
    if rules.flat:
        adjacent = after == bars.ts + rules.step
        plain &= adjacent
        begins = int(bars.ts[0])
        settled = state.last == begins - rules.step if begins == current else state.close > 0.0
        plain[0] &= settled
        if not rules.calendar.continuous:
            # Over closed hours nothing is published, and what is settled lags behind.
            plain[0] &= begins == current
            plain[1:] &= adjacent[:-1] & whole[:-1]
    return plain


def _bars(rules: Rules, rows: Trades, taken: Ints, starts: Ints, ends: Ints) -> Columns:
    """The bars that are over: all but the last."""
    if len(starts) < 2:
        return _no_bars()
    whole = taken[: starts[-1]]
    if int(whole[-1]) - int(whole[0]) + 1 == len(whole):
        span = slice(int(whole[0]), int(whole[-1]) + 1)
        ts, price, qty = rows.ts[span], rows.price[span], rows.qty[span]
    else:
        ts, price, qty = rows.ts[whole], rows.price[whole], rows.qty[whole]
    first, last = starts[:-1], starts[1:] - 1
    in_order = price
    if (ts[1:] < ts[:-1]).any():
        in_order = price[np.argsort(ts, kind="stable")]  # of one bar's trades the places stay that bar's
    high, low = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
    volume = _volumes(qty, first, max(0, -int(rules.plan.lot.as_tuple().exponent)))
    return Columns(ends[:-1], in_order[first], high, low, in_order[last], volume, np.diff(starts))


def _volumes(qty: Floats, starts: Ints, digits: int) -> Floats:
    """As the floats of `bars.totals`; tried with the decimals of the lot first."""
    scale = 10.0**digits if digits <= 22 else 1.0
    scaled = np.rint(qty * scale)
    largest = float(scaled.max(initial=0.0))
    if largest * len(qty) < 2**53 and bool((scaled / scale == qty).all()):
        # Sums below 2**53 are exact in floats as well, and the quotient of such integers is rounded but once.
        return np.add.reduceat(scaled, starts) / scale
    return np.array([float(one) for one in totals(qty, starts)])


def _part(rows: Trades, places: Ints) -> Bar:
    """The trades of one bar, or some of them, in the order in which they came."""
    ts, price = rows.ts[places], rows.price[places]
    first, last = int(ts.argmin()), len(ts) - 1 - int(ts[::-1].argmax())
    volume = totals(rows.qty[places], np.zeros(1, np.int64))[0]
    return Bar(
        int(ts[first]), int(ts[last]), float(price[first]), float(price.max()), float(price.min()), float(price[last]),
        volume, len(ts),
    )  # fmt: skip


def _bar_row(end: int, bar: Bar) -> Columns:
    prices = (bar.open, bar.high, bar.low, bar.close, float(bar.volume))
    o, h, l, c, v = (np.array([one], np.float64) for one in prices)
    return Columns(np.array([end], np.int64), o, h, l, c, v, np.array([bar.count], np.int64))


def _joined(one: Columns, two: Columns) -> Columns:
    ts, o, h, l, c, v, n = (
        np.concatenate((getattr(one, name), getattr(two, name))) for name in ("ts", *_PRICES, "count")
    )
    return Columns(ts, o, h, l, c, v, n)


def _no_bars() -> Columns:
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return Columns(none, nothing, nothing, nothing, nothing, nothing, none)


def pass_over(decider: SymbolDecider, state: SymbolState, rows: Trades, judged: Judged, first: int, last: int) -> None:
    """Takes in rows first to last - 1, none of which is odd, as `observe` and `evolve` would one by one."""
    if last <= first:
        return
    stream = state.stream
    stream.notes = []
    a, b = np.searchsorted(judged.taken, (first, last)).tolist()
    e, f = np.searchsorted(judged.named, (first, last)).tolist()
    _note(stream, rows.id, judged.named[e:f])
    if b == a:
        return
    stream.reached = int(judged.reach[b - 1])
    c, d = np.searchsorted(judged.closings, (first, last)).tolist()
    if d > c:
        bars = judged.bars[slice(c, d)]
        state.last, state.close = int(bars.ts[-1]), float(bars.close[-1])
        stream.forming.pop(int(bars.ts[0]), None)
        if stream.torn:
            stream.torn = [run for run in stream.torn if run[1] > state.last]
        remember(decider.rules, state, bars)
    group = int(np.searchsorted(judged.starts, b - 1, "right")) - 1
    part = _part(rows, judged.taken[max(int(judged.starts[group]), a) : b])
    end = int(judged.ends[group])
    known = stream.forming.get(end)
    stream.forming[end] = part if known is None else known.plus(part)


def _note(stream: Stream, ids: Sequence[str], named: Ints) -> None:
    """The memory of ids is trimmed whenever it is full; what would be dropped again is never put in."""
    known, full = stream.ids, IDS_MAX + TRIM
    total = len(known) + len(named)
    dropped = 0 if total < full else TRIM * ((total - full) // TRIM + 1)
    old = list(islice(known, dropped))
    for text in old:
        del known[text]
    rows = named[dropped - len(old) :]
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows):
        known.update(dict.fromkeys(ids[int(rows[0]) : int(rows[-1]) + 1]))
    else:
        known.update(dict.fromkeys(map(ids.__getitem__, rows.tolist())))


def _ids(known: dict[str, None], ids: Sequence[str], good: Flags) -> tuple[Flags | None, Flags | None]:
    """(rows whose id is among the newest ones already, rows that have an id); None: no row, and every row.

    Rows that are not `good` are passed over; `known` as before the first of them.
    """
    if rising(known, ids):
        return None, None
    texts = list(ids)
    distinct = set(texts)
    if distinct == {""}:
        return None, np.zeros(len(texts), np.bool_)
    if len(distinct) == len(texts) and "" not in distinct and distinct.isdisjoint(known):
        return None, None
    repeated, known = np.zeros(len(texts), np.bool_), known.copy()
    for row in np.flatnonzero(good).tolist():
        text = texts[row]
        if text and text in known:
            repeated[row] = True
        elif text:
            known[text] = None
            if len(known) >= IDS_MAX + TRIM:
                forget(known)
    return repeated, np.array([bool(text) for text in texts], np.bool_)


def rising(known: dict[str, None], ids: Sequence[str]) -> bool:
    """Whether the ids are surely new and all different: texts in order, or in one array of bytes numbers that rise and
    are of one length."""
    ends, text, begin = (getattr(ids, name, None) for name in ("ends", "text", "begin"))
    if ends is None or text is None or begin is None:
        return all(map(lt, ids, ids[1:])) and bool(ids) and bool(ids[0]) and ids[0] > max(known, default="")
    if not len(ends):
        return False
    lengths = np.diff(ends, prepend=begin)
    width = int(lengths[0])
    if not 0 < width <= 18 or (lengths != width).any():
        return False
    digits = text[: width * len(ends)].reshape(-1, width) - np.uint8(ord("0"))
    if (digits > 9).any():
        return False
    number = np.zeros(len(ends), np.int64)
    for place in range(width):
        number = number * 10 + digits[:, place]
    first = ids[0]
    return bool((number[1:] > number[:-1]).all()) and all(len(one) != width or one < first for one in known)
