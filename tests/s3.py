"""A server that speaks S3, for tests: `s3_store`, moto on loopback in an environment of its own.

moto needs a python-dateutil that does not go with the pins of this project, so it is not installed beside it but once
(half a minute) below `.tape/cache/s3`. TICKERTAPE_S3_SERVER names another `moto_server` program.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("moto[s3]==5.1.18", "flask==3.1.2", "flask-cors==6.0.1")
CACHE = Path(__file__).parents[1] / ".tape" / "cache" / "s3"
_INSTALL_PATIENCE_S = 300.0  # some twenty packages from an index that may be far away
_START_PATIENCE_S = 60.0  # a second on an idle machine
BUCKET = "tapes"


@pytest.fixture(scope="session")
def s3_store() -> Iterator[str]:
    """`host:port` of a store with the bucket BUCKET that takes any credentials."""
    try:
        program = _program()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no S3 server: moto cannot be installed here ({type(error).__name__}); see tests/s3.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        _wait(process, f"http://127.0.0.1:{port}/{BUCKET}")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _program() -> str:
    if named := os.environ.get("TICKERTAPE_S3_SERVER"):
        return named
    program = CACHE / "bin" / "moto_server"
    if not (CACHE / "whole").exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(CACHE, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE], check=True, capture_output=True, timeout=60)
        pip = [CACHE / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(pip, check=True, capture_output=True, timeout=_INSTALL_PATIENCE_S, cwd=tempfile.gettempdir())
        (CACHE / "whole").touch()
    return str(program)


def _wait(process: subprocess.Popen[bytes], bucket: str) -> None:
    """Until the server has made the bucket."""
    deadline = time.monotonic() + _START_PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(urllib.request.Request(bucket, method="PUT"), timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the S3 server did not start")
