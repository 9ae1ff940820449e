"""What people and machines get to see: text and tables, or JSON lines and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 160  # a file or a pipe has no width; lines of tables should not be broken there
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Advance(Protocol):
    def __call__(self, done: int, total: int | None = None) -> None: ...


class Screen:
    """Results go to standard output, all that is said besides to standard error. With `json`: one object a line."""

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    def emit(self, value: Any) -> None:
        """One JSON object on a line of standard output."""
        sys.stdout.write(_encode(value).decode() + "\n")
        sys.stdout.flush()

    def result(self, value: Any, *shown: Any) -> None:
        """`value` for machines, `shown` (renderables) for people."""
        if self.json:
            self.emit(value)
            return
        for one in shown:
            self.show(one)

    def show(self, renderable: Any, end: str = "\n") -> None:
        """Part of the result; nothing in JSON mode."""
        if not self.json:
            self.out.print(Text(renderable) if isinstance(renderable, str) else renderable, end=end, soft_wrap=
                           isinstance(renderable, str | Text))  # fmt: skip

    def say(self, text: str, style: str = "") -> None:
        """A remark, on standard error."""
        self.err.print(Text(text, style), soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner while something takes long; silent where nobody looks."""
        if self.json or not self.err.is_terminal:
            yield
            return
        with self.err.status(Text(text)):
            yield

    @contextmanager
    def progress(self, text: str, total: int | None) -> Iterator[Advance]:
        """A bar on standard error; call what it yields with what is done so far."""
        shown = not self.json and self.err.is_terminal
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self.err, disable=not shown, transient=True) as bar:
            task = bar.add_task(text, total=total)

            def advance(done: int, total: int | None = None) -> None:
                bar.update(task, completed=done, total=total)

            yield advance


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, emoji=False, markup=False, width=_PIPED_WIDTH)
    return console


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    """A plain table; columns named in `right` are numbers."""
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", style="", header_style="dim")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def pairs(rows: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return made
