"""`python -m scripts.bench`: every case in fresh processes, beside its yardstick, in rounds; JSON, tables and a chart.

Ends with 1 where something could not be measured or came to other trades than it must; a missed goal is shown only.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from scripts.bench import cases, machine
from scripts.bench.case import Case, Finding, agreed, folded, found
from scripts.bench.market import ETH, TRADES, XAU
from scripts.bench.table import by_rate, draw, findings_table, works_table
from scripts.bench.work import ROOT, Done, Work, measured

BUSY = 0.2
"""Cores that others may keep busy before it is said."""

LINE = 140
"""Characters a line where the output is no terminal."""


class Chosen(msgspec.Struct, frozen=True):
    """What is run: `works` in the order of a round; `subjects` by their names."""

    works: tuple[Work, ...]
    cases: tuple[Case, ...]
    subjects: tuple[Work, ...]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases or subjects; * stands for anything")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "bench", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="one round on the small data")
    parser.add_argument("--with-peers", action="store_true", help="beside other backtesters, installed from PyPI")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help="only these of them")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="held while something is measured")
    return parser.parse_args()


def choose(args: argparse.Namespace, peers: Sequence[Work]) -> Chosen:
    """Works that no wanted case needs are left out; those of peers are only run for all or by their own name."""
    works = [*cases.works(args.quick), *peers]
    known = cases.cases(works)
    subjects = [Work(name, cases.python(name), timeout_s=900.0, env=_quick(args.quick)) for name in cases.SUBJECTS]
    if args.only:
        known = [case for case in known if _wanted(case.name, args.only)]
        subjects = [one for one in subjects if any(_wanted(one.name, [name.partition(".")[0]]) for name in args.only)]
        needed = {case.work for case in known} | {case.yardstick for case in known}
        asked = {work.name for work in peers if args.peers}
        works = [work for work in works if work.name in needed | asked or _wanted(work.name, args.only)]
    return Chosen(tuple(works), tuple(known), tuple(subjects))


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for pattern in patterns)


def _quick(quick: bool) -> dict[str, str]:
    return {"TICKERTAPE_BENCH_QUICK": "1"} if quick else {}


def findings(chosen: Chosen, done: Mapping[str, Done], subjects: Mapping[str, Done]) -> list[Finding]:
    lines = [found(case, done) for case in chosen.cases]
    same = (agreed(f"digest.{market.name}", works, done) for market, works in cases.AGREE)
    lines += [one for one in same if one is not None]
    for name, one in subjects.items():
        if one.error:
            lines.append(Finding(name=name, error=one.error))
        else:
            lines += folded(name, one.samples, cases.GOALS)
    judged = {case.work for case in chosen.cases} | {case.yardstick for case in chosen.cases}
    lines += [Finding(name=name, error=one.error) for name, one in done.items() if one.error and name not in judged]
    return lines


def main() -> int:
    args, console = options(), Console()
    if not console.is_terminal:
        console = Console(width=LINE)
    rounds = 1 if args.quick else args.rounds
    peers: list[Work] = []
    absent: dict[str, str] = {}
    if args.with_peers or args.peers:
        from scripts.bench.peers.install import installed

        peers, absent = installed(args.peers, args.quick, console)
    chosen = choose(args, peers)
    if not chosen.works and not chosen.subjects:
        console.print(f"nothing is called {' or '.join(args.only or ())}")
        return 2
    cases.prepare(chosen.works)
    started = datetime.now(UTC)
    before = machine.machine()

    def say(work: Work, one: Done, number: int) -> None:
        last = one.samples[-1] if one.samples else {}
        said = f"[red]{one.error[:200]}[/]" if one.error else f"{last['process_s']:.1f} s"
        console.print(f"round {number + 1} of {rounds}: {work.name}: {said}", highlight=False)

    done = measured(chosen.works, rounds, args.lock, say)
    subjects = measured(chosen.subjects, min(rounds, cases.SUBJECT_ROUNDS), args.lock, say)
    lines = findings(chosen, done, subjects)
    lines += [Finding(name=name, error=reason) for name, reason in absent.items()]
    record = {
        **machine.commit(), "started": started.isoformat(), "rounds": rounds, "machine": before,
        "versions": machine.versions(), "findings": lines, "works": {**done, **subjects},
    }  # fmt: skip
    write(args.out, record, lines, done)
    show(console, lines, done, args.out)
    return 1 if any(one.error for one in lines) else 0


def write(folder: Path, record: Mapping[str, Any], lines: Sequence[Finding], done: Mapping[str, Done]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plain = msgspec.to_builtins(record, enc_hook=lambda thing: getattr(thing, "__name__", str(thing)))
    (folder / "bench.json").write_text(json.dumps(plain, indent=1) + "\n")
    if lines:
        draw(folder / "bench.png", lines, done, [ETH.name, XAU.name])


def show(console: Console, lines: Sequence[Finding], done: Mapping[str, Done], folder: Path) -> None:
    for market in (ETH.name, XAU.name, TRADES):
        for sweep in (False, True):
            if by_rate(done, market, sweep):
                console.print(works_table(done, market, sweep))
    console.print(findings_table(lines))
    for one in lines:
        if one.error:
            console.print(f"[red]{one.name}[/] failed: ", one.error, markup=True, highlight=False)
        elif one.note:
            console.print(f"{one.name}: ", one.note, markup=False, highlight=False)
    others = [sample["others"] for one in done.values() for sample in one.samples]
    if others and statistics.median(others) > BUSY:
        console.print(
            f"[yellow]something else kept {statistics.median(others):.1f} cores busy meanwhile: trust ratios only"
        )
    console.print(f"every sample is in {folder / 'bench.json'}, the chart in {folder / 'bench.png'}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.CalledProcessError) as ended:
        sys.exit(f"ended: {ended!r}")
