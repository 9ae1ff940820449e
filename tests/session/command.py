"""The command line as an operator uses it: commands that end, and a session that runs beside the test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from infra.config import Config
from infra.services import discovery
from scripts.parity import kill_everything
from tests.infra.cli_tape import ROOT, Ended

COMMAND_S = 400  # a command takes seconds; starting a session on a very busy machine takes minutes
POLL_S = 0.1


class Tape:
    """`tape` with one configuration file."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config
        self.data_dir = Path(config.data_dir)
        self._file = folder / "tape.json"
        self._file.write_bytes(msgspec.json.encode(config))

    def __call__(self, *words: str | Path) -> Ended:
        """Runs a command to its end."""
        done = subprocess.run(
            self._line(words), cwd=self.folder, env=_environment(), capture_output=True, text=True, check=False,
            timeout=COMMAND_S,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def beside(self, *words: str | Path) -> Iterator[Running]:
        """Runs a command while the block does; ends it cleanly, and with all its processes where it does not end."""
        with (self.folder / "out").open("w+b") as out, (self.folder / "err").open("w+b") as err:
            child = subprocess.Popen(self._line(words), cwd=self.folder, env=_environment(), stdout=out, stderr=err)
            running = Running(child, self.folder)
            try:
                yield running
            finally:
                running.end()

    def _line(self, words: tuple[str | Path, ...]) -> list[str]:
        given = ["--config", str(self._file)]
        return [sys.executable, "-m", "infra.cli", str(words[0]), *given, *map(str, words[1:])]

    @property
    def served(self) -> bool:
        """Whether the services of the data folder can be found."""
        found = discovery.read(self.data_dir.resolve())
        return found is not None and found.alive()


class Running:
    """A command that goes on."""

    def __init__(self, child: subprocess.Popen[bytes], folder: Path) -> None:
        self.child, self._folder = child, folder

    def until(self, what: Callable[[], Any], about: str, seconds: float = COMMAND_S) -> Any:
        """Waits for a truth; fails where it does not come or the command ends before."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert self.child.poll() is None, f"it ended before {about}: {self.said()}"
            assert time.monotonic() < deadline, f"no {about} within {seconds} s: {self.said()}"
            time.sleep(POLL_S)
        return found

    async def eventually(self, what: Callable[[], Awaitable[Any]], about: str, seconds: float = COMMAND_S) -> Any:
        """As `until`, for what has to be awaited."""
        deadline = time.monotonic() + seconds
        while not (found := await what()):
            assert self.child.poll() is None, f"it ended before {about}: {self.said()}"
            assert time.monotonic() < deadline, f"no {about} within {seconds} s: {self.said()}"
            await asyncio.sleep(POLL_S)
        return found

    def end(self, seconds: float = COMMAND_S) -> Ended:
        """SIGINT, as Ctrl-C does, where it has not ended yet."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        return self.ended(seconds)

    def ended(self, seconds: float = COMMAND_S) -> Ended:
        """Waits until it has ended by itself."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            kill_everything(self.child.pid)
            self.child.wait()
            raise AssertionError(f"it did not end within {seconds} s: {self.said()}") from None
        return Ended(code, *self._streams())

    def said(self) -> str:
        out, err = self._streams()
        log = self._folder / "data" / "logs" / "tape.log"
        logged = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        return "\n".join((out[-2000:], err[-2000:], logged))

    def _streams(self) -> tuple[str, str]:
        out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
        return out, err


def _environment() -> dict[str, str]:
    made = {**os.environ, "COLUMNS": "160", "PYTHONPATH": str(ROOT)}
    made.pop("FORCE_COLOR", None)
    return made
