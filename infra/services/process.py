"""Server processes: started so that they die with their owner, recognised by their arguments, ended in order."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from infra.services.settings import ServiceError

_LAUNCHER = str(Path(__file__).with_name("launch.py"))
_PROC = Path("/proc/self/cmdline").exists()
_POLL_S = 0.005


class Account(msgspec.Struct, frozen=True):
    """The unprivileged user a server runs as; `reach`: it may pass folders that only root can enter."""

    uid: int
    gid: int
    reach: bool = False


def command(argv: Sequence[str], *, death_signal: int = 0, account: Account | None = None) -> list[str]:
    """The command line that runs `argv` through the launcher."""
    user = account or Account(-1, -1)
    options = (os.getpid(), death_signal, user.uid, user.gid, int(user.reach))
    return [sys.executable, "-I", "-S", _LAUNCHER, *map(str, options), *argv]


def spawn(
    argv: Sequence[str], *, log: Path, death_signal: int, account: Account | None = None
) -> subprocess.Popen[bytes]:
    """Starts a server; its output goes to `log`, that of the run before stays beside it as `<log>.1`.

    Linux sends `death_signal` when the calling *thread* ends, so call this on a thread as long-lived as the owner.
    """
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(log.name + ".1"))
    with log.open("wb") as output:
        return subprocess.Popen(
            command(argv, death_signal=death_signal, account=account),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            # Ctrl-C in a terminal goes to the whole foreground group; the servers must outlive the clean stop.
            start_new_session=True,
        )


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone, a zombie or not readable."""
    if _PROC:
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return []
        return [part.decode(errors="surrogateescape") for part in raw.split(b"\0")[:-1]]
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.split()


def is_server(pid: int, option: str, target: Path) -> bool:
    """Whether `pid` is `<binary> <option> <target>` and nothing more: no editor or pager that has the file open."""
    found = arguments(pid)
    if not _PROC:
        return " ".join(found[1:]) == f"{option} {target}"
    return len(found) == 3 and found[1:] == [option, str(target)]


def servers_of(option: str, target: Path, recorded: Sequence[int] = ()) -> list[int]:
    """Pids of all living servers started for `target`; `recorded` ones are asked where there is no /proc."""
    if _PROC:
        pids: Sequence[int] = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    else:
        pids = recorded
    return [pid for pid in pids if is_server(pid, option, target)]


async def end_all(find: Callable[[], list[int]], signals: Sequence[int], patience_s: float) -> None:
    """Ends every process that `find` names, which is asked anew before each signal: a reused pid is not hit.

    Raises ServiceError if one outlives SIGKILL.
    """
    for number in (*signals, signal.SIGKILL):
        for pid in find():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if await until(lambda: not find(), patience_s):
            return
    raise ServiceError(f"Processes {find()} of an earlier run do not end; end them by hand and start again.")


async def stop(process: subprocess.Popen[bytes], signals: Sequence[int], patience_s: float) -> None:
    """Ends a child of ours and reaps it."""
    for number in signals:
        if process.poll() is not None:
            return
        process.send_signal(number)
        if await until(lambda: process.poll() is not None, patience_s):
            return
    process.kill()
    await asyncio.to_thread(process.wait)


async def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Polls `condition`; False when it did not hold within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago; whoever binds them must be ready to lose the race."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def log_tail(log: Path, lines: int = 3, *, prefer: Sequence[str] = ()) -> str:
    """The last lines of a log, those that contain a word of `prefer` first choice, joined for one sentence."""
    try:
        text = log.read_text(errors="replace").splitlines()
    except OSError:
        return "no log"
    chosen = [line for line in text if any(word in line for word in prefer)] or text
    return " | ".join(line.strip() for line in chosen[-lines:]) or "empty log"
