"""What Ray runs as a worker here: its own program, without loading what no trading process uses.

Every worker of Ray loads pyarrow and pydantic, to be able to send their objects, and nats-py loads aiohttp, to speak
to WebSockets: more than half of what a process takes to start, and of its memory. A strategy that imports them gets
them. What a trading process does use is loaded before Ray has work for it.
"""

from __future__ import annotations

import os
import runpy
import sys
from importlib import import_module

HERE = os.path.dirname(os.path.abspath(__file__))
USED = ("actors.roster", "actors.shell", "infra.session.opening")


def main() -> None:
    import ray

    from infra.session.quickstart import sent_plainly

    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # as if it were not installed, for one import
    try:
        import nats.aio.transport  # noqa: F401
    finally:
        del sys.modules["aiohttp"]
    for name in USED:
        import_module(name)
    program = os.path.join(os.path.dirname(ray.__file__), "_private", "workers", "default_worker.py")
    with sent_plainly():
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    # Python puts a program's folder first, but the names in this one are not for everybody.
    sys.path[:] = [*(place for place in sys.path if place != HERE), os.path.dirname(os.path.dirname(HERE))]
    main()
