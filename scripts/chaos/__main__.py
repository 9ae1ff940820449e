"""Faults by the thousand on the real thing: bus, database, Ray, session and disks, under real candles in lock-step.

`make chaos` draws 1,000 faults from `--seed`. What was done when stands in chaos.log in the folder, which is kept
where anything is wrong; the report goes to `--report`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.chaos.kinds import KINDS
from scripts.chaos.report import sentences, table, written
from scripts.chaos.run import Settings, campaign
from scripts.parity import FOLDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=40.0, help="market facts a second at most")
    parser.add_argument("--together", type=float, default=0.7, help="how often a light fault joins the one before")
    parser.add_argument("--only", default="", help="kinds whose name this regular expression finds")
    parser.add_argument("--report", type=Path, default=Path("reports/chaos.json"))
    parser.add_argument("--folder", type=Path, help="where to work; a new one by default")
    given = parser.parse_args()
    if not FOLDER.exists():
        sys.exit(f"no recorded data under {FOLDER}: set TICKERTAPE_DATA")
    logging.basicConfig(level=logging.ERROR)
    folder = Path(given.folder or tempfile.mkdtemp(prefix="chaos-"))
    os.chmod(folder, 0o755)  # PostgreSQL runs as another user where this one is root
    kinds = tuple(kind for kind in KINDS if re.search(given.only, kind.name))
    sys.stdout.write(f"{folder}/chaos.log says what is done\n")
    sys.stdout.flush()
    report = asyncio.run(campaign(folder, Settings(given.faults, given.seed, given.pace, given.together, kinds)))
    given.report.parent.mkdir(parents=True, exist_ok=True)
    written(report, given.report)
    sys.stdout.write(f"{table(report.hits)}\n\n{sentences(report)}\n{given.report}\n")
    if not report.clean:
        sys.exit(f"the folder is kept: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
