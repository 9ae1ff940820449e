"""A session at ten times the usual pace for two minutes: nothing leaks grossly, nothing falls behind (`make soak`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from scripts.soak.judging import Judged, judge
from scripts.soak.sampling import Process, Sample
from tests.infra.cli_tape import ROOT

SECONDS = 120
WARM_UP_S = 60
GROWTH = 0.2  # states, caches and allocators fill for five minutes at this pace; a leak of 100 bytes a message is seen
END_S = 400  # starts and ends included, on a very busy machine


@pytest.mark.alone  # its pace takes most of two cores: beside other tests a lag says nothing, and is not judged
def test_two_minutes_at_ten_times_the_pace(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    told = ["--for", SECONDS, "--warm-up", WARM_UP_S, "--every", 2, "--growth", GROWTH, "--json", report]
    line = [sys.executable, "-m", "scripts.soak", *map(str, told)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=END_S)
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-2000:]}"
    found = msgspec.json.decode(report.read_bytes())
    names = {one["name"].partition(".")[0] for one in found["report"]["processes"]}
    assert {"nats-server", "ray::Worker", "ray::ProjectorWorker", "gcs_server", "raylet"} <= names
    assert found["report"]["messages"] > 1_000


def test_a_leak_a_kept_handle_and_a_growing_lag_are_found() -> None:
    def samples(grown: float, kept: int, behind: int, name: str = "one", teeth: float = 0.0) -> list[Sample]:
        return [
            Sample(at, 100 * at, {"c": behind * at},
                   {7: Process(name, 100 + grown * at / 100 + teeth * (at % 7), 50 + kept * at)})
            for at in range(400)
        ]  # fmt: skip

    assert judge(samples(0, 0, 0), 20).faults == []
    assert judge(samples(1, 0, 0), 20).faults == []
    for told, about in (((12, 0, 0), "grew from 108.0 to 142.2 MB"), ((0, 1, 0), "open files"), ((0, 0, 90), "behind")):
        (fault,) = judge(samples(*told), 20).faults
        assert about in fault
    assert judge(samples(0, 0, 0, "nats-server", 12.0), 200).faults == []
    assert judge(samples(4, 0, 0, "nats-server", 12.0), 20).faults == []  # its ids are not two minutes' yet
    (fault,) = judge(samples(4, 0, 0, "nats-server", 12.0), 200).faults
    assert "nats-server (7) grew from 109.5 to 115.4 MB" in fault
    busy = [msgspec.structs.replace(one, processor=(int(one.at), 100 * int(one.at))) for one in samples(0, 0, 90)]
    assert (judge(busy, 20).idle, judge(busy, 20).faults) == (0.01, [])  # no time left: it is the machine's lag
    shortened = [*samples(0, 0, 0)[:-3], *(msgspec.structs.replace(one, processes={}) for one in samples(0, 0, 0)[-3:])]
    assert judge(shortened, 20).faults == ["one (7) has ended on the way"]
    assert Judged("postgres somebody here", 1, (9.0, 14.0), (10, 500)).flat
    assert not Judged("postgres somebody here", 1, (30.0, 40.0), (10, 500)).flat
