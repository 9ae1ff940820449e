"""One account of a backtest: its money over time, and the curve that this draws."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping

import numpy as np

from actors import kernels
from actors.account.money import exact
from actors.plan import AccountPlan
from actors.stretch import Stretch
from events.block import Floats, Ints
from events.trading import Fill
from infra.backtest.result import Curve, Holding, Sketch
from infra.backtest.series import Levels, Marks, Steps
from infra.backtest.sketch import day_ends, sketch_of

_NEAR = 1 + 1e-9  # of sums of floats
PIECE = 32_768  # points of a curve worked out at a time: they stay in the processor's cache


class Money:
    """One account: its cash and its positions by (bot, market), as each fill left them."""

    def __init__(self, plan: AccountPlan) -> None:
        self.plan = plan
        self.open: dict[tuple[str, str], Fill] = {}
        self.ts, self.cash = array("q"), array("d", [float(plan.cash)])
        self.positions: dict[tuple[str, str], Steps] = {}

    def filled(self, key: str, fill: Fill) -> None:
        self.ts.append(fill.ts)
        self.cash.append(float(fill.cash))
        self.positions.setdefault((fill.bot, key), Steps()).add(fill.ts, float(fill.position))
        if fill.position:
            self.open[fill.bot, key] = fill
        else:
            self.open.pop((fill.bot, key), None)

    def traded(self, key: str, stretch: Stretch) -> None:
        """Takes in the fills of a stretch as columns; what is open after it is known by its last fill."""
        legs = stretch.legs
        if not len(legs):
            return
        ts, scales = stretch.rows.ts[legs.row], legs.scales
        self.ts.frombytes(ts.tobytes())
        self.cash.frombytes(_floats(legs.cash, scales.digits).tobytes())
        steps = self.positions.setdefault((stretch.bot.name, key), Steps())
        steps.add_many(ts, _floats(legs.position, scales.lots))
        if legs.exits[-1]:
            self.open.pop((stretch.bot.name, key), None)
        else:
            self.open[stretch.bot.name, key] = stretch.last_fill()

    def curve(self, ts: Ints, marks: Mapping[str, Marks]) -> Curve:
        """One point per element of `ts`, after everything of that time; worked out in pieces to bound memory."""
        times, cash = np.array(self.ts, np.int64), np.array(self.cash)
        if kernels.is_warm() and len(self.positions) == 1:
            return self._traced(ts, times, cash, marks)
        rows = len(ts)
        equity, gross, held = np.empty(rows), np.zeros(rows), np.zeros(rows, np.bool_)
        moves = np.searchsorted(ts, times)  # rows from which on a fill counts
        held[moves[moves < rows]] = True
        levels = Levels(cash, moves)
        positions = [(marks[key], steps.over(ts)) for (_, key), steps in self.positions.items()]
        for start in range(0, rows, PIECE):
            stop = min(start + PIECE, rows)
            part = slice(start, stop)
            equity[part] = levels.at(start, stop)
            for mark, steps in positions:
                position = steps.at(start, stop)
                held[part] |= position != 0
                position *= mark.at(ts[part])
                equity[part] += position
                gross[part] += np.abs(position, out=position)
        return Curve(self.plan.currency, float(self.plan.cash), ts, _written(equity), gross, held)

    def _traced(self, ts: Ints, times: Ints, cash: Floats, marks: Mapping[str, Marks]) -> Curve:
        """As `curve`, of fills of one bot, in one compiled pass."""
        from infra.backtest import loops

        (((_, key), steps),) = self.positions.items()
        rows = len(ts)
        equity, gross, held = np.empty(rows), np.empty(rows), np.empty(rows, np.bool_)
        loops.trace(times, ts, cash, steps.values, marks[key].at(ts), equity, gross, held)
        return Curve(self.plan.currency, float(self.plan.cash), ts, _written(equity), gross, held)

    def sketch(self, ts: Ints, marks: Mapping[str, Marks]) -> Sketch:
        """Of `curve`, which is not made where the compiled loops can do without."""
        if not kernels.is_warm() or len(self.positions) != 1 or not len(ts):
            return sketch_of(self.curve(ts, marks))
        from infra.backtest import loops

        (((_, key), steps),) = self.positions.items()
        start, at = float(self.plan.cash), day_ends(ts)
        course = (np.array(self.ts, np.int64), ts, np.array(self.cash), steps.values, marks[key].at(ts))
        places = _places_of(*course, loops.largest)
        equity = np.empty(len(at))
        unit = 0.0 if places is None else 10.0**places
        held, lowest, final = loops.sketch(*course, start, unit, at, equity)
        days = Curve(self.plan.currency, start, ts[at], equity, equity[:0], np.empty(0, np.bool_))
        return Sketch(days, len(ts), final, held, lowest - 1 if start > 0 else 0.0)

    def holdings(self, marks: Mapping[str, Marks]) -> list[Holding]:
        found = []
        for (bot, key), fill in sorted(self.open.items()):
            mark = exact(marks[key].last)
            gain = fill.position * (mark - fill.average)
            found.append(Holding(self.plan.name, bot, fill.venue, fill.symbol, fill.position, fill.average, mark, gain))
        return found


def _floats(numbers: Ints, decimals: int) -> Floats:
    """The floats nearest to these decimals: numpy's quotient is that as long as both are below 2**53."""
    if len(numbers) and max(int(numbers.max()), -int(numbers.min())) >= 2**53:
        unit = 10**decimals
        return np.array([one / unit for one in numbers.tolist()])
    found: Floats = numbers / 10.0**decimals
    return found


def _written(values: Floats) -> Floats:
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if (places := _places(largest)) is not None:
        for start in range(0, len(values), PIECE):
            part = values[start : start + PIECE]
            np.round(part, places, out=part)
    return values


def _places(largest: float) -> int | None:
    """The decimals that amounts up to the largest are written with; None: all they have."""
    return min(12, 14 - int(np.floor(np.log10(largest)))) if 0 < largest < 1e15 else None


def _places_of(
    times: Ints, ts: Ints, cash: Floats, positions: Floats, close: Floats, largest: Callable[..., float]
) -> int | None:
    """`_places` of the largest amount on the way: mostly the first one, and what none can exceed, tell it."""
    first = abs(cash[0]) if not len(times) or ts[0] < times[0] else 0.0
    most = abs(cash).max() + abs(positions).max() * close.max()
    if first > 0 and most * _NEAR < 1e15 and _places(first) == _places(most * _NEAR):
        return _places(first)
    return _places(largest(times, ts, cash, positions, close))
