"""Peers in environments of their own under `.tape/bench-peers`, and their works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from scripts.bench.market import ETH, MARKETS, TRADES, TRADES_PATH, XAU
from scripts.bench.peers.catalogue import PEERS, Peer, Variant
from scripts.bench.work import ROOT, Work

HOME = ROOT / ".tape" / "bench-peers"
INSTALL_S = 900.0
"""The heaviest of them brings half a gigabyte."""


class Absent(Exception):
    """Why a peer is not there, in one sentence."""


def installed(names: Sequence[str], quick: bool, console: Console) -> tuple[list[Work], dict[str, str]]:
    """The works of those that could be installed (`names` empty: of all), and why the others could not."""
    works: list[Work] = []
    absent: dict[str, str] = {}
    known = [peer.name for peer in PEERS]
    for name in names:
        if name not in known:
            absent[name] = f"no peer is called {name!r}; there are {', '.join(known)}"
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        try:
            with console.status(f"installing {peer.name}"):
                python = ensure(peer)
        except Absent as error:
            absent[peer.name] = str(error)
        else:
            works += [work for one in peer.variants for work in of_variant(peer, one, python, quick)]
    return works, absent


def of_variant(peer: Peer, variant: Variant, python: Path, quick: bool) -> Iterator[Work]:
    """One work a market. Its oracle does not bind: a peer that fills otherwise is shown with its own figures."""
    script = Path(__file__).parent / peer.script
    for name in variant.markets:
        if quick and name not in (ETH.name, TRADES):
            continue
        path = TRADES_PATH if name == TRADES else MARKETS[name].path
        rounds_max = 1 if peer.slow and name == XAU.name else None
        oracle = None if name == TRADES else variant.oracles.get(name, MARKETS[name].oracle)
        argv = (str(python), str(script), str(path), *variant.argv)
        env = {"NUMBA_CACHE_DIR": str(HOME / peer.name / "numba")}
        yield Work(
            f"{variant.name} {name}", argv, oracle, binding=False, timeout_s=300.0, rounds_max=rounds_max, env=env
        )


def ensure(peer: Peer) -> Path:
    """The interpreter of the peer's environment, made unless it is there with the same pins. Raises Absent."""
    folder = HOME / peer.name
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    pins = "\n".join(peer.requirements)
    if mark.exists() and mark.read_text().startswith(pins):
        return python
    base = interpreter(peer)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _step(peer, (str(base), "-m", "venv", str(folder)))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--quiet")
    _step(peer, (*pip, "install", "--prefer-binary", *peer.requirements))
    frozen = _step(peer, (*pip, "freeze"))
    mark.write_text(f"{pins}\n\n{frozen}")
    return python


def _step(peer: Peer, argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise Absent(f"installing {peer.name} took longer than {INSTALL_S:g} s") from late
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise Absent(f"{peer.name} cannot be installed: {' '.join(last)[-600:]}")
    return done.stdout


def interpreter(peer: Peer) -> Path:
    """The first Python that the peer runs on, this one before others. Raises Absent."""
    for path in _interpreters():
        minor = _minor(path)
        if minor is not None and peer.python <= minor <= peer.python_max:
            return path
    raise Absent(
        f"{peer.name} needs Python 3.{peer.python} to 3.{peer.python_max}, and there is none on PATH or under pyenv"
    )


def _interpreters() -> Iterator[Path]:
    yield Path(sys.executable)
    for minor in range(11, 15):
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/*/bin/python"))


def _minor(python: Path) -> int | None:
    """None where it is no Python 3 that runs: a pyenv shim without a version behind it, for one."""
    ask = "import sys; sys.stdout.write('%d %d' % sys.version_info[:2])"
    done = subprocess.run((str(python), "-c", ask), capture_output=True, text=True, check=False)
    major, _, minor = done.stdout.partition(" ")
    return int(minor) if done.returncode == 0 and major == "3" else None
