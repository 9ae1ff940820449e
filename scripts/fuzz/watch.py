"""What every process takes of the machine's memory while it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from scripts.parity import descendants


class Sample(msgspec.Struct, frozen=True):
    """Anonymous resident memory in MB at a time in seconds after the start, by process."""

    at_s: float
    facts: int
    memory: dict[str, float]


class Watch:
    """Of processes by name; the `families` count with all below them."""

    def __init__(self, processes: Mapping[str, int], families: Mapping[str, int]) -> None:
        self._processes, self._families, self._began = processes, families, time.monotonic()
        self.samples: list[Sample] = []

    def look(self, facts: int) -> None:
        memory = {name: anonymous_mb(pid) for name, pid in self._processes.items()}
        memory |= {name: sum(map(anonymous_mb, descendants(pid))) for name, pid in self._families.items()}
        self.samples.append(Sample(time.monotonic() - self._began, facts, memory))


def anonymous_mb(pid: int) -> float:
    """What no other process shares and no cache explains; 0 where the process has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1000
    return 0.0


def server_of(port: int) -> int:
    """The process that listens at a port of this machine; 0 where none is found."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{words[9]}]" for words in lines if words[1].endswith(f":{port:04X}") and words[3] == "0A"}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link) in inodes:
                return int(link.parts[2])
    return 0
