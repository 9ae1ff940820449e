"""The check of what is installed finds what it is for."""

from __future__ import annotations

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from scripts.dependencies import addresses, licences, needed, pins, problems


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Distribution]:
    def one(name: str, *lines: str) -> Distribution:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        said = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines))
        (folder / "METADATA").write_text(said + "\n")
        return PathDistribution(folder)

    return {
        "a": one(
            "a", "License-Expression: MIT", "Requires-Dist: f; extra == 'fast'", "Requires-Dist: s; extra == 'no'"
        ),
        "f": one("f", "Classifier: License :: OSI Approved :: Apache Software License"),
        "t": one("t", "License: BSD-3-Clause", "Requires-Dist: old; python_version < '3'"),
    }


ASKED = ("a[fast]", "t")
PINNED = {"a": "1.0", "f": "1.0", "t": "1.0"}


def test_all_as_pinned_is_well(installed: dict[str, Distribution]) -> None:
    assert needed(ASKED, installed) == {"a", "f", "t"}
    assert problems(PINNED, installed, ASKED) == []
    assert licences(installed["f"]) == ["Apache-2.0"]


def test_everything_else_is_named(installed: dict[str, Distribution], tmp_path: Path) -> None:
    (tmp_path / "f-1.0.dist-info" / "direct_url.json").write_text('{"url": "file:///somewhere/f.whl"}')
    (tmp_path / "t-1.0.dist-info" / "METADATA").write_text("Name: t\nVersion: 1.0\nLicense-Expression: SSPL-1.0\n")
    assert problems({"a": "2.0", "t": "1.0", "u": "1.0"}, installed, ASKED) == [
        "a is installed as 1.0 and pinned at 2.0",
        "f 1.0 is installed and not pinned",
        "f was installed from an address of its own",
        "t: not a licence that was agreed to: 'SSPL-1.0'",
        "u is pinned, and nothing needs it",
        "f is needed, and not pinned",
    ]


@pytest.mark.parametrize("line", ["f @ file:///x/f.whl", "-i file:x", "git+ssh://x/f", "-f /wheels", "--find=file:x"])
def test_lines_that_name_a_place_are_found(line: str, tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text(f"a==1.0\n{line}\n")
    assert len(addresses(path)) == 1
    with pytest.raises(ValueError, match="not `name==version`"):
        pins(path.read_text())
