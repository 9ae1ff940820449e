"""`tape sweep`: one strategy over many parameters, instruments and periods, ranked."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from actors.plan import Plan
from actors.strategies import UnknownStrategy, create, find
from infra.backtest import data
from infra.cli.backtesting import Asked as Backtest
from infra.cli.backtesting import planned
from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.instruments import placed, with_symbols
from infra.cli.screen import Screen, pairs, table
from infra.cli.values import named
from infra.config import Config
from infra.sweep import heat
from infra.sweep.grid import RUNS_MAX, Axis, Grid, axis
from infra.sweep.lines import Line, Results
from infra.sweep.periods import Period, cut, period
from infra.sweep.ranking import Standing, ranked
from infra.sweep.run import Tally, run
from infra.sweep.study import Dataset, Slice, Study, keys
from infra.sweep.summary import FIGURES

_SHOWN = ("trades", "net_profit", "total_return", "max_drawdown", "sharpe", "win_rate", "profit_factor", "fees")
_FRACTIONS = frozenset({"total_return", "max_drawdown", "win_rate", "exposure"})
_WHOLE = frozenset({"trades", "bars"})


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `tape sweep`."""

    data: tuple[str, ...]
    strategy: str | None
    params: tuple[str, ...]
    where: tuple[str, ...]
    symbols: tuple[str, ...]
    period: tuple[str, ...]
    periods: str | None
    cash: str | None
    close_last: bool
    rank: str
    top: int
    jobs: int | None
    out: Path | None
    digest: bool
    heat: str | None
    heat_by: str


class Made(msgspec.Struct, frozen=True):
    """A study, with what was said of each instrument's files, by instrument."""

    study: Study
    specs: Mapping[str, tuple[str, ...]]


def sweep(context: Context, asked: Asked) -> int:
    """Plays what the folder does not hold yet. Ctrl-C keeps what is done; the same command goes on from there."""
    screen = context.screen
    if not asked.data:
        raise Failure("a sweep plays files: name them with --data FILE, once or more often")
    named("figure to rank by", asked.rank, FIGURES)
    named("--heat-by", asked.heat_by, heat.WAYS)
    made = _study(context.config(), asked, screen)
    study, names = made.study, [one.name for one in made.study.grid.axes]
    axes = _axes(study, asked)
    _say_size(study, screen)
    folder = asked.out or Path("reports") / f"sweep-{_name(study)}"
    jobs = asked.jobs or len(os.sched_getaffinity(0))
    interrupted = False
    with Results(folder, names) as results:
        tally = Tally(len(study))
        try:
            with _bar(screen) as tell:
                run(study, results, jobs, tally, tell)
        except KeyboardInterrupt:
            interrupted = True
        standing = ranked(results.of(tally.keys), asked.rank, asked.top)
        image = None if axes is None else _heat(results, tally, study, asked, axes)
    command = _command(context, asked, made, standing.best[0]) if standing.best else None
    _tell(screen, folder, tally, standing, study, names, command, image)
    if interrupted:
        screen.say(f"interrupted after {tally.done:,} of {tally.total:,} runs; the same command goes on from there")
        return Exit.INTERRUPTED
    return Exit.HALTED if tally.failed else Exit.FINE


def _study(config: Config, asked: Asked, screen: Screen) -> Made:
    axes = [axis(one) for one in asked.params]
    files: dict[str, list[data.MarketFile]] = {}
    specs: dict[str, list[str]] = {}
    for spec in asked.data:
        with screen.working(f"reading {spec}"):
            file = placed(data.load(spec), spec, config)
        name = f"{file.venue}/{file.symbol}"
        if asked.symbols and not {file.symbol, name} & {*asked.symbols}:
            continue
        # Columns that all processes share, in place of pieces that each would read for itself.
        files.setdefault(name, []).append(file if file.candles is None else msgspec.structs.replace(file, source=None))
        specs.setdefault(name, []).append(spec)
    if not files:
        raise Failure(f"no file is of {', '.join(asked.symbols)}: leave --symbol out, or name what the files hold")
    first = {one.name: one.values[0] for one in axes}
    datasets = [Dataset(_plan(config, own, asked, first, screen), tuple(own)) for _, own in sorted(files.items())]
    slices = tuple(Slice(one, stretch) for one in datasets for stretch in _periods(one, asked))
    grid = _grid(axes, asked, datasets[0].plan)
    study = Study(slices, grid, asked.close_last, asked.digest)
    if len(study) > RUNS_MAX:
        raise Failure(f"{len(study):,} runs are more than {RUNS_MAX:,}: sweep fewer parameters or periods at a time")
    return Made(study, {name: tuple(found) for name, found in specs.items()})


