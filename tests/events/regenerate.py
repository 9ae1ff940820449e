"""Writes golden payloads that are missing; with `--overwrite`, all. Bytes that are on tapes must not change:

a changed shape is a new version with an upcaster, and the old file stays. Run as `python -m tests.events.regenerate`.
"""

from __future__ import annotations

import argparse

import msgspec

from events.catalogue import FACTS

from .samples import path_of, sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overwrite", action="store_true", help="also those that are there: never after a release")
    options = parser.parse_args()
    encode = msgspec.json.Encoder(decimal_format="string").encode
    for fact in FACTS:
        path = path_of(fact)
        if options.overwrite or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(sample(fact)) + b"\n")


if __name__ == "__main__":
    main()
