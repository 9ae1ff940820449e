"""Words of the command line that need no checking are taken as they are.

Typer has pydantic convert every value, which takes longer to load than most commands take. Here texts and paths are
what was typed; other values (numbers) still go there, where they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

_KINDS: dict[Any, Callable[[str], Any]] = {str: str, Path: Path, list[str]: str, list[Path]: Path}


class Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


def _plain(params: Iterable[Any]) -> Iterable[Any]:
    for one in params:
        # No public seam of Typer: where it is gone, Typer converts all by itself, as before.
        given = getattr(one, "get_runtime_param", None)
        if given is not None and not isinstance(getattr(given, "__self__", None), _Plain):
            one.get_runtime_param = _Plain(given).itself
    return params


class _Plain:
    def __init__(self, given: Callable[[], Any]) -> None:
        self._given = given

    def itself(self) -> _Plain:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter, of any type, from what was typed or its default."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        if isinstance(value, int) and value == param.default:
            return value
        kind = _KINDS.get(param.type_descriptor.annotation)
        if kind is None or (many and isinstance(value, str)):
            return self._given().coerce(value, param=param, ctx=ctx)
        return [kind(one) for one in value] if many else kind(value)
