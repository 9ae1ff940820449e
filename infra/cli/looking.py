"""`tape status`: how things stand, from the tape itself; the tables are only asked how far they are."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from infra.cli.context import Context
from infra.cli.exits import Exit
from infra.cli.overview import Overview
from infra.cli.reach import Reached, folder, looking, session_pid
from infra.cli.remembered import Remembered
from infra.cli.screen import Screen, pairs, table
from infra.cli.values import clock, number, signed, size
from infra.session.lease import asks, standing_on, told
from infra.tapes.access import shown
from infra.tapes.jetstream import JetStreamTape

_GAPS_SHOWN = 8


async def status(context: Context) -> int:
    config, screen = context.config(), context.screen
    async with looking(config) as (tape, at):
        info = await _stream(tape)
        with screen.progress("reading the tape", info["last"]) as advance:
            overview = await Remembered(tape, folder(config)).read(lambda seq: advance(seq))
        tables = await _tables(at, tape.name, info["last"])
        pid = session_pid(config)
        session = await _session(tape)
        value = {"tape": tape.name, "session": pid, **info, "tables": tables, **session, **described(overview)}
        screen.result(value)
        if not screen.json:
            _show(screen, overview, value, at)
    return Exit.FINE


async def _stream(tape: JetStreamTape) -> dict[str, Any]:
    state = (await tape._bus.ask_patiently(f"STREAM.INFO.{tape.name}", patience_s=5.0))["state"]  # the server is up
    return {"messages": state["messages"], "bytes": state["bytes"], "first": state["first_seq"],
            "last": state["last_seq"], "first_at": state["first_ts"], "last_at": state["last_ts"]}  # fmt: skip


async def _session(tape: JetStreamTape) -> dict[str, Any]:
    """Who trades on the tape, wherever that is, and how far each of its processes is."""
    found = await standing_on(tape)
    if found.claim is None or found.ended:
        return {"holder": None, "answers": False, "processes": []}
    said = await asks(tape.client, tape.name, found.epoch, whole=True)
    processes = said.get("processes", []) if isinstance(said, dict) else []
    return {"holder": told(found.claim), "answers": isinstance(said, dict), "processes": processes}


async def _tables(at: Reached, tape: str, end: int) -> dict[str, Any]:
    """How far the tables are; `trouble` says why they cannot be asked."""
    import psycopg

    from projections.schemas import schema_of
    from projections.statements import quoted

    if at.dsn is None:
        return {"at": None, "lag": None, "trouble": at.trouble}
    try:
        async with await psycopg.AsyncConnection.connect(at.dsn, connect_timeout=5) as connection:
            checkpoints = quoted(schema_of(tape), "checkpoints")
            exists = await connection.execute("SELECT to_regclass(%s)", (checkpoints,))
            if (await exists.fetchone() or (None,))[0] is None:
                return {"at": 0, "lag": end, "trouble": ""}
            query = f"SELECT tape, seq FROM {checkpoints}"
            row = await (await connection.execute(query.encode())).fetchone()
    except psycopg.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"at": None, "lag": None, "trouble": f"PostgreSQL cannot be asked: {reason}"}
    if row is None or row[0] != tape:
        return {"at": 0, "lag": end, "trouble": f"the tables hold the tape {row[0]!r}" if row else ""}
    return {"at": int(row[1]), "lag": max(0, end - int(row[1])), "trouble": ""}


def described(overview: Overview) -> dict[str, Any]:
    """An overview as plain values."""
    return {
        "at": overview.at,
        "market_time": overview.ts,
        "totals": {name: count for name, count in overview.totals().items() if name not in ("messages", "facts")},
        "actors": [
            {"actor": actor, "epoch": overview.epochs.get(actor, 0), "last": seq}
            for actor, seq in sorted(overview.last_of.items())
        ],
        "bots": [
            {"bot": bot.name, "symbol": bot.key[1], "strategy": bot.strategy, "timeframe": bot.timeframe,
             "paused": bot.paused, "signals": bot.signals, "target": bot.signal.target if bot.signal else None}
            for bot in overview.bots.values()
        ],
        "accounts": [
            {"account": one.name, "currency": one.currency, "start": one.start, "cash": one.cash,
             "equity": overview.equity(one.name), "restricted": one.restricted}
            for one in overview.accounts.values()
        ],
        "positions": [
            {"bot": one.bot, "account": one.account, "venue": one.key[0], "symbol": one.key[1], "qty": one.qty,
             "average": one.average, "price": overview.price(one.key), "unrealized": overview.unrealized(one)}
            for one in overview.open_positions()
        ],
        "orders": list(overview.orders.values()),
        "gaps": list(overview.gaps.values()),
        "halts": list(overview.halts),
    }  # fmt: skip


def _show(screen: Screen, overview: Overview, value: dict[str, Any], at: Reached) -> None:
    pid, tables = value["session"], value["tables"]
    session = "runs" + (f" (process {pid})" if pid else "") if pid is not None else "none runs on this machine"
    if value["holder"] and pid is None:
        session = value["holder"] + ("" if value["answers"] else ", which does not answer")
    span = f"{value['first']:,} to {value['last']:,}" if value["messages"] else "empty"
    where = "started to look, stopped again now" if at.started else shown(at.nats_url)
    lag = tables["trouble"] or (f"at {tables['at']:,}, {tables['lag']:,} behind" if tables["lag"] else "up to date")
    halted = ", ".join(f"{one.actor} at {one.at}" for one in overview.halts)
    screen.show(pairs([
        ("session", session),
        ("services", where),
        ("tape", f"{value['tape']}: {value['messages']:,} messages ({span}), {size(value['bytes'])}"),
        ("market time", f"{clock(overview.ts)} UTC"),
        ("tables", lag),
        ("actors", _actors(overview)),
        *([("HALTED", Text(halted, "bold red"))] if halted else []),
    ]))  # fmt: skip
    for one in [*_processes(value["processes"]), *standing(overview)]:
        screen.show("")
        screen.show(one)


def _processes(processes: list[dict[str, Any]]) -> list[Any]:
    if not processes:
        return []
    rows = [
        (one["process"], str(one["pid"]), f"{one['at']:,}", f"{one['lag']:,}", f"{one['still_s']:.0f} s",
         "" if one["answers"] else "does not answer", str(one["stalls"] or ""))
        for one in processes
    ]  # fmt: skip
    columns = ("process", "pid", "at", "behind", "last moved", "", "stalled")
    return [table("processes", columns, rows, right=("pid", "at", "behind", "last moved", "stalled"))]


def _actors(overview: Overview) -> str:
    restarted = sum(1 for epoch in overview.epochs.values() if epoch > 1)
    often = max(overview.epochs.values(), default=0)
    again = f", {restarted} of them taken over again (up to epoch {often})" if restarted else ""
    return f"{len(overview.epochs)} claimed{again}"


def standing(overview: Overview) -> list[Any]:
    """Tables of accounts, bots with positions, orders and gaps, as far as there are any."""
    found: list[Any] = []
    if overview.accounts:
        found.append(_accounts(overview))
    if overview.bots:
        found.append(_bots(overview))
    if overview.orders:
        found.append(_orders(overview))
    if overview.gaps or overview.gaps_found:
        found.append(_gaps(overview))
    return found


def _accounts(overview: Overview) -> Any:
    rows = []
    for one in overview.accounts.values():
        equity = overview.equity(one.name)
        pnl = equity - one.start
        rows.append((one.name, f"{number(equity, 2)} {one.currency}", number(one.cash, 2), coloured(pnl),
                     Text(one.restricted, "bold red") if one.restricted else "free"))  # fmt: skip
    return table("", ("account", "equity", "cash", "PnL", "trading"), rows, right=("equity", "cash", "PnL"))


def _bots(overview: Overview) -> Any:
    rows = []
    for bot in overview.bots.values():
        held = overview.positions.get(bot.name)
        qty = number(held.qty) if held and held.qty else "flat"
        average = number(held.average) if held and held.qty else ""
        pnl = coloured(held.realized - held.fees + overview.unrealized(held)) if held else Text("")
        rows.append((bot.name + (" (paused)" if bot.paused else ""), bot.strategy, f"{bot.key[1]} {bot.timeframe}", qty,
                     average, number(overview.price(bot.key)), pnl, wanted(overview, bot.name)))  # fmt: skip
    columns = ("bot", "strategy", "market", "position", "average", "price", "PnL", "last signal")
    return table("", columns, rows, right=("position", "average", "price", "PnL"))


def wanted(overview: Overview, bot: str) -> str:
    """A bot's last signal in few words."""
    signal = overview.bots[bot].signal
    if signal is None:
        return "-"
    side = "flat" if not signal.target else f"{'long' if signal.target > 0 else 'short'} {abs(signal.target):g}"
    return f"{side} @ {number(signal.price)}, {clock(signal.ts)[11:19]}"


