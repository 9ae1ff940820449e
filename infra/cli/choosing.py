"""What `tape run` is to play: the simulated exchange, or recorded files, with a plan to match."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from actors.plan import Plan, SymbolPlan
from actors.roster import check
from infra import simulator
from infra.backtest import data
from infra.cli.exits import Failure
from infra.cli.instruments import DEFAULT_BOTS, default_bots, placed, with_symbols
from infra.cli.reach import now
from infra.cli.screen import Screen
from infra.config import Config
from infra.session.market import Stamped
from infra.session.run import Source, recorded


class Wanted(msgspec.Struct, frozen=True):
    """The options of `tape run`."""

    feeds: tuple[str, ...] = ()
    speed: str | None = None
    lockstep: bool = False
    duration: str | None = None
    plain: bool = False
    seed: int | None = None
    standby: bool = False


class Chosen(msgspec.Struct):
    """`span`: first and last event time of recorded data. `drawn` counts the facts taken from the source.

    `over` ends the source: `asyncio.wait_for` of Python 3.11 may swallow a cancellation while a player is in it.
    """

    config: Config
    plan: Plan
    source: Source
    what: str
    span: tuple[int, int] | None = None
    drawn: int = 0
    at: int = 0
    over: bool = False

    def counted(self, stream: Callable[[int, str], Iterator[Stamped]]) -> Callable[[int, str], Iterator[Stamped]]:
        def counting(ts: int, feed: str) -> Iterator[Stamped]:
            for message in stream(ts, feed):
                if self.over:
                    return
                self.drawn += len(message[2].facts)
                self.at = message[0]
                yield message

        return counting


def choose(config: Config, wanted: Wanted, screen: Screen) -> Chosen:
    """Raises Failure, DataError, ImportError_, BadPlan."""
    config = _dashboard(config, screen)
    if wanted.feeds:
        return _recorded(config, wanted, screen)
    if wanted.lockstep:
        raise Failure("lock-step needs an end: it plays recorded data, given with --feed FILE")
    return _simulated(config, wanted)


def _dashboard(config: Config, screen: Screen) -> Config:
    """Another port for the Ray dashboard where the configured one is taken: that is no reason not to trade."""
    settings = config.session
    if not settings.dashboard or _free(settings.dashboard_port):
        return config
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    screen.say(f"port {settings.dashboard_port} is taken, so the Ray dashboard goes to {port}", "dim")
    return msgspec.structs.replace(config, session=msgspec.structs.replace(settings, dashboard_port=port))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _simulated(config: Config, wanted: Wanted) -> Chosen:
    if wanted.seed is not None:
        config = msgspec.structs.replace(config, simulator=msgspec.structs.replace(config.simulator, seed=wanted.seed))
    speed = _speed(wanted.speed, config.simulator.speed)
    plan = config.plan()
    other = sorted({one.venue for one in plan.symbols} - {simulator.VENUE})
    if other:
        raise Failure(
            f"there is no live source for venue {', '.join(other)}: play recorded data with --feed FILE, or use venue "
            f"{simulator.VENUE!r}, the simulated exchange"
        )
    # Simulated time runs ahead of the clock, so no stamp is too far ahead of it.
    anytime = tuple(msgspec.structs.replace(symbol, ahead=None) for symbol in plan.symbols)
    plan = msgspec.structs.replace(plan, symbols=anytime)
    if not plan.symbols:
        plan = simulator.default_plan(config.simulator)
        if config.accounts != Config().accounts:
            plan = msgspec.structs.replace(plan, accounts=config.accounts)
            check(plan)
    what = f"simulated exchange, {config.simulator.pairs} pairs, seed {config.simulator.seed}, "
    what += "as fast as it goes" if speed is None else f"{speed:g} market seconds a second"
    chosen = Chosen(config, plan, Source(lambda ts, feed: iter(())), what)
    try:
        source = simulator.source(config.simulator, now(), config.symbols)
    except ValueError as error:
        raise Failure(str(error)) from error
    chosen.source = Source(chosen.counted(source), speed)
    return chosen


def _recorded(config: Config, wanted: Wanted, screen: Screen) -> Chosen:
    files = []
    for spec in wanted.feeds:
        with screen.working(f"reading {spec}"):
            files.append(placed(data.load(spec), spec, config))
    symbols = with_symbols(config, files)
    plan = config.plan() if config.symbols else _default_plan(config, symbols, screen)
    speed = _speed(wanted.speed, None)
    rows = sum(len(file.candles if file.candles is not None else file.trades.ts) for file in files)
    pace = "in lock-step" if wanted.lockstep else "as fast as it goes" if speed is None else f"{speed:g} times as fast"
    what = f"{rows:,} recorded {'candles' if all(f.candles for f in files) else 'rows'} of {len(files)} files, {pace}"
    chosen = Chosen(config, plan, Source(lambda ts, feed: iter(())), what, _span(files))
    played = recorded(lambda: data.stream(files), speed=speed, lockstep=wanted.lockstep)
    chosen.source = msgspec.structs.replace(played, stream=chosen.counted(played.stream))
    return chosen


def _span(files: Sequence[data.MarketFile]) -> tuple[int, int] | None:
    stamps: list[Any] = [(f.candles if f.candles is not None else f.trades).ts for f in files]
    full = [ts for ts in stamps if len(ts)]
    return (min(int(ts[0]) for ts in full), max(int(ts[-1]) for ts in full)) if full else None


def _default_plan(config: Config, symbols: tuple[SymbolPlan, ...], screen: Screen) -> Plan:
    bots = tuple(bot for symbol in symbols for bot in default_bots(symbol, config.accounts[0].name))
    names = ", ".join(strategy for _, strategy in DEFAULT_BOTS)
    screen.say(
        f"The configuration names no symbols, so each of {len(symbols)} gets the default bots ({names}), each with a "
        "tenth of the equity; write [[symbols]] and [[bots]] to choose.",
        "dim",
    )
    return Plan(symbols=symbols, bots=bots, accounts=config.accounts)


def _speed(text: str | None, default: float | None) -> float | None:
    if text is None:
        return default
    if text == "max":
        return None
    try:
        found = float(text.removesuffix("x"))
    except ValueError:
        found = 0.0
    if not 0 < found < 1e9:
        raise Failure(f"--speed {text!r} is neither a positive number nor 'max'")
    return found
