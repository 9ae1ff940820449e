"""What is installed is what is pinned, needed, and licensed as this project can use it. `make check` runs it, offline.

Known vulnerabilities are another matter, for which a service has to be asked: `make audit`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "infra" / "pins"
OURS = "tickertape"
EXTRAS = ("test",)
BY_HAND = ("ml",)  # pinned in pyproject.toml; what it brings along depends on the machine's accelerator
TOOLS = {"pip", "setuptools", "wheel"}  # what an environment comes with; nothing here uses them when it runs

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
    "LGPL-3.0-only",  # used as a library, unchanged
    "MPL-2.0",  # binds changes to its own files only
}  # fmt: skip
SAID_OTHERWISE = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SAID_NOWHERE = {"ta-lib": "BSD-2-Clause"}  # its licence is in a file only
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_PLACES = re.compile(r"://|\s@\s|\bgit\+|^-")  # an option on a line of its own says where to look


def pins(text: str) -> dict[str, str]:
    """Version by canonical name. Raises ValueError for a line that is no pin."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        plain = line.partition("#")[0].strip()
        if not plain:
            continue
        if (one := _PIN.fullmatch(plain)) is None:
            raise ValueError(f"not `name==version`: {line!r}")
        found[canonicalize_name(one[1])] = one[2]
    return found


def needed(wanted: Iterable[str], installed: Mapping[str, Distribution]) -> set[str]:
    """Canonical names of all that these requirements lead to here, at any remove."""
    found: set[str] = set()
    waiting = [(Requirement(text), "") for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one, extra = waiting.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        found.add(name)
        for asked in {(name, other) for other in ("", *one.extras)} - seen:
            seen.add(asked)
            texts = (installed[name].requires if name in installed else None) or []
            waiting += [(Requirement(text), asked[1]) for text in texts]
    return found


def ours(*extras: str) -> list[str]:
    """What the project itself asks for, by the file: an installed copy of it may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


def licences(one: Distribution) -> list[str]:
    """As SPDX names them, where it can be told."""
    said = _told(one, "License-Expression")
    told = [line.split("::")[-1].strip() for line in one.metadata.get_all("Classifier") or [] if "License ::" in line]
    if not said and told:
        return [SAID_OTHERWISE.get(line, line) for line in told]
    text = (said or _told(one, "License")).strip()
    text = text or SAID_NOWHERE.get(canonicalize_name(one.metadata["Name"]), "")
    return [SAID_OTHERWISE.get(part, part) for part in re.split(r"\s+(?:AND|OR)\s+", text.strip("()"))]


def _told(one: Distribution, name: str) -> str:
    return "".join(one.metadata.get_all(name) or [])


def problems(
    pinned: Mapping[str, str], installed: Mapping[str, Distribution], asked: Iterable[str], by_hand: Iterable[str] = ()
) -> list[str]:
    """One sentence each."""
    found: list[str] = []
    wanted = needed(asked, installed)
    others = TOOLS | {OURS} | (needed(by_hand, installed) - wanted)
    for name, one in sorted(installed.items()):
        if name in others:
            continue
        if name not in pinned:
            found.append(f"{name} {one.version} is installed and not pinned")
        elif pinned[name] != one.version:
            found.append(f"{name} is installed as {one.version} and pinned at {pinned[name]}")
        if (bad := sorted(set(licences(one)) - ALLOWED)) and name in wanted:
            found.append(f"{name}: not a licence that was agreed to: {', '.join(map(repr, bad))}")
        if one.read_text("direct_url.json"):
            found.append(f"{name} was installed from an address of its own")
    found += [f"{name} is pinned, and nothing needs it" for name in sorted(set(pinned) - wanted)]
    found += [f"{name} is needed, and not pinned" for name in sorted(wanted - set(pinned) - others)]
    return found


def addresses(path: Path) -> list[str]:
    """Lines that say where packages come from: that is for the machine's own configuration to say."""
    lines = path.read_text().splitlines()
    return [f"{path.name}:{at}: names a place: {line}" for at, line in enumerate(lines, 1) if _PLACES.search(line)]


def main() -> None:
    pinned = pins((PINS / "constraints.txt").read_text())
    installed: dict[str, Distribution] = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    found = problems(pinned, installed, ours(*EXTRAS), ours(*BY_HAND))
    for path in (PINS / "constraints.txt", PINS / "binaries.txt", ROOT / "pyproject.toml"):
        found += addresses(path)
    sys.stdout.write("".join(f"{one}\n" for one in found) or f"{len(pinned)} pins: installed, needed, licensed\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
