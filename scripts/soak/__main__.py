"""A long session at ten times the pace of `tape run`, watched from outside: memory, handles, lag (`make soak`).

`python -m scripts.soak --for 3600` says what every process took, and ends with 1 where one of them grew.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from infra.config import Config, SessionSettings
from infra.services import discovery
from infra.simulator import SimulatorSettings

from .judging import GROWTH_MAX, IDLE_MIN, Report, judge
from .sampling import Sample, sample

ROOT = Path(__file__).resolve().parents[2]
TIMES = 10.0  # the pace of `tape run` on the simulated exchange, so often
START_S = 120.0  # a session starts in 6 to 12 s; many times that beside other work
END_S = 120.0
AT_WORK = 1_000  # messages: more than the plan, the claims and the history at the start


def config(data_dir: Path, times: float) -> Config:
    simulator = SimulatorSettings(speed=SimulatorSettings().speed * times)
    return Config(data_dir=str(data_dir), session=SessionSettings(dashboard=False), simulator=simulator)


def soak(folder: Path, seconds: float, every_s: float, times: float) -> tuple[list[Sample], int, str]:
    """Samples of a session that runs so long; then its exit code and its last words."""
    chosen = config(folder / "data", times)
    path = folder / "tape.json"
    path.write_bytes(msgspec.json.encode(chosen))
    line = [sys.executable, "-m", "infra.cli", "run", "--config", str(path), "--json"]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(line, stdout=out, stderr=err, cwd=folder, env=environment)
    try:
        samples = watch(child, folder, seconds, every_s, chosen.tape)
    finally:
        if child.poll() is None:  # it is ended from here, so that no sample is of a session that takes itself down
            child.send_signal(signal.SIGINT)
        code = child.wait(END_S)
    return samples, code, (folder / "err").read_text(errors="replace")[-2000:]


def watch(child: subprocess.Popen[bytes], folder: Path, seconds: float, every_s: float, tape: str) -> list[Sample]:
    """Of so many seconds at work; of fewer where the session ends by itself."""
    found: list[Sample] = []
    begun = began = time.monotonic()
    while child.poll() is None and time.monotonic() < (began + seconds if found else begun + START_S):
        running = discovery.read((folder / "data").resolve())
        if running is None or not (url := running.endpoints.nats_monitor_url):
            time.sleep(0.2)
            continue
        try:
            found.append(sample(child.pid, url, tape, began))
        except OSError as trouble:  # the server is being started again, as a session does where it ended
            say(f"no sample: {trouble}")
            time.sleep(every_s)
            continue
        latest = found[-1]
        if latest.messages < AT_WORK:  # it has not begun yet: a start takes long on a busy machine
            found, began = [], time.monotonic()
        behind = max(latest.pending.values(), default=0)
        say(f"{latest.at:6.0f} s  {latest.messages:>10,} messages  {behind:>6,} behind")
        time.sleep(every_s)
    if not found:
        raise TimeoutError(f"no session within {START_S:g} s: {(folder / 'err').read_text(errors='replace')[-2000:]}")
    return found


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(report: Report) -> str:
    lines = [
        f"{report.seconds:,.0f} s after warm-up, {report.messages:,} messages, {report.rate:,.0f} a second; "
        f"consumers behind by {report.pending[0]:,}, at the end {report.pending[1]:,} messages; "
        f"{report.idle:.0%} of the cores' time was idle{'' if report.idle >= IDLE_MIN else ': lag is not judged'}",
        f"{'process':<34}{'MB':>9}{'MB, end':>9}{'growth':>8}{'files':>7}{'end':>6}",
    ]
    for one in sorted(report.processes, key=lambda one: -one.memory[1]):
        lines.append(
            f"{one.name:<34.34}{one.memory[0]:>9.1f}{one.memory[1]:>9.1f}{one.growth:>8.1%}"
            f"{one.handles[0]:>7}{one.handles[1]:>6}"
        )
    return "\n".join([*lines, *(f"NOT FLAT: {fault}" for fault in report.faults)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="seconds", type=float, default=3600.0, help="seconds")
    parser.add_argument("--times", type=float, default=TIMES, help="the pace of `tape run`, so often")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--warm-up", type=float, default=600.0, help="seconds that are not judged")
    parser.add_argument("--growth", type=float, default=GROWTH_MAX, help="how much is still flat, a fraction")
    parser.add_argument("--json", type=Path, help="a file for the report and all samples")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tickertape-soak-") as folder:
        samples, code, words = soak(Path(folder), chosen.seconds, chosen.every, chosen.times)
    report = judge(samples, chosen.warm_up, chosen.growth)
    sys.stdout.write(table(report) + "\n")
    if chosen.json is not None:
        whole = {"report": report, "faults": report.faults, "ended": code, "samples": samples}
        chosen.json.write_bytes(msgspec.json.encode(whole))
    if code:
        sys.stdout.write(f"the session ended with {code}: {words}\n")
    return 1 if report.faults or code else 0


if __name__ == "__main__":
    sys.exit(main())
