"""Search guided by coverage, with atheris: `python -m scripts.fuzz.coverage TARGET [-max_total_time=60] [CORPUS]`.

Needs `pip install atheris`. What libFuzzer finds it writes to `crash-*`; those inputs belong into the tests. TARGET is
one of the names in `targets.TARGETS`.
"""

from __future__ import annotations

import sys

OURS = ["events", "infra", "actors", "projections", "scripts.fuzz"]


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=OURS):  # all else besides would take longer than the search
        from scripts.fuzz.targets import TARGETS
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"name one of {', '.join(TARGETS)}")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
