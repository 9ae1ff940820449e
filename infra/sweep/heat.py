"""A figure over two parameters as a heat map, or over one as a line."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from events.block import Floats
from infra.sweep.lines import Line
from infra.sweep.ranking import place
from infra.sweep.summary import better

_INK, _FAINT, _NONE = "#1f2933", "#7b8794", "#e4e7eb"
_FRACTIONS = ("total_return", "max_drawdown", "win_rate", "exposure")
_WRITTEN_MAX = 150  # cells; in more of them numbers could not be read
_TICKS_MAX = 24
WAYS = ("median", "best")


class Map(msgspec.Struct, frozen=True):
    """`cells[y, x]`: the figure, NaN where no run has it. `others`: what varies besides, and was put together."""

    figure: str
    x: str
    y: str | None
    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    cells: Floats
    by: str
    others: tuple[str, ...]
    runs_max: int


def choose(varying: dict[str, int], wanted: Sequence[str] = ()) -> tuple[str, str | None] | None:
    """The axes (x, y) of the map: those wanted, else the two with the most values, in their own order.

    `varying`: by name, how many values there are; `instrument` and `period` are names, too. None where nothing varies.
    """
    if wanted:
        return wanted[0], wanted[1] if len(wanted) > 1 else None
    names = [name for name, count in varying.items() if count > 1]
    chosen = sorted(sorted(names, key=lambda name: -varying[name])[:2], key=names.index)
    return (chosen[0], chosen[1] if len(chosen) > 1 else None) if chosen else None


def gathered(lines: Iterable[Line], figure: str, axes: tuple[str, str | None], by: str, varying: Iterable[str]) -> Map:
    """`by`: the median, or the best, of the runs that share a cell."""
    x, y = axes
    found: dict[tuple[str, str], list[float]] = {}
    known: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for line in lines:
        value = line.figures.get(figure)
        at = [_coordinate(line, name) for name in (x, y)]
        names = [msgspec.json.encode(one).decode() for one in at]
        for kept, name, one in zip(known, names, at, strict=True):
            kept.setdefault(name, one)
        if value is not None:
            found.setdefault((names[0], names[1]), []).append(value)
    columns, rows = (sorted(one, key=lambda name, one=one: place(one[name])) for one in known)  # type: ignore[misc]
    cells = np.full((len(rows), len(columns)), np.nan)
    best = min if better(figure, 1.0) < 0 else max
    column_of, row_of = ({name: number for number, name in enumerate(one)} for one in (columns, rows))
    for (column, row), values in found.items():
        cells[row_of[row], column_of[column]] = np.median(values) if by == "median" else best(values)
    return Map(
        figure, x, y, tuple(known[0][name] for name in columns), tuple(known[1][name] for name in rows), cells, by,
        tuple(name for name in varying if name not in axes), max(map(len, found.values()), default=0),
    )  # fmt: skip


def _coordinate(line: Line, name: str | None) -> Any:
    match name:
        case None:
            return None
        case "instrument" | "period":
            return getattr(line, name)
        case _:
            return line.params[name]


def title(map: Map) -> str:
    """What the map shows, and how several runs became one cell."""
    named = map.figure.replace("_", " ")
    over = f" over {map.x}" + (f" and {map.y}" if map.y is not None else "")
    if map.runs_max < 2:
        return named + over
    return f"{named}{over}: the {map.by} of up to {map.runs_max:,} runs over {', '.join(map.others)}"


def write(path: Path, map: Map) -> None:
    """A PNG, 1600 pixels wide; the same map gives the same bytes. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = map.cells.shape
    height = 4.5 if map.y is None else min(7.5, max(3.5, 1.6 + 8.5 * rows / max(columns, 1)))
    figure = Figure(figsize=(10, height), dpi=160, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    (_line if map.y is None else _cells)(figure, axes, map)
    axes.set_title(_plain(title(map)), loc="left", color=_INK, fontsize=12, fontweight="bold", pad=12)
    axes.set_xlabel(_plain(map.x), color=_INK)
    axes.tick_params(colors=_FAINT, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    image = io.BytesIO()
    canvas.print_png(image, metadata={"Software": None})  # type: ignore[no-untyped-call]
    path.write_bytes(image.getvalue())


def _cells(figure: Any, axes: Any, map: Map) -> None:
    from matplotlib.colors import TwoSlopeNorm

    cells = np.ma.masked_invalid(map.cells)
    low, high = (float(cells.min()), float(cells.max())) if cells.count() else (0.0, 1.0)
    crossing = low < 0 < high
    reach = max(-low, high)
    look = {"norm": TwoSlopeNorm(0.0, -reach, reach), "cmap": "RdBu"} if crossing else {"cmap": "viridis"}
    axes.set_facecolor(_NONE)
    image = axes.imshow(cells, origin="lower", aspect="auto", interpolation="nearest", **look)
    number = _written(map.figure)
    if cells.size <= _WRITTEN_MAX:
        _write_cells(axes, image, map.cells, number)
    if cells.count():
        best = better(map.figure, 1.0) * map.cells
        row, column = np.unravel_index(int(np.nanargmax(best)), best.shape)
        frame = {"fill": False, "edgecolor": _INK, "linewidth": 2, "zorder": 3}
        axes.add_patch(_rectangle((column - 0.5, row - 0.5), **frame))
    _ticks(axes.set_xticks, map.xs, 90 if any(len(str(one)) > 8 for one in map.xs) else 0)
    _ticks(axes.set_yticks, map.ys, 0)
    axes.set_ylabel(_plain(map.y or ""), color=_INK)
    bar = figure.colorbar(image, ax=axes, pad=0.02, format=_formatter(number))
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_FAINT, labelsize=9, length=0)


def _formatter(number: Callable[[float], str]) -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: number(value))


def _rectangle(corner: tuple[Any, Any], **look: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, **look)


def _write_cells(axes: Any, image: Any, cells: Floats, number: Callable[[float], str]) -> None:
    size = min(11, max(7, 70 / max(cells.shape)))
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma of ITU-R BT.601
            axes.text(
                column, row, number(value), ha="center", va="center", fontsize=size, color="white" if dark else _INK
            )


def _line(_: Any, axes: Any, map: Map) -> None:
    number = _written(map.figure)
    places = np.arange(len(map.xs))
    axes.plot(places, map.cells[0], color="#0b6e99", linewidth=1.4, marker="o", markersize=4)
    if np.nanmin(map.cells, initial=np.inf) < 0 < np.nanmax(map.cells, initial=-np.inf):
        axes.axhline(0, color=_FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylabel(_plain(map.figure.replace("_", " ")), color=_INK)
    axes.yaxis.set_major_formatter(_formatter(number))
    axes.grid(color=_NONE, linewidth=0.7)
    _ticks(axes.set_xticks, map.xs, 90 if any(len(str(one)) > 8 for one in map.xs) else 0)


def _ticks(put: Any, values: Sequence[Any], rotation: int) -> None:
    every = -(-len(values) // _TICKS_MAX)
    places = range(0, len(values), every)
    put(list(places), [_plain(_shown(values[place])) for place in places], rotation=rotation)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _written(figure: str) -> Callable[[float], str]:
    if figure in _FRACTIONS:
        return lambda value: f"{value:.1%}"
    return lambda value: f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _plain(text: str) -> str:
    """Matplotlib sets what stands between dollars as mathematics."""
    return text.replace("$", r"\$")