def _plan(
    config: Config, files: Sequence[data.MarketFile], asked: Asked, params: Mapping[str, Any], screen: Screen
) -> Plan:
    """As `tape backtest` makes it; the parameters stand for those of each run and need not be accepted."""
    symbols = with_symbols(config, files)
    if asked.strategy is None and not config.bots:
        raise Failure("a sweep needs a --strategy, as in --strategy ema-cross, or configured bots")
    plain = Backtest((), asked.strategy, (), asked.cash, None, asked.close_last)
    plan = planned(config, symbols, plain, screen)
    bots = tuple(msgspec.structs.replace(one, params={**one.params, **params}) for one in plan.bots)
    return msgspec.structs.replace(plan, bots=bots)


def _periods(dataset: Dataset, asked: Asked) -> list[Period]:
    if asked.period and asked.periods:
        raise Failure("--period and --periods contradict each other: name periods, or have them cut")
    if asked.period:
        return [period(one) for one in asked.period]
    if asked.periods is None:
        return [Period()]
    span = dataset.span
    return [] if span is None else cut(asked.periods, *span)


def _grid(axes: Sequence[Axis], asked: Asked, plan: Plan) -> Grid:
    """Combinations that every bot's strategy takes. Raises Failure where none is left."""
    bots = plan.bots
    for bot in bots:
        find(bot.strategy)

    def accepts(params: Mapping[str, Any]) -> str | None:
        try:
            for bot in bots:
                create(bot.strategy, {**bot.params, **params})
        except UnknownStrategy as error:
            return str(error)
        return None

    grid = Grid(axes, where=asked.where, accepts=accepts)
    if not len(grid.kept):
        raise Failure(grid.reason or "no combination of parameters is left by --where")
    return grid


def _say_size(study: Study, screen: Screen) -> None:
    grid, slices = study.grid, len(study.slices)
    if grid.excluded:
        screen.say(f"{grid.excluded:,} of {grid.size:,} combinations are excluded by --where", "dim")
    if grid.refused:
        screen.say(f"{grid.refused:,} of {grid.size:,} combinations are refused, such as: {grid.reason}", "dim")
    over = "" if slices == 1 else f" over {slices:,} instruments and periods"
    screen.say(f"{len(grid.kept):,} combinations{over}: {len(study):,} runs", "dim")


def _name(study: Study) -> str:
    """The same sweep has the same folder."""
    said = blake2b(digest_size=6)
    for _, found in keys(study):
        said.update("".join(found).encode())
    return said.hexdigest()


@contextmanager
def _bar(screen: Screen) -> Iterator[Callable[[Tally], None]]:
    """A bar on standard error. It is drawn by this thread alone: processes are forked meanwhile."""
    if screen.json or not screen.err.is_terminal:
        yield lambda tally: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=screen.err, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("sweeping", total=None, pace="")

        def tell(tally: Tally) -> None:
            bar.update(task, completed=tally.done, total=tally.total, pace=_pace(tally))
            bar.refresh()

        yield tell


def _pace(tally: Tally) -> str:
    """Candles times runs a second, and the time left at this pace."""
    played = tally.done - tally.reused
    if not played or tally.seconds <= 0:
        return ""
    left = int((tally.total - tally.done) * tally.seconds / played)
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
    return f"{_short(tally.bars / tally.seconds)} candle-parameters/s, {hours}:{minutes:02}:{seconds:02} left{failed}"


def _short(rate: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.1f} {name}"
    return f"{rate:.0f}"


def _varying(study: Study) -> dict[str, int]:
    """How many values there are of what can be an axis of the map."""
    varying = {one.name: len(one.values) for one in study.grid.axes}
    varying["instrument"] = len({one.dataset.instrument for one in study.slices})
    varying["period"] = len({str(one.period) for one in study.slices})
    return varying


