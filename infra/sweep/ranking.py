"""Which runs did best, and how the others did."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from infra.sweep.lines import Line
from infra.sweep.summary import better


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`best` first, as many as were wanted. `runs` that have the ranked figure, and its `median` over them. `gained`:
    runs with a net profit. `errors`: runs by what ended them, the most frequent first."""

    figure: str
    best: tuple[Line, ...]
    runs: int
    gained: int
    median: float | None
    errors: tuple[tuple[str, int], ...]


def ranked(lines: Iterable[Line], figure: str, count: int) -> Standing:
    """Runs without the figure are not ranked. Equal ones stand in the order of instrument, period and parameters."""
    values, errors, gained = array("d"), Counter[str](), 0

    def noted() -> Iterator[Line]:
        nonlocal gained
        for line in lines:
            value = line.figures.get(figure)
            if line.error:
                errors[line.error] += 1
                continue
            gained += (line.figures["net_profit"] or 0) > 0
            if value is not None:
                values.append(value)
                yield line

    best = heapq.nsmallest(count, noted(), key=lambda line: (-better(figure, line.figures[figure] or 0.0), order(line)))
    median = float(np.median(values)) if values else None
    return Standing(
        figure=figure, best=tuple(best), runs=len(values), gained=gained, median=median,
        errors=tuple(errors.most_common()),
    )  # fmt: skip


def order(line: Line) -> Any:
    """Sorts lines by instrument, period and parameters, numbers as numbers."""
    return line.instrument, line.period, [place(value) for value in line.params.values()]


def place(value: Any) -> tuple[int, float, str]:
    """Sorts values of any kind: numbers, then the rest by how it is written."""
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, value if isinstance(value, str) else msgspec.json.encode(value).decode()
