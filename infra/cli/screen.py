"""What people and machines get to see: text and tables, or JSON lines and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:  # which machines can spare: rich is loaded where people look
    from rich.console import Console
    from rich.table import Table

_PIPED_WIDTH = 160  # a file or a pipe has no width; lines of tables should not be broken there
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Advance(Protocol):
    def __call__(self, done: int, total: int | None = None) -> None: ...


class Screen:
    """Results go to standard output, all that is said besides to standard error. With `json`: one object a line."""

    def __init__(self, json: bool = False) -> None:
        self.json = json

    @cached_property
    def out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        return _console(stderr=True)

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
        if self.json:
            return
        from rich.text import Text

        shown = Text(renderable) if isinstance(renderable, str) else renderable
        self.out.print(shown, end=end, soft_wrap=isinstance(shown, Text))

    def say(self, text: str, style: str = "") -> None:
        """A remark, on standard error."""
        from rich.text import Text

        self.err.print(Text(text, style), soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner while something takes long; silent where nobody looks."""
        if self.json or not self.err.is_terminal:
            yield
            return
        from rich.text import Text

        with self.err.status(Text(text)):
            yield

    @contextmanager
    def progress(self, text: str, total: int | None) -> Iterator[Advance]:
        """A bar on standard error; call what it yields with what is done so far."""
        if self.json or not self.err.is_terminal:
            yield lambda done, total=None: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self.err, transient=True) as bar:
            task = bar.add_task(text, total=total)

            def advance(done: int, total: int | None = None) -> None:
                bar.update(task, completed=done, total=total)

            yield advance


def _console(stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, emoji=False, markup=False, width=_PIPED_WIDTH)
    return console


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    """A plain table; columns named in `right` are numbers."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", style="", header_style="dim")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def pairs(rows: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return made