def _axes(study: Study, asked: Asked) -> tuple[str, str | None] | None:
    varying = _varying(study)
    wanted = asked.heat.split(",") if asked.heat else []
    if len(wanted) > 2:
        raise Failure(f"--heat {asked.heat!r}: a map has two axes, as in --heat fast,slow")
    for name in wanted:
        named("axis of the map", name, list(varying))
    return heat.choose(varying, wanted)


def _heat(results: Results, tally: Tally, study: Study, asked: Asked, axes: tuple[str, str | None]) -> Path | None:
    others = [name for name, count in _varying(study).items() if count > 1]
    found = heat.gathered(results.of(tally.keys), asked.rank, axes, asked.heat_by, others)
    if not found.cells.size:
        return None
    path = results.path.with_name("heat.png")
    try:
        heat.write(path, found)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
    return path


def _command(context: Context, asked: Asked, made: Made, best: Line) -> str:
    """`tape backtest` with the words that make the same run, and so the same digest."""
    words = ["tape", "backtest"]
    if context.path is not None:
        words += ["--config", str(context.path)]
    for spec in made.specs[best.instrument]:
        words += ["--data", spec]
    if asked.strategy is not None:
        words += ["--strategy", asked.strategy]
    for name, value in best.params.items():
        words += ["--param", f"{name}={_param(value)}"]
    if best.period != str(Period()):
        words += ["--period", best.period]
    if asked.cash is not None:
        words += ["--cash", asked.cash]
    return shlex.join([*words, "--close-last"] if asked.close_last else words)


def _param(value: Any) -> str:
    """As `tape backtest` reads it back."""
    if isinstance(value, str):
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return msgspec.json.encode(value).decode()


def _tell(
    screen: Screen, folder: Path, tally: Tally, standing: Standing, study: Study, names: Sequence[str],
    command: str | None, image: Path | None,
) -> None:  # fmt: skip
    value = {
        "folder": str(folder), "runs": tally.total, "done": tally.done, "reused": tally.reused,
        "failed": tally.failed, "excluded": study.grid.excluded, "refused": study.grid.refused,
        "seconds": round(tally.seconds, 3), "bars": tally.bars, "rank": standing.figure, "median": standing.median,
        "gained": standing.gained, "best": msgspec.to_builtins(standing.best), "command": command,
        "heat": None if image is None else str(image), "errors": dict(standing.errors[:10]),
    }  # fmt: skip
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
    screen.result(value, _table(standing, names, len(study.slices) > 1))
    rows: list[tuple[str, Any]] = [("runs", _counts(tally))]
    if standing.runs:
        median = _figure(standing.figure, standing.median)
        rows.append(
            ("all of them", f"{standing.gained:,} of {standing.runs:,} gained; median {standing.figure} {median}")
        )
    rows += [(f"{count:,} failed", error) for error, count in standing.errors[:3]]
    rows.append(("results", str(folder / "results.csv")))
    rows += [] if image is None else [("heat map", str(image))]
    screen.show(pairs(rows))
    if command is not None:
        proof = " and the same digest" if study.digest else ""
        screen.show(f"the best run again, with a report{proof}:\n{command}")


def _counts(tally: Tally) -> str:
    text = f"{tally.done:,} of {tally.total:,}"
    text += f", {tally.reused:,} of them were there already" if tally.reused else ""
    if tally.bars and tally.seconds:
        text += f"; {_short(tally.bars / tally.seconds)} candle-parameters/s for {tally.seconds:.1f} s"
    return text


def _table(standing: Standing, names: Sequence[str], several: bool) -> Any:
    figures = list(dict.fromkeys([standing.figure, *_SHOWN]))
    places = ["instrument", "period"] if several else []
    rows = []
    for number, line in enumerate(standing.best, 1):
        where = [line.instrument, line.period] if several else []
        values = [_figure(name, line.figures[name]) for name in figures]
        params = [_param(line.params[name]) for name in names]
        rows.append([number, *where, *params, *values, line.digest[:12]])
    columns = ["", *places, *names, *(name.replace("_", " ") for name in figures), "digest"]
    right = ["", *names, *(name.replace("_", " ") for name in figures)]
    return table(f"best by {standing.figure.replace('_', ' ')}", columns, rows, right=right)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in _FRACTIONS:
        return f"{value:.2%}"
    return f"{value:,.0f}" if name in _WHOLE else f"{value:,.2f}"
