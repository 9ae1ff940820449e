"""Playing a sweep: on one process and several, again and after failures."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from infra.backtest import data
from infra.backtest.engine import backtest, play
from infra.backtest.parts import parts
from infra.sweep.lines import Line, Results
from infra.sweep.periods import Period, cut
from infra.sweep.run import Tally, run
from infra.sweep.study import Slice, Study, basis, key, with_params
from tests.infra.sweeps import START_MS, market, study

ROWS = 600
FAILS = "tests.infra.sweeps:Fails"


@pytest.fixture
def files(tmp_path: Path) -> list[data.MarketFile]:
    return [
        data.load(f"{market(tmp_path / f'{name}.csv', ROWS, seed)}=sim/{name}@1m") for seed, name in enumerate("AB")
    ]


def swept(wanted: Study, folder: Path, jobs: int) -> tuple[Tally, list[Line]]:
    tally = Tally(len(wanted))
    with Results(folder, [one.name for one in wanted.grid.axes]) as results:
        run(wanted, results, jobs, tally)
        found = sorted(results.of(tally.keys), key=lambda one: one.key)
    return tally, [msgspec.structs.replace(one, seconds=0.0) for one in found]


def test_every_run_is_the_backtest_that_it_names(files: list[data.MarketFile], tmp_path: Path) -> None:
    periods = cut("2", *files[0].span or (0, 0))
    wanted = study(files, ["fast=2..4", "slow=9", "short=true,false"], periods=periods, where=["fast != 3"])
    tally, lines = swept(wanted, tmp_path / "out", 2)
    assert (tally.total, tally.done, tally.failed, tally.reused) == (16, 16, 0, 0)
    assert tally.bars == 4 * 2 * ROWS
    found = {(one.instrument, one.period, *one.params.values()): one for one in lines}
    assert len(found) == len({one.digest for one in lines}) == 16
    for part in wanted.slices:
        for number in wanted.grid.kept.tolist():
            params = wanted.grid.at(number)
            plan = with_params(part.dataset.plan, params)
            told = parts(plan, part.dataset.files, start=part.period.start, end=part.period.end)
            line = found[part.dataset.instrument, str(part.period), *params.values()]
            assert line.digest == play(plan, told).digest
            assert line.key == key(part, params, basis(wanted))


def test_one_process_and_several_write_the_same_lines(files: list[data.MarketFile], tmp_path: Path) -> None:
    wanted = study(files, ["fast=2..4", "slow=6,7"])
    alone, several = (swept(wanted, tmp_path / str(jobs), jobs)[1] for jobs in (1, 3))
    assert alone == several
    assert len(alone) == 12


def test_what_is_there_is_not_played_again(files: list[data.MarketFile], tmp_path: Path) -> None:
    first = study(files[:1], ["fast=2..3", "slow=6,9"], digest=False)
    tally, lines = swept(first, tmp_path, 1)
    assert (tally.done, tally.reused) == (4, 0)
    assert {one.digest for one in lines} == {""}
    tally, again = swept(first, tmp_path, 1)
    assert (tally.done, tally.reused, tally.bars) == (4, 4, 0)
    assert again == lines
    wider = study(files, ["fast=2..4", "slow=6,9"], digest=False)
    tally, _ = swept(wider, tmp_path, 2)
    assert (tally.done, tally.reused) == (12, 4)
    proved = study(files, ["fast=2..4", "slow=6,9"])
    tally, lines = swept(proved, tmp_path, 2)
    assert (tally.done, tally.reused) == (12, 0)
    assert all(one.digest for one in lines)
    assert swept(wider, tmp_path, 2)[0].reused == 12


def test_other_data_another_plan_or_another_end_is_another_run(files: list[data.MarketFile]) -> None:
    one = study(files[:1], ["fast=2"])
    part, params = one.slices[0], one.grid.at(0)

    def of(**changed: object) -> Slice:
        return msgspec.structs.replace(part, dataset=msgspec.structs.replace(part.dataset, **changed))

    longer = msgspec.structs.replace(part.dataset.files[0], sha256="0" * 64)
    others = [
        key(part, params, basis(one)),
        key(part, {"fast": 3}, basis(one)),
        key(msgspec.structs.replace(part, period=Period(5, None)), params, basis(one)),
        key(of(files=(longer,)), params, basis(one)),
        key(of(plan=with_params(part.dataset.plan, {"slow": 21})), params, basis(one)),
        key(part, params, basis(msgspec.structs.replace(one, close_last=True))),
        key(part, params, basis(study(files[:1], ["fast=2"], strategy=FAILS))),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_raises_is_a_line_and_the_others_go_on(
    files: list[data.MarketFile], tmp_path: Path, jobs: int
) -> None:
    wanted = study(files[:1], ["fast=2..4", "how=x,raise"], strategy=FAILS)
    tally, lines = swept(wanted, tmp_path, jobs)
    assert (tally.done, tally.failed) == (6, 3)
    assert {one.params["how"] for one in lines if one.error} == {"raise"}
    assert all("ZeroDivisionError: of all things" in one.error and not one.digest for one in lines if one.error)
    assert all(one.figures["trades"] for one in lines if not one.error)
    tally, _ = swept(wanted, tmp_path, jobs)
    assert (tally.reused, tally.failed) == (3, 3)  # what failed is tried again


def test_a_process_that_dies_costs_one_run(files: list[data.MarketFile], tmp_path: Path) -> None:
    wanted = study(files, ["fast=2..3", "how=x,die"], strategy=FAILS)
    tally, lines = swept(wanted, tmp_path, 2)
    assert (tally.done, tally.failed) == (8, 4)
    killed = "the process was ended by signal 9"
    assert {(one.params["how"], one.error) for one in lines} == {("x", ""), ("die", killed)}


def test_trades_are_played_as_messages_would_be(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    rows = [f"{START_MS + n * 7_000},{n},{100 + n % 50 / 10:.1f},1,{'buy' if n % 3 else 'sell'}" for n in range(1_000)]
    path.write_text("\n".join(["timestamp,id,price,amount,side", *rows]) + "\n")
    file = data.load(f"{path}=sim/T")
    assert file.timeframe is None
    half = Period(None, (file.span or (0, 0))[0] + 4_000 * 1_000_000)
    wanted = study([file], ["fast=2..3", "slow=5"], periods=[Period(), half])
    tally, lines = swept(wanted, tmp_path / "out", 2)
    assert (tally.done, tally.failed) == (4, 0), lines
    expected = {
        backtest(with_params(one.dataset.plan, wanted.grid.at(number)), data.stream([file], end=one.period.end)).digest
        for one in wanted.slices
        for number in wanted.grid.kept.tolist()
    }
    assert {one.digest for one in lines} == expected
    assert len(expected) == 4
