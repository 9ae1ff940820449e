"""The frame of the benchmark, on small commands that say figures known beforehand."""

from __future__ import annotations

import fcntl
import json
import sys
from argparse import Namespace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.bench import cases, engine, floor
from scripts.bench.case import Case, Finding, Goal, agreed, folded, found, judge
from scripts.bench.market import ETH, XAU
from scripts.bench.peers.catalogue import PEERS
from scripts.bench.peers.install import Absent, interpreter
from scripts.bench.table import amount, draw, share
from scripts.bench.work import ROOT, Done, Failed, Oracle, Work, last_object, measured, run


def saying(name: str, text: str, **more: object) -> Work:
    return Work(name, (sys.executable, "-c", text), **more)  # type: ignore[arg-type]


def fixed(name: str, **sample: object) -> Work:
    return saying(name, f"print({json.dumps(json.dumps(sample))})")


def test_a_sample_is_what_the_process_said_and_what_it_cost() -> None:
    sample = run(
        saying("a", "import json; x = bytearray(80_000_000); print(json.dumps({'rows': 30, 'engine_s': 2.0}))")
    )
    assert sample["rate"] == 15.0
    assert sample["peak_mb"] > 76  # the array alone
    assert sample["process_s"] > 0


def test_the_last_object_is_found_behind_other_words_and_on_several_lines() -> None:
    assert last_object('warming up\n{"a": 1}\n{\n "b": {\n  "c": 2\n }\n}\n') == {"b": {"c": 2}}
    assert last_object("nothing {}") is None


def test_what_fails_says_why() -> None:
    with pytest.raises(Failed, match=r"a ended with 3: .*no luck"):
        run(saying("a", "import sys; sys.stderr.write('no luck'); sys.exit(3)"))
    with pytest.raises(Failed, match="no JSON object"):
        run(saying("a", "print('hello')"))
    with pytest.raises(Failed, match=r"longer than 0\.2 s"):
        run(saying("a", "import time; time.sleep(60)", timeout_s=0.2))


def test_rounds_go_forward_and_back_and_a_failed_work_is_not_tried_again() -> None:
    order: list[str] = []
    works = [
        fixed("a", x=1),
        saying("b", "raise SystemExit(1)"),
        msgspec.structs.replace(fixed("c", x=2), rounds_max=1),
    ]
    done = measured(works, 3, None, lambda work, done, number: order.append(work.name))
    assert order == ["a", "b", "c", "a", "a"]
    assert [len(done[name].samples) for name in "abc"] == [3, 0, 1]
    assert done["b"].error


