"""Shipped strategies, and how a plan names them or one of the user's own."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .base import FLAT, Position, Strategy, Target
from .breakout import Breakout
from .ema_cross import EmaCross
from .momentum import Momentum

SHIPPED: Mapping[str, type[Strategy]] = {
    "ema-cross": EmaCross,
    "momentum": Momentum,
    "breakout": Breakout,
}

__all__ = ["FLAT", "SHIPPED", "Position", "Strategy", "Target", "create", "find"]


class UnknownStrategy(ValueError):
    """A plan names a strategy that is not there or does not take its parameters."""


def find(name: str) -> type[Strategy]:
    """The class of a shipped name or of `module:Class`. Raises UnknownStrategy with what to write instead."""
    if name in SHIPPED:
        return SHIPPED[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        near = difflib.get_close_matches(name, SHIPPED, n=1)
        hint = f"; the nearest is {near[0]!r}" if near else f"; shipped are {', '.join(SHIPPED)}"
        raise UnknownStrategy(f"no strategy is called {name!r}{hint}; your own is written 'module:Class'")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownStrategy(f"strategy {name!r} cannot be imported: {error}") from error
    except Exception as error:  # whatever the user's module does when it is read
        raise UnknownStrategy(f"strategy {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise UnknownStrategy(f"strategy {name!r} is no subclass of actors.strategies.Strategy")
    return found


def create(name: str, params: Mapping[str, Any]) -> Strategy:
    """A fresh strategy. Raises UnknownStrategy where it refuses the parameters."""
    kind = find(name)
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        raise UnknownStrategy(f"strategy {name!r} does not take {dict(params)}: {error}") from error
