"""An end to thinking: a strategy that hangs while it is derived again is named, instead of hanging whoever asks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actors.decider import Poison

THINK_S = 60.0  # for one message; a live session restarts a process that does not move for `session.stall_s`, 30 s


class Limit:
    """Between `begins` and `ends` an actor may take THINK_S; then Poison is raised amid what it does.

    It rests on the interval timer of the main thread; elsewhere nothing is limited. Code that is not Python's is
    interrupted only when it returns.
    """

    def __init__(self) -> None:
        self._at: tuple[str, int] | None = None
        self._set = False

    def begins(self, actor: str, seq: int) -> None:
        self._at = actor, seq
        if self._set:
            signal.setitimer(signal.ITIMER_REAL, THINK_S)

    def ends(self) -> None:
        self._at = None  # the timer goes on, and finds nobody or somebody who has set it anew

    @contextmanager
    def kept(self) -> Iterator[None]:
        self._set = threading.current_thread() is threading.main_thread()
        former: Any = signal.signal(signal.SIGALRM, self._rings) if self._set else None
        try:
            yield
        finally:
            if self._set:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, former)
                self._set = False

    def _rings(self, *_: object) -> None:
        if self._at is not None:
            actor, seq = self._at
            raise Poison(actor, seq, f"it has been at this message for {THINK_S:g} s: it hangs")
