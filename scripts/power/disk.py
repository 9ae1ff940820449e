"""A disk whose power can be cut: an ext4 file system of its own on a loop device, stopped as a crash stops it.

`FS_IOC_SHUTDOWN` with "no log flush" is what the kernel's own crash tests use: from that moment nothing more reaches
the disk, neither dirty pages nor the journal. Unmounting throws the pages away, mounting replays the journal: what is
there then is what a machine would find after its power went. The drive itself is taken at its word: what it was told
to write is kept.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = (2).to_bytes(4, "little")
_BUSY_S = 10.0  # a killed process gives up its files when the kernel has taken it apart


class Disk:
    """Mounted at `folder` while the block lasts. Needs root, loop devices and mkfs.ext4."""

    def __init__(self, folder: Path, size_mb: int = 512) -> None:
        self.folder = folder
        self._image = folder.with_name(f"{folder.name}.img")
        self._size = size_mb << 20
        self._handle = -1

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(self._size)
        _run("mkfs.ext4", "-q", "-F", self._image)
        self._mount()
        return self

    def cut(self) -> None:
        """Power off. Processes that write get errors from here on; end them, then `restore`."""
        fcntl.ioctl(self._handle, _FS_IOC_SHUTDOWN, _NO_LOG_FLUSH)

    def restore(self) -> None:
        """Power on: the file system as its journal leaves it."""
        self._unmount()
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.folder)
        self._handle = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)

    def _unmount(self) -> None:
        os.close(self._handle)
        deadline = time.monotonic() + _BUSY_S
        while (failed := _tried("umount", self.folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if failed:
            raise OSError(failed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unmount()
        self._image.unlink()


def _run(*words: str | Path) -> None:
    if failed := _tried(*words):
        raise OSError(failed)


def _tried(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"{' '.join(map(str, words))}: {done.stderr.strip()}" if done.returncode else ""
