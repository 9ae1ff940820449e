"""Ends of tasks, waited for however the waiting itself is disturbed."""

from __future__ import annotations

import asyncio
from typing import Any


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancels until it is over: on Python 3.11 a `wait_for` inside a library can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.2)


async def finished(task: asyncio.Future[Any]) -> None:
    """Waits for the end of a task, well or not, however often this is cancelled meanwhile."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    if not task.cancelled():
        task.exception()  # seen
    if cancelled:
        raise asyncio.CancelledError
