"""From a path to the bytes of its one data file: plain, gzip or zip, with a bound on what is unpacked."""

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Protocol

import msgspec

from infra.importers.model import ImportError_

CHUNK = 1 << 20
# What unpacking raises of damaged files, by any method a zip may name.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, gzip.BadGzipFile)
# Repetitive market text packs about 5 to 100 times; beyond this, past 64 MiB, a file is a bomb or damaged.
RATIO_MAX = 300
RATIO_FROM = 64 << 20
HEAD_BYTES = 64 * 1024
TEXT_SUFFIXES = (".csv", ".txt", ".json", ".prn", ".tsv", ".feather", ".parquet")


class Source(msgspec.Struct, frozen=True):
    """data: the unpacked bytes. name: the file inside the archive, or the file's own name without .gz."""

    path: Path
    name: str
    data: bytes
    notes: tuple[str, ...] = ()

    def head(self) -> bytes:
        return self.data[:HEAD_BYTES]

    def lines(self) -> list[str]:
        """Whole lines of the first 64 KiB (after a first line longer than that), without line ends and blank lines."""
        head, begin = self.head(), 0
        if b"\n" not in head:
            begin = self.data.find(b"\n") + 1
            head = self.data[begin : begin + HEAD_BYTES]
        if len(self.data) > begin + len(head):
            head = head[: head.rfind(b"\n") + 1]
        return [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]


def open_source(path: Path, bytes_max: int) -> Source:
    """Errors: ImportError_ for a path that is missing, no file, empty, unreadable, corrupt or too large."""
    size = size_of(path)
    if size > bytes_max:
        raise ImportError_(f"{path} has {size:,} bytes, more than the limit of {bytes_max:,}: split the file.")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            name, data = _unpacked(path, file, magic, size, bytes_max)
    except ImportError_:
        raise
    except DAMAGED as error:
        what = f"{path} is corrupt ({error}): get the file again."
        raise ImportError_(what) from error
    except (OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ImportError_(f"{path} cannot be read ({error}): check the file and its permissions.") from error
    if not data[:CHUNK].strip():
        raise ImportError_(f"{path} holds no data ({name} is empty): nothing to import.")
    data, notes = _as_utf8(path, data)
    return Source(path=path, name=name, data=data, notes=notes)


def size_of(path: Path) -> int:
    try:
        if path.is_dir():
            raise ImportError_(f"{path} is a directory: name the files in it one by one.")
        if not path.exists():
            raise ImportError_(f"{path} does not exist: check the path.")
        if not path.is_file():
            raise ImportError_(f"{path} is not a regular file: copy its content into one first.")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise ImportError_(f"{path!s} cannot be read ({error}): check the path and its permissions.") from error
    if size == 0:
        raise ImportError_(f"{path} is empty: nothing to import.")
    return size


def _unpacked(path: Path, file: IO[bytes], magic: bytes, size: int, bytes_max: int) -> tuple[str, bytes]:
    if magic[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=file) as packed:
            return path.name.removesuffix(".gz"), _bounded(path, packed, size, bytes_max)
    if magic == b"PK\x03\x04" or path.suffix.lower() == ".zip":
        with zipfile.ZipFile(file) as archive:
            member = _member(path, archive)
            with archive.open(member) as packed:
                return Path(member.filename).name, _bounded(path, packed, member.compress_size, bytes_max)
    return path.name, file.read(bytes_max)


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
    for suffixes in ((".csv",), TEXT_SUFFIXES):
        chosen = [m for m in files if m.filename.lower().endswith(suffixes)]
        if len(chosen) == 1:
            return chosen[0]
        if len(chosen) > 1:
            names = ", ".join(m.filename for m in chosen[:3])
            raise ImportError_(f"{path} holds {len(chosen)} data files ({names}, ...): unpack it and import each.")
    if len(files) == 1:
        return files[0]
    raise ImportError_(f"{path} holds no data file that can be told from {len(files)} members: unpack it first.")


def opened(path: Path, stack: ExitStack) -> tuple[str, IO[bytes]]:
    """The data file as a stream that `stack` closes, and its name. Raises what `zipfile` and `gzip` raise."""
    file = stack.enter_context(path.open("rb"))
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return path.name.removesuffix(".gz"), stack.enter_context(gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]
    if magic == b"PK\x03\x04" or path.suffix.lower() == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(file))
        member = _member(path, archive)
        return Path(member.filename).name, stack.enter_context(archive.open(member))
    return path.name, file


class Packed(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _bounded(path: Path, packed: Packed, packed_size: int, bytes_max: int) -> bytes:
    out = io.BytesIO()
    while chunk := packed.read(CHUNK):
        out.write(chunk)
        total = out.tell()
        if total > bytes_max:
            raise ImportError_(f"{path} unpacks to more than the limit of {bytes_max:,} bytes: split the file.")
        if total > RATIO_FROM and total > RATIO_MAX * max(packed_size, 1):
            ratio = f"more than {RATIO_MAX} times its size"
            raise ImportError_(f"{path} unpacks to {ratio}, which no market file does: get the file again.")
    return out.getvalue()


def _as_utf8(path: Path, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Without byte order mark; UTF-16 (some terminal exports) becomes UTF-8."""
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:], ()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").encode(), ("text was UTF-16; kept bytes of rejected rows are UTF-8",)
        except UnicodeError as error:
            raise ImportError_(f"{path} begins as UTF-16 but is not ({error}): save it as UTF-8.") from error
    return data, ()
