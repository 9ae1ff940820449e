"""What a snapshot depends on besides the tape: configuration, versions, and the very code that makes the state."""

from __future__ import annotations

import platform
import sys
import sysconfig
from functools import cache
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

import actors
import events
from actors.account import AccountDecider
from actors.bot import BotDecider
from actors.decider import Decider
from actors.strategies import find
from actors.symbol import SymbolDecider

_INSTALLED = tuple(sorted({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}))


def key_of(decider: Decider[Any]) -> str:
    """'' for a decider of which it cannot be said what its state depends on.

    Where strategies of one's own are concerned: their module and all modules of one's own that it uses; of what is
    installed, the version.
    """
    settings = _settings(decider)
    if settings is None:
        return ""
    parts = [decider.actor, str(decider.version), msgspec.json.encode(settings).decode(), _platform(), _code()]
    if isinstance(decider, BotDecider):
        kind = find(decider.plan.strategy)
        parts += [f"{kind.__module__}:{kind.__qualname__}", str(kind.version), _code_of(kind.__module__)]
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def key_of_code(module: str) -> str:
    """For what is folded from a tape by a module alone, without configuration."""
    return blake2b("\0".join((module, _platform(), _code(), _code_of(module))).encode(), digest_size=16).hexdigest()


def _settings(decider: Decider[Any]) -> Any:
    match decider:
        case SymbolDecider():
            return decider.plan, decider.rules.jump
        case AccountDecider():
            return decider.rules
        case BotDecider():
            return decider.plan, decider.door.plan if decider.door is not None else None
    return None


@cache
def _platform() -> str:
    """What reads a pickle has to be what wrote it."""
    return f"{sys.implementation.cache_tag} {platform.machine()} numpy {np.__version__} msgspec {msgspec.__version__}"


@cache
def _code() -> str:
    """Of all deciders and facts: a state holds objects of many of these modules."""
    hashed = blake2b(digest_size=16)
    for package in (actors, events):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            hashed.update(f"{path.relative_to(root.parent)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


@cache
def _code_of(name: str) -> str:
    """Of a module and what it uses, where that is not of this project."""
    hashed, seen, waiting = blake2b(digest_size=16), {""}, [name]
    while waiting:
        waiting.sort(reverse=True)
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in seen or module is None or name.partition(".")[0] in ("actors", "events"):
            continue
        seen.add(name)
        source = getattr(module, "__file__", None)
        if source is None or source.startswith(_INSTALLED):
            hashed.update(f"{name} {getattr(module, '__version__', '')}\0".encode())
        else:
            hashed.update(f"{name}\0".encode() + Path(source).read_bytes())
            waiting += _used(module)
    return hashed.hexdigest()


def _used(module: ModuleType) -> list[str]:
    """The modules that its names come from."""
    return [one.__name__ if isinstance(one, ModuleType) else _home(one) for one in vars(module).values()]


def _home(thing: Any) -> str:
    named = thing if isinstance(thing, type) or callable(thing) else type(thing)
    name = getattr(named, "__module__", None)
    return name if isinstance(name, str) else ""
