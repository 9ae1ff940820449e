"""What every command is given: the configuration as chosen on the command line, a screen, and a safe way to run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from infra.cli.exits import BROKEN, Exit, explained, logged

if TYPE_CHECKING:
    from infra.cli.screen import Screen
    from infra.config import Config


class Context:
    """The common options. `config()` reads the file and lays the options over it."""

    def __init__(self, config: Path | None, tape: str | None, data_dir: Path | None, json: bool, debug: bool) -> None:
        self.path, self.tape, self.data_dir, self.json, self.debug = config, tape, data_dir, json, debug
        self._screen: Screen | None = None
        self._config: Config | None = None

    @property
    def screen(self) -> Screen:
        if self._screen is None:
            from infra.cli.screen import Screen

            self._screen = Screen(self.json)
        return self._screen

    def config(self) -> Config:
        """Raises ConfigError."""
        if self._config is None:
            import msgspec

            from events import subjects
            from infra.cli.exits import Failure
            from infra.config import load

            found = load(self.path)
            if self.tape is not None:
                try:
                    found = msgspec.structs.replace(found, tape=subjects.token(self.tape))
                except ValueError as error:
                    raise Failure(f"--tape: {error}") from None
            if self.data_dir is not None:
                found = msgspec.structs.replace(found, data_dir=str(self.data_dir))
            self._config = found
        return self._config

    def folder(self) -> Path:
        """The data folder as far as it is known, also where the configuration cannot be read."""
        if self._config is not None:
            return Path(self._config.data_dir).expanduser()
        return self.data_dir or Path(".tape")

    def run(self, command: Callable[[Context], int | Coroutine[Any, Any, int]]) -> None:
        """Runs a command to its exit code; what goes wrong is one sentence on standard error."""
        _quiet_logs(self.debug)
        try:
            found = command(self)
            code = found if isinstance(found, int) else _awaited(found)
        except KeyboardInterrupt:
            self._complain("interrupted")
            code = Exit.INTERRUPTED
        except BrokenPipeError:
            _forget_stdout()
            code = Exit.FINE
        except (typer.Exit, typer.Abort, SystemExit):
            raise
        except BaseException as error:
            code = self._failed(error)
        raise typer.Exit(int(code))

    def _failed(self, error: BaseException) -> int:
        if self.debug:
            raise error
        error = _innermost(error)
        known = explained(error)
        if known is not None:
            self._complain(known[0])
            return known[1]
        path = logged(error, self.folder())
        where = f"; the details are in {path}" if path is not None else "; --debug shows the details"
        self._complain(f"an error of the program itself, {type(error).__name__}: {error}{where}")
        return BROKEN

    def _complain(self, sentence: str) -> None:
        if self.json:
            sys.stderr.write(f"tape: {sentence}\n")
        else:
            self.screen.say(f"tape: {sentence}", "bold red")


def _awaited(running: Coroutine[Any, Any, int]) -> int:
    import uvloop

    return uvloop.run(running)


def _innermost(error: BaseException) -> BaseException:
    """The first error of a group: the one that brought the others about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _quiet_logs(debug: bool) -> None:
    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    else:
        logging.getLogger().addHandler(logging.NullHandler())


def _forget_stdout() -> None:
    """The reader of a pipe has gone (`tape tail | head`): the interpreter must not complain about it at its end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
