"""The folder that a backtest leaves. The same run writes the same bytes."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.account import assumptions
from infra.backtest.data import MarketFile
from infra.backtest.figures import Figures, Kpis, as_json, figures, iso
from infra.backtest.result import Result
from infra.backtest.trips import Trip

if TYPE_CHECKING:
    from rich.table import Table

FILES = ("kpis.json", "trades.csv", "config.json", "equity.png", "digest.txt", "assumptions.txt")
_VERSIONED = ("tickertape", "msgspec", "numpy", "exchange_calendars", "tzdata")


def write(
    result: Result,
    folder: Path | str,
    files: Iterable[MarketFile] = (),
    *,
    found: Figures | None = None,
    chart: bool = True,
) -> Path:
    """Writes the report of a backtest of `files` into a folder, made where it is not there, and returns it.

    `found`: its figures, where they are known. `chart`: whether to draw the equity.
    """
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    found = found or figures(result)
    texts = {
        "kpis.json": _json(as_json(result, found)),
        "trades.csv": trades_csv(found.trips),
        "config.json": _json(config(result, files)),
        "digest.txt": digest_text(result),
        "assumptions.txt": assumptions_text(result),
    }
    for name, text in texts.items():
        (where / name).write_text(text, encoding="utf-8", newline="\n")
    if chart:
        from infra.backtest.chart import draw  # brings matplotlib

        (where / "equity.png").write_bytes(draw(result))
    return where


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def trades_csv(trips: Iterable[Trip]) -> str:
    """One line per closed round trip, in the order of their ends; times are bar closes in UTC."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["account", "bot", "venue", "symbol", "side", "opened", "closed", "qty", "entry_price", "exit_price",
                    "fees", "pnl", "return", "entries", "exits", "reason"])  # fmt: skip
    for one in trips:
        assert one.closed is not None
        lines.writerow([one.account, one.bot, one.venue, one.symbol, one.side, iso(one.opened), iso(one.closed),
                        plain(one.qty), plain(one.entry), plain(one.exit), plain(one.fees), plain(one.pnl),
                        repr(one.gain), one.entries, one.exits, one.reason])  # fmt: skip
    return text.getvalue()


def plain(value: Decimal) -> str:
    """Without exponent and trailing zeros."""
    return f"{value.normalize():f}" if value else "0"


def config(result: Result, files: Iterable[MarketFile] = ()) -> dict[str, Any]:
    """What has to be the same for the same result: the plan, the data and the versions."""
    return {
        "plan": msgspec.to_builtins(result.plan),
        "close_last": result.close_last,
        "files": [_file(one) for one in files],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}},
    }


def _file(file: MarketFile) -> dict[str, Any]:
    report = msgspec.to_builtins(file.report)
    report.pop("path", None)
    instrument = f"{file.venue}/{file.symbol}"
    return {"path": file.path, "sha256": file.sha256, "instrument": instrument, "import": report}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def digest_text(result: Result) -> str:
    """The digest of the whole on the first line, then that of each actor."""
    parts = [f"{digest}  {actor}\n" for actor, digest in result.digests.items()]
    return f"{result.digest}\n" + "".join(parts)


def assumptions_text(result: Result) -> str:
    """What the fills assume, for each account with its own figures, and how the end of the data was dealt with."""
    blocks = []
    for account in sorted(result.plan.accounts, key=lambda one: one.name):
        lines = "".join(f"- {line}\n" for line in assumptions(account))
        blocks.append(f"Account {account.name}, {account.cash:f} {account.currency}\n{lines}")
    end = (
        "What is open before the last bar is closed at that bar's open, as far as its volume allows; nothing new is "
        "opened."
        if result.close_last == "open"
        else "What is open at the end stays open and counts at the last close; it is no trade."
    )
    return "\n".join([*blocks, f"The end of the data\n- {end}\n"])


def summary_table(result: Result, found: Figures | None = None) -> Table:
    """The figures that people look at first, for a terminal: one column for all, or one per account."""
    from rich.table import Table

    found = found or figures(result)
    columns = {"portfolio": found.portfolio} if found.portfolio is not None else found.accounts
    if found.portfolio is not None and len(found.accounts) > 1:
        columns |= found.accounts
    table = Table(title="Backtest", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    rows = [_rows(one) for one in columns.values() if one is not None]
    for place, (label, _) in enumerate(rows[0] if rows else []):
        table.add_row(label, *(one[place][1] for one in rows))
    return table


def _rows(kpis: Kpis) -> Sequence[tuple[str, str]]:
    e, t = kpis.equity, kpis.trades
    return (
        (f"Final equity, {kpis.currency}", f"{e.final:,.2f}"),
        ("Return", percent(e.total_return)),
        ("CAGR", percent(e.cagr)),
        ("Volatility a year", percent(e.volatility)),
        (f"Sharpe ({e.periods_per_year} days a year)", number(e.sharpe)),
        ("Sortino", number(e.sortino)),
        ("Calmar", number(e.calmar)),
        ("Deepest drawdown", percent(e.max_drawdown)),
        ("Longest drawdown, days", number(e.max_drawdown_days)),
        ("Exposure (time)", percent(e.exposure)),
        ("Trades", f"{t.trades:,}"),
        ("Win rate", percent(t.win_rate)),
        ("Profit factor (money)", number(t.profit_factor)),
        ("Profit factor (returns)", number(t.profit_factor_returns)),
        (f"Expectancy, {kpis.currency} a trade", number(t.expectancy)),
        ("Best trade", percent(t.best_trade)),
        ("Worst trade", percent(t.worst_trade)),
        ("SQN", number(t.sqn)),
        (f"Fees, {kpis.currency}", f"{t.fees:,.2f}"),
        ("Turnover", "-" if kpis.turnover is None else f"{kpis.turnover:,.1f} x"),
        ("Signals refused", f"{kpis.refused:,} of {kpis.signals:,}"),
    )


def bots_table(result: Result, found: Figures | None = None) -> Table:
    """One row per bot."""
    from rich.table import Table

    found = found or figures(result)
    table = Table(title="Bots", title_justify="left")
    table.add_column("bot", overflow="fold")
    for name in ("trades", "wins", "net profit", "factor", "average", "best", "worst", "fees"):
        table.add_column(name, justify="right", no_wrap=True)
    for bot, t in found.bots.items():
        shares = (percent(t.average_trade), percent(t.best_trade), percent(t.worst_trade))
        table.add_row(bot, f"{t.trades:,}", percent(t.win_rate), f"{t.net_profit:,.2f}", number(t.profit_factor),
                      *shares, f"{t.fees:,.2f}")  # fmt: skip
    return table


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
