"""The findings as tables on the terminal and as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.bench.case import Finding
from scripts.bench.work import Done

OWN = ("event", "column", "message", "tape", "sweep")
"""How the names of our own engines' works begin."""

ENGINE_WORKS = ("rate", "engine_s", "process_s", "peak_mb")


def amount(value: float | None) -> str:
    """Three figures, thousands and millions named."""
    if value is None:
        return "-"
    for size, name in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if name == ' k' else size):.3g}{name}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def goal_text(finding: Finding) -> str:
    """What it is to reach, with the sign in which it counts and the stretch behind it."""
    goal = finding.goal
    if goal is None:
        return ""
    by_ratio = goal.ratio is not None and (finding.judged_by == "ratio" or goal.value is None)
    sign = "≥" if goal.better == "more" else "≤"
    parts = [f"{sign} {goal.ratio:g} x" if by_ratio else f"{sign} {amount(goal.value)}"]
    if goal.stretch_ratio is not None and by_ratio:
        parts.append(f"{goal.stretch_ratio:g} x")
    elif goal.stretch_value is not None:
        parts.append(amount(goal.stretch_value))
    return " / ".join(parts)


def verdict(finding: Finding) -> str:
    if finding.error:
        return "[red]failed[/]"
    if finding.met is None:
        return ""
    if finding.stretched:
        return "[green]stretch[/]"
    return "[green]met[/]" if finding.met else "[yellow]missed[/]"


def findings_table(findings: Sequence[Finding]) -> Table:
    table = Table(title="Figures: medians of rounds, fresh processes", title_justify="left")
    for name in ("case", "value", "unit", "yardstick", "its value", "ratio", "to reach", "", "n"):
        table.add_column(name, justify="left" if name in ("case", "unit", "yardstick", "") else "right")
    for one in findings:
        table.add_row(
            one.name, amount(one.value), one.unit, one.yardstick, amount(one.floor),
            "-" if one.ratio is None else f"{one.ratio:.3g}", goal_text(one), verdict(one), str(one.rounds),
        )  # fmt: skip
    return table


def works_table(done: Mapping[str, Done], market: str, sweep: bool = False) -> Table:
    """Every engine at the same work on one market, fastest first."""
    table = Table(title=f"{'100 EMA crosses' if sweep else 'EMA cross'} on {market}", title_justify="left")
    table.add_column("engine")
    for name in ("rows/s", "engine s", "process s", "peak MB", "trades", "PnL", "n"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in by_rate(done, market, sweep):
        sample: dict[str, Any] = one.samples[-1] if one.samples else {}
        pnl = sample.get("pnl")
        table.add_row(
            engine_name(one, market), *(amount(one.median(key)) for key in ENGINE_WORKS),
            f"{sample['trades']:,}" if "trades" in sample else "-", "-" if pnl is None else f"{pnl:,.4f}",
            str(len(one.samples)), state(one),
        )  # fmt: skip
    return table


def state(one: Done) -> str:
    if one.error:
        return "[red]failed[/]"
    return "[yellow]other fills[/]" if one.differs else ""


def by_rate(done: Mapping[str, Done], market: str, sweep: bool = False) -> list[Done]:
    own = [one for name, one in done.items() if name.endswith(f" {market}") and (" sweep " in name) == sweep]
    return sorted(own, key=lambda one: -(one.median("rate") or 0.0))


def engine_name(one: Done, market: str) -> str:
    return one.work.name.removesuffix(f" {market}")


def draw(path: Path, findings: Sequence[Finding], done: Mapping[str, Done], markets: Sequence[str]) -> None:
    """Rates by engine on each market, and how far every goal is reached, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = {market: [one for one in by_rate(done, market) if one.median("rate")] for market in markets}
    panels = {market: panel for market, panel in panels.items() if panel}
    judged = [(one, share(one)) for one in findings if share(one) is not None]
    rows = [len(panel) for panel in panels.values()] + ([len(judged)] if judged else []) or [1]
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(10, 1.5 + 0.34 * sum(rows) + len(rows)), height_ratios=rows, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis, (market, panel) in zip(axes[:, 0], panels.items(), strict=False):
        labels = [engine_name(one, market) for one in panel]
        values = [one.median("rate") or 0.0 for one in panel]
        own = [label.startswith(OWN) for label in labels]
        _bars(axis, labels, values, [amount(value) for value in values], own, f"{market}: candles a second")
    if judged:
        labels = [one.name for one, _ in judged]
        values = [value or 0.0 for _, value in judged]
        texts = [f"{value:.2f}" for value in values]
        _bars(axes[-1, 0], labels, values, texts, [True] * len(judged), "share of the goal reached (1: met)")
        axes[-1, 0].axvline(1.0, color="black", linewidth=1)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bars(
    axis: Any, labels: Sequence[str], values: Sequence[float], texts: Sequence[str], own: Sequence[bool], title: str
) -> None:
    colours = ["tab:blue" if one else "tab:gray" for one in own]
    drawn = axis.barh(labels, values, color=colours)
    axis.bar_label(drawn, texts, padding=3)
    axis.set_title(title, loc="left")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    if values and min(values) > 0:
        axis.set_xscale("log")


def share(finding: Finding) -> float | None:
    """1 where the goal is just met, more where it is passed."""
    goal = finding.goal
    if goal is None or finding.met is None:
        return None
    pair = (finding.ratio, goal.ratio) if finding.judged_by == "ratio" else (finding.value, goal.value)
    found, wanted = pair
    if not found or not wanted:
        return None
    return found / wanted if goal.better == "more" else wanted / found
