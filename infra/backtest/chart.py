"""The equity chart of a report."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from infra.backtest.kpis import combined
from infra.backtest.result import Curve, Result

_INK, _FAINT, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_LINE, _FALL = "#0b6e99", "#c0392b"
_OTHERS = ("#d98e04", "#6a4c93", "#2e7d4f", "#8d5524", "#5c6b73", "#b5446e")


def draw(result: Result) -> bytes:
    """Equity above, drawdown below, as a PNG of 1600 x 1000 pixels. The same result gives the same bytes."""
    figure = Figure(figsize=(10, 6.25), dpi=160, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves = {name: one for name, one in result.curves.items() if len(one)}
    whole = combined(list(curves.values()))
    if not curves:
        top.text(0.5, 0.5, "no bars", transform=top.transAxes, ha="center", color=_FAINT)
    for (name, one), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        if whole is None or len(curves) > 1:
            top.plot(_times(one), one.equity, color=colour, linewidth=1, label=name)
            _fall(bottom, one, colour, alpha=0.0)
    if whole is not None:
        top.plot(_times(whole), whole.equity, color=_LINE, linewidth=1.4, label="all" if len(curves) > 1 else None)
        top.axhline(whole.start, color=_FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        _fall(bottom, whole, _FALL, alpha=0.25)
    _dress(top, bottom, result, whole)
    if len(curves) > 1:
        top.legend(frameon=False, fontsize=9, labelcolor=_INK)
    figure.align_ylabels((top, bottom))
    figure.tight_layout()
    image = io.BytesIO()
    canvas.print_png(image, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return image.getvalue()


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


def _dress(top: Any, bottom: Any, result: Result, whole: Curve | None) -> None:
    currency = whole.currency if whole is not None else "account currency"
    top.set_ylabel(f"Equity ({currency})", color=_INK)
    bottom.set_ylabel("Drawdown", color=_INK)
    symbols = sorted({one.symbol for one in result.plan.bots})
    names = ", ".join(symbols[:6]) + (" ..." if len(symbols) > 6 else "")
    title = f"{len(result.plan.bots)} bot{'s' if len(result.plan.bots) != 1 else ''} on {names}"
    if whole is not None and whole.start > 0:
        final = float(whole.equity[-1])
        title += f": {whole.start:,.0f} to {final:,.0f} {currency} ({final / whole.start - 1:+.1%})"
    top.set_title(title.replace("$", r"\$"), loc="left", color=_INK, fontsize=12, fontweight="bold")
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bottom.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    bottom.set_ylim(min(bottom.get_ylim()[0], -0.001), 0.0)
    if whole is not None or result.curves:
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        bottom.xaxis.set_major_locator(locator)
        dates = ConciseDateFormatter(locator, tz="UTC")  # type: ignore[no-untyped-call]
        bottom.xaxis.set_major_formatter(dates)
    bottom.set_xlabel("UTC", color=_FAINT, fontsize=9, loc="right")
    for axes in (top, bottom):
        axes.grid(color=_GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=9, length=0)
        axes.margins(x=0.01)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_GRID)
