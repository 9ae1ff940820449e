"""What the tape promises, tried on the real servers; see `README.md`. Every part prints figures; 1 is a breach."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from scripts.power import cost, cutoff, loss, pairs, races, zombies

PARTS = {"loss": loss, "cost": cost, "races": races, "cutoff": cutoff, "zombies": zombies, "pairs": pairs}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.power", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in PARTS.items():
        part.options(parts.add_parser(name, help=(part.__doc__ or "").splitlines()[0]))
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # every cut is a warning of each connection
    return asyncio.run(PARTS[chosen.part].main(chosen))


if __name__ == "__main__":
    sys.exit(main())
