"""Where the recorded market data lies that tests read; nothing of it is in the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TICKERTAPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def path(name: str) -> Path:
    """The file of that name in the fixture directory; skips the test, saying so, where it is absent."""
    found = ROOT / name
    if not found.exists():
        pytest.skip(f"no recorded data {name} under {ROOT} (set TICKERTAPE_DATA)")
    return found
