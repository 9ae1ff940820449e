"""What is shown while a session runs: a live view in a terminal, lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.cli.choosing import Chosen
from infra.cli.looking import coloured, wanted
from infra.cli.overview import Overview
from infra.cli.screen import pairs, table
from infra.cli.values import clock, number, signed

_RATE_S = 3.0  # facts a second are averaged over about this long


class Meter:
    """Facts a second, from a count that only grows."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._seen: list[tuple[float, int]] = []

    def note(self, count: int) -> float:
        now = time.monotonic()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[0][0] < now - _RATE_S:
            self._seen.pop(0)
        (_, was), span = self._seen[0], now - self._seen[0][0]
        self.rate = (count - was) / span if span > 0 else 0.0
        return self.rate


class View:
    """Renders how the session stands. `where` are names and addresses of the services."""

    def __init__(self, chosen: Chosen, overview: Overview, where: list[tuple[str, str]]) -> None:
        self.chosen, self.overview, self.where = chosen, overview, where
        self.meter = Meter()
        self.began = time.monotonic()
        self.note = ""
        self.facts_before = overview.facts

    def facts(self) -> int:
        """Facts of this session: what the source said, and what was made of it."""
        return self.chosen.drawn + self.overview.facts - self.facts_before

    def line(self) -> str:
        """Everything in one line."""
        o = self.overview
        open_gaps = len(o.gaps)
        equity = " ".join(f"{number(o.equity(name), 2)} {o.accounts[name].currency}" for name in o.accounts)
        return (
            f"market {clock(self.now())[:19]} | {self.facts():,} facts ({self.meter.note(self.facts()):,.0f}/s)"
            f" | equity {equity or '-'} PnL {signed(o.pnl())} | {len(o.open_positions())} positions,"
            f" {o.kinds['signal']:,} signals, {o.kinds['fill']:,} fills, {o.trades():,} trades"
            f" | gaps {open_gaps} open of {o.gaps_found:,}"
        )

    def values(self) -> dict[str, Any]:
        """The same for machines."""
        o = self.overview
        return {
            "type": "progress", "market_time": self.now(), "session_facts": self.facts(),
            "facts_per_second": round(self.meter.note(self.facts()), 1), "pnl": o.pnl(),
            "equity": {name: o.equity(name) for name in o.accounts}, "positions": len(o.open_positions()),
            "signals": o.kinds["signal"], "fills": o.kinds["fill"], "trades": o.trades(), "gaps_open": len(o.gaps),
        }  # fmt: skip

    def now(self) -> int:
        return self.overview.ts or self.chosen.at

    def __rich__(self) -> Group:
        parts: list[Any] = [self._head()]
        if self.chosen.span is not None:
            parts.append(self._bar(self.chosen.span))
        parts += [Text(), self._bots(), Text(), self._below()]
        if self.overview.halts:
            parts.append(Text("; ".join(f"HALTED {h.actor}: {h.detail}" for h in self.overview.halts), "bold red"))
        parts.append(Text(self.note or "Ctrl-C ends it cleanly", "bold yellow" if self.note else "dim"))
        return Group(*parts)

    def _head(self) -> Table:
        o, elapsed = self.overview, int(time.monotonic() - self.began)
        rate = self.meter.note(self.facts())
        made = Table.grid(padding=(0, 3))
        money = Text()
        for name, account in o.accounts.items():
            money.append(f"{name} {number(o.equity(name), 2)} {account.currency} ", "bold")
            money.append_text(coloured(o.equity(name) - account.start))
            if account.restricted:
                money.append(f" {account.restricted}", "bold red")
        made.add_row(Text("tape", "bold cyan"), Text(self.chosen.what), Text(_minutes(elapsed), "dim"))
        count = o.kinds
        speed = Text(
            f"{self.facts():,} facts, {rate:,.0f}/s, {count['signal']:,} signals, {count['order-placed']:,} orders, "
            f"{count['fill']:,} fills, {o.trades():,} trades"
        )
        made.add_row(Text("market", "dim"), Text(f"{clock(self.now())[:19]} UTC"), Text())
        made.add_row(Text("so far", "dim"), speed, Text())
        made.add_row(Text("equity", "dim"), money if o.accounts else Text("no price yet", "dim"), Text())
        for name, value in self.where:
            made.add_row(Text(name, "dim"), Text(value, "dim"), Text())
        return made

    def _bar(self, span: tuple[int, int]) -> Table:
        first, last = span
        done = (self.chosen.at - first) / (last - first) if self.chosen.at and last > first else 0.0
        made = Table.grid(padding=(0, 2))
        made.add_row(ProgressBar(total=1.0, completed=max(0.0, done), width=50), Text(f"{max(0.0, done):.1%}", "dim"))
        return made

    def _bots(self) -> Table:
        rows = []
        o = self.overview
        for bot in o.bots.values():
            held = o.positions.get(bot.name)
            open_now = held is not None and bool(held.qty)
            rows.append((
                bot.name, f"{bot.key[1]} {bot.timeframe}" + (" paused" if bot.paused else ""),
                number(held.qty) if held and open_now else "flat",
                number(held.average) if held and open_now else "", number(o.price(bot.key)),
                coloured(o.unrealized(held)) if held and open_now else "",
                coloured(held.realized - held.fees) if held else "",
                str(held.trades) if held else "0", wanted(o, bot.name),
            ))  # fmt: skip
        columns = ("bot", "market", "position", "average", "price", "open PnL", "closed PnL", "trades", "last signal")
        right = ("position", "average", "price", "open PnL", "closed PnL", "trades")
        return table("", columns, rows or [("waiting for prices", *[""] * 8)], right=right)

    def _below(self) -> Table:
        o = self.overview
        fills = [
            (clock(f.ts)[11:19], f.bot, f"{f.side} {number(f.qty)} {f.symbol} @ {number(f.price)}", f.role)
            for f in reversed(o.fills)
        ]
        gaps = [
            (f"{g.symbol} {g.timeframe}", f"{g.missing} missing", f"{clock(g.first)[11:16]}-{clock(g.last)[11:16]}")
            for g in sorted(o.gaps.values(), key=lambda g: -g.last)[:6]
        ]
        made = Table.grid(padding=(0, 4))
        left = table("last fills", ("time", "bot", "what", "role"), fills[:6])
        title = f"gaps: {o.gaps_found} found, {o.gaps_filled} filled, {len(o.gaps)} open"
        right = table(title, ("market", "", "when"), gaps) if gaps else Text(title, "bold")
        made.add_row(left if fills else Text("no fills yet", "dim"), right)
        return made


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


def summary(totals: dict[str, Any], why: str, pnl: str, digest: str = "") -> Table:
    """The closing table: what this session brought."""
    names = {
        "facts": "facts", "decisions": "decisions", "signals": "signals", "refused": "refused by risk",
        "orders": "orders", "fills": "fills", "trades": "round trips",
    }  # fmt: skip
    rows: list[tuple[str, Any]] = [("ended", why)]
    rows += [(said, f"{totals[name]:,}") for name, said in names.items()]
    gaps = f"{totals['gaps_found']:,} found ({totals['missing']:,} bars), {totals['gaps_filled']:,} filled"
    rows += [("gaps", gaps), ("quarantined", f"{totals['quarantined']:,}"), ("halts", f"{totals['halts']:,}")]
    rows.append(("PnL", pnl))
    return pairs(rows)
