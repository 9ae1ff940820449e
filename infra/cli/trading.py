"""`tape run`: a session with its screen, from the first fact to the closing summary."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.text import Text

from infra.cli.choosing import Chosen, Wanted, choose
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.looking import standing
from infra.cli.overview import Overview
from infra.cli.reach import session_pid
from infra.cli.remembered import Remembered
from infra.cli.screen import Screen
from infra.cli.serving import addresses
from infra.cli.values import duration, signed
from infra.cli.view import View, summary
from infra.session import cluster
from infra.session.cluster import Halted
from infra.session.opening import opened
from infra.session.run import Session, session
from infra.session.stopping import Stopping
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import name_in_sql

__all__ = ["Wanted", "run"]

_LINE_S = 5.0  # between lines where there is no terminal
_FRAME_S = 0.5  # between frames: rendering takes some milliseconds of the trading machine
_GATHER_S = 0.1  # what the screen shows next: no message wakes it, and trading has the cores to itself
_CATCH_UP_S = 10.0  # the screen is behind the tape by this much at most when a session has ended
_REASONS = {
    "feed": "all recorded data are played", "time": "the time is up", "stop": "by `tape stop`",
    "signal": "by Ctrl-C or SIGTERM", "halt": "an actor halted",
}  # fmt: skip


class Stopper:
    """First signal: a clean end. Second: at once."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._task: asyncio.Future[Any] | None = None
        self.chosen: Chosen | None = None
        self.asked = False
        self.stopping = Stopping()
        self.view: View | None = None

    def install(self, task: asyncio.Future[Any]) -> None:
        """Signals end `task` from here on."""
        self._task = task
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if self.asked:
            sys.stderr.write("\x1b[?25h\n" if self._screen.err.is_terminal else "")
            left = "".join(f"\n  left undone: {step}" for step in self.stopping.left)
            sys.stderr.write(f"tape: stopped at once; the tape is whole, and the next start goes on from it{left}\n")
            sys.stderr.flush()
            os._exit(Exit.INTERRUPTED)
        self.asked = True
        text = "stopping cleanly; press Ctrl-C again to stop at once"
        if self.view is not None:
            self.view.note = text
        else:
            self._screen.say(text)
        if self.chosen is not None:
            self.chosen.over = True
        if self._task is not None:
            self._task.cancel()


async def run(context: Context, wanted: Wanted) -> int:
    config, screen = context.config(), context.screen
    seconds = duration(wanted.duration) if wanted.duration is not None else None
    pid = session_pid(config)
    if pid is not None and not wanted.standby:
        raise Failure(
            f"a session already runs on tape {config.tape!r} (process {pid}): look at it with `tape status`, end it "
            "with `tape stop`, or give this one another tape with --tape and --data-dir",
            Exit.IN_THE_WAY,
        )
    chosen = choose(config, wanted, screen)
    _log_to(context, Path(chosen.config.data_dir))
    stopper = Stopper(screen)
    current = asyncio.current_task()
    assert current is not None
    stopper.install(current)
    try:
        return await _run(context, chosen, stopper, seconds, wanted)
    except asyncio.CancelledError:
        if not stopper.asked:
            raise
        screen.say("stopped before trading began")
        return Exit.FINE


async def _run(context: Context, chosen: Chosen, stopper: Stopper, seconds: float | None, wanted: Wanted) -> int:
    screen = context.screen
    starting = session(chosen.config, chosen.plan, standby=wanted.standby, say=screen.say)
    with screen.working("starting NATS, PostgreSQL and Ray" if not wanted.standby else "standing by"):
        live = await starting.__aenter__()
    try:
        async with opened(chosen.config, live.endpoints, "viewer", gather_s=_GATHER_S) as tape:
            remembered = Remembered(tape, Path(chosen.config.data_dir))
            with screen.working("reading the tape"):
                end = await tape.end()
                overview = await remembered.read()
            before = overview.totals()
            view = View(chosen, overview, _where(live))
            if before["decisions"]:
                screen.say(f"going on with tape {tape.name!r}, which holds {end:,} messages", "dim")
            why = await _played(screen, live, chosen, stopper, view, seconds, wanted.plain, remembered)
    finally:
        with screen.working("stopping"):
            await starting.__aexit__(None, None, None)
    return _closing(context, chosen, view, before, why, live.halted, wanted)


async def _played(
    screen: Screen, live: Session, chosen: Chosen, stopper: Stopper, view: View, seconds: float | None, plain: bool,
    remembered: Remembered,
) -> str:  # fmt: skip
    fold = asyncio.ensure_future(remembered.follow())
    play = asyncio.ensure_future(live.play(chosen.source, seconds))
    stopper.chosen = chosen
    stopper.install(play)
    timer = asyncio.get_running_loop().call_later(seconds or 0.0, _over, chosen) if seconds is not None else None
    showing = asyncio.ensure_future(_show(screen, view, stopper, plain))
    try:
        why = await _ended(play, fold, stopper)
        why = "signal" if stopper.asked else "time" if chosen.over and why == "feed" else why
        view.note = view.note or "dealing with what is left"
        await stopper.stopping.end(live, why)
        await _caught_up(live.tape, view.overview, fold)
        await remembered.keep()
    finally:
        if timer is not None:
            timer.cancel()
        for task in (showing, fold):
            task.cancel()
        await asyncio.gather(showing, fold, return_exceptions=True)
        stopper.view = None
    return why


def _over(chosen: Chosen) -> None:
    chosen.over = True


