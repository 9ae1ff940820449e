import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.services", "tests.timescale", "tests.s3"]

# The same examples in every run: what fails has been changed. HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

LONG = ("session", "simulation", "contract")
"""Folders whose files take a minute or more: begun first, so that none of them is what all wait for in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=place)