def test_a_lock_is_held_for_some_runs_and_given_back(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    free: list[bool] = []

    def ask(work: Work, done: Done, number: int) -> None:
        free.append(_free(lock))

    measured([fixed("a", x=1), fixed("b", x=2)], 2, lock, ask)
    assert free == [False] * 4
    assert _free(lock)


def _free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_an_oracle_that_binds_fails_the_work_and_one_that_does_not_is_shown() -> None:
    said = {"trades": 4, "pnl": 1.5}
    for binding in (True, False):
        work = msgspec.structs.replace(fixed("a", **said), oracle=Oracle(5, 1.5), binding=binding)
        done = measured([work], 1, None)["a"]
        assert bool(done.error) == binding
        assert done.differs == "4 trades, PnL 1.5000 instead of 5 and 1.5000"
    assert not Oracle(4, 1.5004).difference(said)


def rates(name: str, *values: float) -> Done:
    return Done(Work(name, ()), [{"rate": value} for value in values])


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    done = {"ours": rates("ours", 10, 40, 20), "theirs": rates("theirs", 10, 10, 10)}
    case = Case("x", "", "ours", "rate", "1/s", "theirs", Goal(ratio=2.0, stretch_value=30.0))
    finding = found(case, done)
    assert (finding.value, finding.floor, finding.ratio) == (20, 10, 2.0)
    assert (finding.judged_by, finding.met, finding.stretched) == ("ratio", True, False)
    alone = found(msgspec.structs.replace(case, goal=Goal(value=30.0), yardstick=None), done)
    assert (alone.ratio, alone.judged_by, alone.met) == (None, "value", False)


@pytest.mark.parametrize(
    ("goal", "met", "part"),
    [(Goal(value=4.0), True, 1.25), (Goal(better="less", value=4.0), False, 0.8), (Goal(ratio=2.0), False, 0.25)],
)
def test_goals_upward_and_downward(goal: Goal, met: bool, part: float) -> None:
    finding = Finding(name="x", value=5.0, ratio=0.5, goal=goal)
    judge(finding)
    assert finding.met is met
    assert share(finding) == pytest.approx(part)


def test_a_subjects_objects_become_lines() -> None:
    rounds = [{"a": {"value": v, "unit": "us", "floor": 2, "ratio": v / 2}, "peak_mb": 5.0} for v in (1, 3, 2)]
    rounds[-1]["b"] = {"error": "no server"}  # type: ignore[assignment]
    first, second = folded("live", rounds, {"live.a": Goal(better="less", ratio=1.5)})
    assert (first.name, first.value, first.ratio, first.met, first.rounds) == ("live.a", 2, 1.0, True, 3)
    assert (second.name, second.error) == ("live.b", "no server")
    assert folded("live", [{"peak_mb": 5.0}], {})[0].error


def test_digests_that_differ_are_an_error() -> None:
    done = {name: Done(Work(name, ()), [{"digest": digest}]) for name, digest in (("a", "1"), ("b", "1"), ("c", "2"))}
    same, other = agreed("digest", ("a", "b"), done), agreed("digest", ("a", "c"), done)
    assert same is not None
    assert same.met
    assert not same.error
    assert other is not None
    assert other.error == "a: 1; c: 2"
    assert agreed("digest", ("a",), done) is None


def test_every_case_has_its_works() -> None:
    peers = [Work(f"{one.name} {market}", ()) for peer in PEERS for one in peer.variants for market in one.markets]
    for works in (cases.works(quick=True), cases.works(quick=False), [*cases.works(quick=False), *peers]):
        names = [work.name for work in works]
        assert len(set(names)) == len(names)
        for case in cases.cases(works):
            assert case.work in names
            assert case.yardstick is None or case.yardstick in names


def test_peers_are_pinned_and_have_their_scripts() -> None:
    for peer in PEERS:
        assert "==" in peer.requirements[0]
        assert (ROOT / "scripts" / "bench" / "peers" / peer.script).is_file()


def test_a_peer_without_a_python_of_its_own_is_absent_with_the_reason() -> None:
    never = msgspec.structs.replace(PEERS[0], python=98, python_max=99)
    with pytest.raises(Absent, match=r"needs Python 3\.98 to 3\.99"):
        interpreter(never)
    assert interpreter(msgspec.structs.replace(PEERS[0], python=sys.version_info.minor)) == Path(sys.executable)


def test_numbers_in_three_figures() -> None:
    assert [amount(one) for one in (None, 0.01234, 12.34, 4_321, 45_678, 1.5e6, 2.25e9)] == [
        "-", "0.0123", "12.3", "4,321", "45.7 k", "1.5 M", "2.25 G",
    ]  # fmt: skip


def test_a_chart_of_little(tmp_path: Path) -> None:
    done = {f"event {ETH.name}": rates(f"event {ETH.name}", 10.0)}
    finding = found(Case("event.eth60k", "", f"event {ETH.name}", "rate", "", None, Goal(value=5.0)), done)
    draw(tmp_path / "a.png", [finding], done, [ETH.name, XAU.name])
    draw(tmp_path / "b.png", [Finding(name="x", error="no")], {}, [ETH.name])
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))


def test_every_path_of_the_engine_does_the_work_of_the_bare_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, random = 1_500, np.random.default_rng(7)
    closes = np.round(1_000 + random.normal(0, 1, rows).cumsum(), 2)
    opens = np.round(closes + random.normal(0, 0.3, rows), 2)
    high, low = np.maximum(opens, closes) + 0.5, np.minimum(opens, closes) - 0.5
    stamps = 1_700_000_040_000 + 60_000 * np.arange(rows)
    columns = {"timestamp": stamps, "open": opens, "high": high, "low": low, "close": closes}
    path = tmp_path / "walk.parquet"
    pq.write_table(pa.table({**columns, "volume": np.full(rows, 100.0)}), path)
    bare = floor.cross(opens.tolist(), closes.tolist())
    assert bare["trades"] > 20
    for flat in (False, True):
        for way in engine.PATHS:
            monkeypatch.setitem(engine.SPECS, ETH.name, f"{path}=bench/ETH-USDT@1m")
            beside = ETH.name if way == "event" else None
            told = {"path": way, "market": ETH.name, "flat": flat, "beside": beside, "no_digest": False, "warm": False}
            sample = engine.measure(Namespace(**told, fast=10, slow=20))
            assert not Oracle(bare["trades"], bare["pnl"], 1e-6).difference(sample)
            assert sample["rows"] == rows
            assert beside is None or sample["beside"] > 0
