"""A word to systemd, where it started this process and asked for it: `Type=notify`, `WatchdogSec=` (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell(state: str) -> None:
    """`READY=1`, `WATCHDOG=1` or `STOPPING=1`. Nobody listening is no error."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
