"""What a session takes of the machine, seen from outside: memory and handles of each process, lag of each consumer."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from scripts.parity import descendants

MB = 1e6
_SHORT_LIVED_S = 20.0  # helpers that come and go (backends of one query, Ray's installers) are nobody's leak


class Process(msgspec.Struct, frozen=True):
    """`memory`: anonymous resident memory in MB, which no other process shares and no cache explains."""

    name: str
    memory: float
    handles: int


class Sample(msgspec.Struct, frozen=True):
    """`at` in s since the start; `messages` on the tape; `pending` of each consumer: what it has not been sent yet.

    `processor`: (idle, all) time of the machine's cores since it started, in ticks.
    """

    at: float
    messages: int
    pending: dict[str, int]
    processes: dict[int, Process]
    processor: tuple[int, int] = (0, 0)


def sample(pid: int, monitor_url: str, tape: str, began: float) -> Sample:
    """Of everything below `pid`, and of what the server tells about the tape."""
    found = {one: told for one in descendants(pid) if (told := process(one)) is not None}
    messages, pending = consumers(monitor_url, tape)
    return Sample(time.monotonic() - began, messages, pending, found, processor())


def processor() -> tuple[int, int]:
    """Idle is what waits for a disk, too; what the host takes from a virtual machine is not."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def process(pid: int) -> Process | None:
    """None where it has ended meanwhile, or is too young to be judged."""
    folder = Path("/proc") / str(pid)
    try:
        words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        handles = len(list((folder / "fd").iterdir()))
        age = time.time() - folder.stat().st_mtime
    except (OSError, ValueError):
        return None
    if not words or "RssAnon" not in status or age < _SHORT_LIVED_S:
        return None
    return Process(_name(words), int(status["RssAnon"].split()[0]) * 1024 / MB, handles)


def _name(words: list[str]) -> str:
    first = words[0].rsplit("/", 1)[-1].rstrip(":")
    match first:
        case "postgres":
            return " ".join(["postgres", *words[1:3]])
        case _ if first.startswith("python"):
            said = [word for word in words[1:] if not word.startswith("-")]
            return f"python {Path(said[0]).name if said else ''}".strip()
        case _:
            return first


def consumers(monitor_url: str, tape: str) -> tuple[int, dict[str, int]]:
    """(messages on the tape, what each of its consumers has not been sent yet)."""
    with urllib.request.urlopen(f"{monitor_url}/jsz?consumers=true&streams=true", timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
    for account in told.get("account_details", ()):
        for stream in account.get("stream_detail", ()):
            if stream["name"] == tape:
                listed = stream.get("consumer_detail") or ()
                return stream["state"]["messages"], {one["name"]: one["num_pending"] for one in listed}
    return 0, {}