async def _ended(play: asyncio.Future[str], fold: asyncio.Future[None], stopper: Stopper) -> str:
    """Why the play ended. What the screen reads from may break first: that is an error of its own."""
    try:
        waiting: set[asyncio.Future[Any]] = {play, fold}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if fold.done() and not play.done():
            play.cancel()
            fold.result()
        return await play
    except asyncio.CancelledError:
        if not stopper.asked:
            raise
        return "signal"
    except Halted:
        return "halt"


async def _caught_up(tape: JetStreamTape, overview: Overview, fold: asyncio.Future[None]) -> None:
    """Until the screen has seen the last decision; feeds are not read, so the last sequence itself may not come."""
    last = max([own.seq for name in [*overview.last_of] if (own := await tape.last(name)) is not None], default=0)
    with suppress(TimeoutError):
        async with asyncio.timeout(_CATCH_UP_S):
            while overview.at < last and not fold.done():  # noqa: ASYNC110 - folding is far from any event
                await asyncio.sleep(0.02)


async def _show(screen: Screen, view: View, stopper: Stopper, plain: bool) -> None:
    if screen.json or plain or not screen.out.is_terminal:
        while True:
            await asyncio.sleep(_LINE_S)
            if screen.json:
                screen.emit(view.values())
            else:
                screen.show(view.line())
    stopper.view = view
    with Live(view, console=screen.out, auto_refresh=False, screen=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(_FRAME_S)


def _where(live: Session) -> list[tuple[str, str]]:
    shown = [one for one in addresses(live.config, live.endpoints) if one[0] != "NATS monitoring"]
    if not live.dashboard:
        return shown
    access = cluster.dashboard_access()
    return [*shown, ("Ray dashboard", live.dashboard + (f" ({access})" if access else ""))]


def _log_to(context: Context, data_dir: Path) -> None:
    """What the session logs goes to a file, for the screen is taken."""
    if context.debug:
        return
    folder = data_dir.expanduser() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=folder / "tape.log", level=logging.WARNING, force=True,
                        format="%(asctime)s %(levelname)s %(name)s %(message)s")  # fmt: skip
    ray = logging.getLogger("ray")  # it writes to standard error on its own
    ray.handlers.clear()
    ray.propagate = True


def _closing(
    context: Context, chosen: Chosen, view: View, before: dict[str, Any], why: str, halted: list[str], wanted: Wanted
) -> int:
    screen, overview = context.screen, view.overview
    now = overview.totals()
    brought = {name: now[name] - before[name] for name in now}
    brought["facts"] = view.facts()
    halts = max(brought["halts"], len(halted))
    brought["halts"] = halts
    value = {"type": "summary", "tape": chosen.config.tape, "ended": why, **brought, "pnl": overview.pnl(),
             "equity": {name: overview.equity(name) for name in overview.accounts}, "halted": halted}  # fmt: skip
    currency = next((one.currency for one in overview.accounts.values()), "")
    pnl = f"{signed(overview.pnl())} {currency} after fees, {len(overview.open_positions())} positions open"
    screen.result(value, "", summary(brought, _REASONS[why], pnl))
    if not screen.json:
        for one in standing(overview)[:2]:
            screen.show("")
            screen.show(one)
        for text in halted:
            screen.show(Text(f"HALTED: {text}", "bold red"))
        _what_next(context, screen, wanted)
    return Exit.HALTED if halts else Exit.FINE


def _what_next(context: Context, screen: Screen, wanted: Wanted) -> None:
    tape = program()
    given = [*(["--config", str(context.path)] if context.path else []),
             *(["--data-dir", str(context.data_dir)] if context.data_dir else [])]  # fmt: skip
    data = "".join(f" {shlex.quote(one)}" for one in given)
    own = data + (f" --tape {context.tape}" if context.tape else "")
    name = context.config().tape
    schema = name_in_sql(name)
    lines = [
        (f"{tape} verify{own}", "derive every decision again from the tape, and compare"),
        (f"{tape} status{own}", "how things stand"),
        (f"{tape} tail{own} -n 5 signal fill", "the last signals and fills, in words"),
        (f"{tape} run{own}{_again(wanted)}", "go on where this ended"),
        (f"{tape} serve{data}", "keep NATS and PostgreSQL up; then, in another terminal:"),
        (f"$({tape} address cli{data}) sub --stream {name} '{name}.bot.*.signal'", "facts, with the NATS CLI"),
        (f"$({tape} address cli{data}) stream view {name}", ""),
        (f"psql \"$({tape} address postgres{data})\" -c 'select * from {schema}.performance'", "the tables"),
    ]
    screen.show("")
    screen.show(Text("What to try next", "bold"))
    width = max(len(command) for command, _ in lines[:5])
    for command, about in lines:
        text = Text("  ")
        text.append(command.ljust(width), "cyan")
        text.append(f"  {about}" if about else "", "dim")
        screen.show(text)
    screen.show(Text("  While a session runs, the Ray dashboard is at the address shown above.", "dim"))


def _again(wanted: Wanted) -> str:
    """The options that a session needs to go on with the same source."""
    words = [word for feed in wanted.feeds for word in ("--feed", feed)]
    words += ["--lockstep"] if wanted.lockstep else []
    words += ["--speed", wanted.speed] if wanted.speed is not None else []
    words += ["--seed", str(wanted.seed)] if wanted.seed is not None else []
    words += ["--standby"] if wanted.standby else []
    return "".join(f" {shlex.quote(word)}" for word in words)


def program() -> str:
    """How to call this program from here."""
    if shutil.which("tape"):
        return "tape"
    path = Path(sys.argv[0])
    if path.name != "tape":
        return f"{os.path.relpath(sys.executable)} -m infra.cli"
    return os.path.relpath(path)
