"""Parameters as they are written, and their combinations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import prod
from typing import Any

import msgspec
import numpy as np

from events.block import Ints
from infra.sweep.errors import SweepError
from infra.sweep.where import condition

RUNS_MAX = 1_000_000
_RANGE = re.compile(r"(?P<first>[^:]+?)\.\.(?P<last>[^:]+)(?::(?P<step>.+))?")


class Axis(msgspec.Struct, frozen=True):
    """A parameter and its values, each once, in the order in which they were written."""

    name: str
    values: tuple[Any, ...]


def axis(text: str) -> Axis:
    """`NAME=VALUES`: values between commas, each a number, true, false, text, or a range FIRST..LAST[:STEP].

    Both ends of a range belong to it; its step is 1 where none is said, and its values are computed in decimals:
    0.1..0.3:0.1 is 0.1, 0.2, 0.3. Raises SweepError.
    """
    name, equals, said = text.partition("=")
    if not equals or not name or not said:
        raise SweepError(f"--param {text!r} is no parameter: write NAME=VALUES, as in fast=5..14 or short=true,false")
    values: dict[str, Any] = {}
    for part in said.split(","):
        span = _RANGE.fullmatch(part)
        for value in [_value(part)] if span is None else _span(text, span):
            values.setdefault(msgspec.json.encode(value).decode(), value)
    return Axis(name, tuple(values.values()))


def _value(text: str) -> Any:
    """As JSON, or as text where it is none; `tape backtest --param` reads values the same way."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _span(text: str, span: re.Match[str]) -> list[Any]:
    try:
        first, last, step = (Decimal(span[name] or 1) for name in ("first", "last", "step"))
    except InvalidOperation:
        raise SweepError(f"--param {text!r}: a range is written FIRST..LAST or FIRST..LAST:STEP with numbers") from None
    if not all(one.is_finite() for one in (first, last, step)) or step <= 0 or last < first:
        raise SweepError(f"--param {text!r}: a range goes upward, by a step above 0, as in 20..38:2")
    count = int((last - first) / step) + 1
    if count > RUNS_MAX:
        raise SweepError(f"--param {text!r} has {count:,} values; {RUNS_MAX:,} are the most")
    whole = all(one == one.to_integral_value() for one in (first, step))
    values = (first + step * number for number in range(count))
    return [int(one) if whole else float(one) for one in values]


class Grid:
    """Combinations of axes, numbered; the last axis turns fastest. `kept` are the numbers of those that are run.

    `excluded` counts what `where` left out; `refused` what the strategy did not take, and `reason` why it did not take
    the first of these. Memory: 8 bytes a combination.
    """

    def __init__(
        self,
        axes: Sequence[Axis],
        *,
        where: Iterable[str] = (),
        accepts: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> None:
        """`accepts` says why a strategy does not take a combination, or None. Raises SweepError."""
        self.axes = tuple(axes)
        names = [one.name for one in axes]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise SweepError(f"--param {doubled} is there twice: put its values together, with commas between them")
        self.size = prod(len(one.values) for one in axes)
        if self.size > RUNS_MAX:
            raise SweepError(f"{self.size:,} combinations are more than {RUNS_MAX:,}: use larger steps")
        wanted = [self._condition(text, names) for text in where]
        self.excluded = self.refused = 0
        self.reason = ""
        kept = np.zeros(self.size, np.bool_)
        for number in range(self.size):
            params = self.at(number)
            if not all(holds(params) for holds in wanted):
                self.excluded += 1
            elif accepts is not None and (reason := accepts(params)) is not None:
                self.refused += 1
                self.reason = self.reason or reason
            else:
                kept[number] = True
        self.kept: Ints = np.flatnonzero(kept)

    def _condition(self, text: str, names: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
        try:
            return condition(text, names)
        except ValueError as error:
            raise SweepError(f"--where {text!r}: {error}") from error

    def at(self, number: int) -> dict[str, Any]:
        """The parameters of a combination, in the order of the axes."""
        found: dict[str, Any] = {}
        for one in reversed(self.axes):
            number, place = divmod(number, len(one.values))
            found[one.name] = one.values[place]
        return {one.name: found[one.name] for one in self.axes}
