"""A small disk of its own for a server, which can be filled to the last byte."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_MB = 768  # holds tape or tables of a whole campaign several times over
PIECE = 1 << 20


class Disk:
    """A tmpfs mounted at `folder`, where mounts are allowed; else a plain folder, and `mounted` is false."""

    def __init__(self, folder: Path, size_mb: int = SIZE_MB) -> None:
        self.folder, self._size_mb = folder, size_mb
        self.mounted = False
        self._filler = folder / "filler"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={self._size_mb}m,mode=755", "tmpfs", str(self.folder)]
        try:
            self.mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
        except OSError:
            self.mounted = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.mounted:
            # Lazily: a server that is slow to end may still have files open there.
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)

    def fill(self) -> int:
        """Takes all the room there is; how many bytes that was."""
        taken = 0
        with self._filler.open("ab", buffering=0) as out:
            size = PIECE
            while size:
                try:
                    taken += out.write(bytes(size))
                except OSError:
                    size //= 2
        return taken

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)
