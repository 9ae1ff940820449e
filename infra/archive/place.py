"""Where an archive stands: a local folder or S3, both through Arrow. A file is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .model import ArchiveDamaged, ArchiveError, Part, check_order, decoded

_COPY_BYTES = 8 << 20
_OPTIONS = ("endpoint", "region", "scheme")
_CONNECT_S = 5.0  # a store that answers at all does so in well under a second
_ATTEMPTS = 4  # of a request to S3, with the client's growing pauses: some seconds in all
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Place:
    """The archive of one tape below a location: a folder, or `s3://bucket/prefix`.

    S3 takes `?endpoint=http://host:port&region=...` for stores other than Amazon's; credentials come from where the
    AWS clients look for them (environment, profile, instance) and nowhere else. Raises ArchiveError.
    """

    def __init__(self, location: str, tape: str) -> None:
        self.location, self.tape = location, tape
        if location.startswith("s3://"):
            self._system, root = _s3(location)
            self._local: Path | None = None
        elif "://" in location:
            raise ArchiveError(f"the archive {location!r} is neither a folder nor an s3:// address")
        else:
            from pyarrow.fs import LocalFileSystem

            self._system = LocalFileSystem()
            self._local = Path(location).expanduser().absolute() / tape
            root = str(self._local.parent)
            self.location = root
        self._root = f"{root}/{tape}"

    def __str__(self) -> str:
        return f"{self.location.partition('?')[0]}/{self.tape}"

    def parts(self) -> list[Part]:
        """All manifests in order, none where there is no archive yet. Raises ArchiveDamaged."""
        names = sorted(name for name in self.names() if name.endswith(".json"))
        found = [decoded(self.read(name), name) for name in names]
        check_order(found, str(self), self.tape)
        return found

    def names(self) -> list[str]:
        from pyarrow.fs import FileSelector, FileType

        with self._told("list"):
            found = self._system.get_file_info(FileSelector(self._root, allow_not_found=True))
            return [one.base_name for one in found if one.type == FileType.File]

    def read(self, name: str) -> bytes:
        with self._told(f"read {name} of"), self._system.open_input_stream(f"{self._root}/{name}") as file:
            data: bytes = file.read()
            return data

    def write(self, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / name
            made.write_bytes(data)
            self.put(made)

    def put(self, made: Path) -> None:
        """Copies a finished file in under its own name; it is seen when it is whole, and not lost by a power cut."""
        with self._told(f"write {made.name} into"):
            if self._local is not None:
                _copy_in(made, self._local)
                return
            # An upload that does not come to its end leaves no object.
            with self._system.open_output_stream(f"{self._root}/{made.name}") as target, made.open("rb") as source:
                shutil.copyfileobj(source, target, _COPY_BYTES)

    @contextmanager
    def fetched(self, part: Part) -> Iterator[tuple[Path, str]]:
        """(a local file with what stands there for the part, its BLAKE2b). Raises ArchiveDamaged where none does."""
        with ExitStack() as stack:
            if self._local is not None:
                path = self._local / part.file
                if not path.is_file():
                    self._missing(part)
            else:
                path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tape-archive-"))) / part.file
                self._download(part, path)
            with self._told(f"read {part.file} of"):
                hashed = file_hash(path)
            yield path, hashed

    @contextmanager
    def trusted(self, part: Part) -> Iterator[Path]:
        """A local file that is the part's, hash for hash. Raises ArchiveDamaged."""
        with self.fetched(part) as (path, hashed):
            if hashed != part.hash:
                raise ArchiveDamaged(
                    f"{self}/{part.file} is not what was sealed: its hash is another; `tape check` finds the message",
                    part.first,
                )
            yield path

    def _download(self, part: Part, path: Path) -> None:
        try:
            with self._system.open_input_stream(f"{self._root}/{part.file}") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)
        except FileNotFoundError:
            self._missing(part)
        except OSError as error:
            raise self._error(f"read {part.file} of", error) from None

    def _missing(self, part: Part) -> None:
        raise ArchiveDamaged(f"{self}/{part.file} is missing: {part.first} to {part.last}", part.first) from None

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # Arrow's errors of S3 are that as well
            raise self._error(doing, error) from None

    def _error(self, doing: str, error: OSError) -> ArchiveError:
        text = " ".join(str(error).split())
        for name in _SECRETS:
            if secret := os.environ.get(name):
                text = text.replace(secret, "***")
        return ArchiveError(f"cannot {doing} the archive {self}: {text[:300]}")


def file_hash(path: Path) -> str:
    whole = blake2b(digest_size=32)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_COPY_BYTES):
            whole.update(chunk)
    return whole.hexdigest()


def _s3(location: str) -> tuple[Any, str]:
    parts = urlsplit(location)
    if "@" in parts.netloc:
        raise ArchiveError("the archive's address holds credentials: take them out, and set them in the environment")
    options = dict(parse_qsl(parts.query))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ArchiveError(f"the archive's address has the option {unknown[0]!r}; known are {', '.join(_OPTIONS)}")
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    endpoint = options.get("endpoint", os.environ.get("AWS_ENDPOINT_URL", ""))
    scheme, _, host = endpoint.rpartition("://")
    system = S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or options.get("scheme") or "https",
        region=options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        connect_timeout=_CONNECT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )
    return system, (parts.netloc + parts.path).rstrip("/")


def _copy_in(made: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{made.name}.new"
    with made.open("rb") as source, fresh.open("wb") as target:
        shutil.copyfileobj(source, target, _COPY_BYTES)
        target.flush()
        os.fsync(target.fileno())
    fresh.replace(folder / made.name)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