def _orders(overview: Overview) -> Any:
    rows = []
    for order in overview.orders.values():
        at = order.limit if order.limit is not None else order.trigger
        rows.append((order.bot, order.symbol, order.role, f"{order.kind} {order.side}",
                     number(order.qty) if order.qty else "all", number(at), order.order))  # fmt: skip
    return table(
        "", ("open order of", "market", "role", "kind", "quantity", "at", "id"), rows, right=("quantity", "at")
    )


def _gaps(overview: Overview) -> Any:
    gaps = sorted(overview.gaps.values(), key=lambda gap: gap.last, reverse=True)
    rows = [(f"{gap.venue}/{gap.symbol} {gap.timeframe}", f"{gap.missing:,}", clock(gap.first), clock(gap.last))
            for gap in gaps[:_GAPS_SHOWN]]  # fmt: skip
    if len(gaps) > _GAPS_SHOWN:
        rows.append((f"and {len(gaps) - _GAPS_SHOWN} more", "", "", ""))
    title = f"gaps: {overview.gaps_found:,} found, {overview.gaps_filled:,} filled, {len(gaps):,} open"
    return table(title, ("market", "missing", "first", "last"), rows, right=("missing",)) if rows else title


def coloured(value: Any) -> Text:
    return Text(signed(value), "green" if value > 0 else "red" if value < 0 else "")
