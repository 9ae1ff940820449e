"""Style that is a test: the import graph, purity of deciders, sizes, packages."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("events", "actors", "projections", "infra", "scripts", "tests")
LAYERS = ("events", "actors", "projections", "infra")

MAY_IMPORT = {
    "events": {"events"},
    "actors": {"actors", "events"},
    "projections": {"projections", "events"},
    "infra": {"infra", "projections", "actors", "events"},
    "scripts": set(PACKAGES),
    "tests": set(PACKAGES),
}
"""Nothing imports scripts or tests but they themselves."""

LIBRARIES = {
    "events": {"msgspec", "numpy", "blake3"},
    "actors": {"msgspec", "numpy", "numba", "exchange_calendars", "pandas"},
    "projections": {"msgspec", "numpy"},
}
"""What a layer may use besides the standard library; its shell module (below) may use more."""

SHELLS = {"actors/shell.py", "projections/shell.py"}
IMPURE_MODULES = {
    "asyncio", "time", "random", "secrets", "uuid", "os", "socket", "threading", "multiprocessing", "subprocess",
    "select", "tempfile", "shutil", "urllib", "http", "sys",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "hash", "id", "now", "today", "utcnow", "getenv"}
PURE_BUT = {
    # What a module of a pure layer needs from outside all the same, and why.
    "events/memory.py": {"asyncio"},  # a tape is awaited on; this one only wakes its followers
    "projections/batches.py": {"asyncio"},  # what follows a tape gathers while a batch is written
    "actors/calendars/weekly.py": {"urllib", "open"},  # the pinned tzdata wheel, read once; parses a calendar's name
    "actors/strategies/__init__.py": {"sys"},  # finds a user's strategy by name, before anything is decided
}


def files(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level name) of every absolute import."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_import_graph(package: str) -> None:
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in files(package)
        for line, name in imported(path)
        if name in PACKAGES and name not in MAY_IMPORT[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(LIBRARIES))
def test_pure_layers_use_few_libraries(package: str) -> None:
    allowed = LIBRARIES[package] | set(PACKAGES) | set(sys.stdlib_module_names)
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in files(package)
        if relative(path) not in SHELLS
        for line, name in imported(path)
        if name not in allowed
    ]
    assert not wrong


def impure(path: Path) -> Iterator[str]:
    allowed = PURE_BUT.get(relative(path), set())
    for line, name in imported(path):
        if name in IMPURE_MODULES - allowed:
            yield f"{relative(path)}:{line} imports {name}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if called in IMPURE_CALLS - allowed:
                yield f"{relative(path)}:{node.lineno} calls {called}()"
        if isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            yield f"{relative(path)}:{node.iter.lineno} iterates over a set, whose order is not fixed"


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset")
    return isinstance(node, ast.Set | ast.SetComp)


def test_deciders_and_facts_have_no_clock_no_chance_and_no_io() -> None:
    pure = [path for path in files("events", "actors", "projections") if relative(path) not in SHELLS]
    wrong = [problem for path in pure for problem in impure(path)]
    assert not wrong


def test_the_purity_check_finds_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text("import time\nx = datetime.now()\nfor a in {1, 2}:\n    hash(a)\n")
    assert len(list(impure(bad))) == 4


def test_files_and_functions_are_short() -> None:
    wrong = []
    for path in files(*PACKAGES):
        lines = len(path.read_text().splitlines())
        if lines > (400 if relative(path).partition("/")[0] in LAYERS else 600):
            wrong.append(f"{relative(path)} has {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    wrong.append(f"{relative(path)}:{node.lineno} {node.name} has {length} lines")
    assert not wrong


def test_every_folder_with_code_is_a_package() -> None:
    wrong = {relative(path.parent) for path in files(*PACKAGES) if not (path.parent / "__init__.py").exists()}
    assert not wrong


def test_no_other_distribution_provides_our_names() -> None:
    found = packages_distributions()
    wrong = {name: found[name] for name in LAYERS if set(found.get(name, ["tickertape"])) != {"tickertape"}}
    assert not wrong


def test_the_top_level_is_what_it_is() -> None:
    allowed = {*PACKAGES, "pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md"}
    here = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ignored = {name for name in here if name.endswith(".egg-info") or name in ("reports", "build", "dist")}
    assert here - ignored <= allowed
