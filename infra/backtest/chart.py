"""The equity chart of a report."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from infra.backtest.figures import iso
from infra.backtest.kpis import combined
from infra.backtest.result import Curve, Result

_INK, _FAINT, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_LINE, _FALL = "#0b6e99", "#c0392b"
_OTHERS = ("#d98e04", "#6a4c93", "#2e7d4f", "#8d5524", "#5c6b73", "#b5446e")


def draw(result: Result) -> bytes:
    """Equity (of several accounts: growth) above, drawdown below, as a PNG of 1600 x 1000 pixels.

    The same result gives the same bytes.
    """
    figure = Figure(figsize=(10, 6.25), dpi=160, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves = {name: one for name, one in result.curves.items() if len(one)}
    whole = combined(list(curves.values()))
    growth = len(curves) > 1 and all(one.start > 0 for one in curves.values())
    if not curves:
        top.text(0.5, 0.5, "no bars", transform=top.transAxes, ha="center", color=_FAINT)
    for (name, one), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        if len(curves) > 1:
            top.plot(_times(one), _values(one, growth), color=colour, linewidth=1, label=name)
            _fall(bottom, one, colour, alpha=0.0)
    if whole is not None:
        label = "all" if len(curves) > 1 else None
        top.plot(_times(whole), _values(whole, growth), color=_LINE, linewidth=1.4, label=label)
        _fall(bottom, whole, _FALL, alpha=0.25)
    if curves:
        start = 0.0 if growth else whole.start if whole is not None else None
        if start is not None:
            top.axhline(start, color=_FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    _dress(top, bottom, growth, whole.currency if whole is not None else "account currency")
    _name(top, result, whole)
    if len(curves) > 1:
        top.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="upper left")
    figure.align_ylabels((top, bottom))
    figure.tight_layout()
    image = io.BytesIO()
    canvas.print_png(image, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return image.getvalue()


def _values(curve: Curve, growth: bool) -> Any:
    return curve.equity / curve.start - 1 if growth else curve.equity


def _cycle(count: int) -> list[str]:
    return [_OTHERS[place % len(_OTHERS)] for place in range(count)]


def _times(curve: Curve) -> Any:
    return curve.ts.astype("datetime64[us]")


def _fall(axes: Any, curve: Curve, colour: str, alpha: float) -> None:
    peaks = np.maximum(np.maximum.accumulate(curve.equity), curve.start)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(peaks > 0, curve.equity / peaks - 1, 0.0)
    axes.plot(_times(curve), depth, color=colour, linewidth=0.8)
    if alpha:
        axes.fill_between(_times(curve), depth, 0.0, color=colour, alpha=alpha, linewidth=0)


def _name(top: Any, result: Result, whole: Curve | None) -> None:
    symbols = sorted({one.symbol for one in result.plan.bots})
    names = ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")
    count = len(result.plan.bots)
    title = f"{count} bot{'s' if count != 1 else ''}" + (f" on {names}" if names else "")
    top.set_title(title.replace("$", r"\$"), loc="left", color=_INK, fontsize=12, fontweight="bold", pad=24)
    if whole is None or whole.start <= 0:
        return
    final = float(whole.equity[-1])
    first, last = (iso(int(ts))[:10] for ts in (whole.ts[0], whole.ts[-1]))
    line = (
        f"{whole.start:,.0f} to {final:,.0f} {whole.currency} ({final / whole.start - 1:+.1%}), {first} to {last}, UTC"
    )
    place = {"xy": (0, 1), "xycoords": "axes fraction", "xytext": (0, 8), "textcoords": "offset points"}
    top.annotate(line.replace("$", r"\$"), color=_FAINT, fontsize=9.5, **place)


def _dress(top: Any, bottom: Any, growth: bool, currency: str) -> None:
    top.set_ylabel("Growth" if growth else f"Equity ({currency})".replace("$", r"\$"), color=_INK)
    bottom.set_ylabel("Drawdown", color=_INK)
    money = FuncFormatter(lambda value, _: f"{value:,.0f}")
    top.yaxis.set_major_formatter(PercentFormatter(1.0) if growth else money)
    bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
    bottom.set_ylim(min(bottom.get_ylim()[0], -0.001), 0.0)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    bottom.xaxis.set_major_locator(locator)
    dates = ConciseDateFormatter(locator, tz="UTC")  # type: ignore[no-untyped-call]
    bottom.xaxis.set_major_formatter(dates)
    for axes in (top, bottom):
        axes.grid(color=_GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=9, length=0)
        axes.margins(x=0.01)
        axes.xaxis.get_offset_text().set_color(_FAINT)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_GRID)
