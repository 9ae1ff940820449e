"""Many patterns at once: which of them a subject falls under, without asking each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from . import subjects

T = TypeVar("T")

_KNOWN_MAX = 65_536  # answers kept; a tape has some kinds of message for each of some thousand actors


class PatternIndex(Generic[T]):
    """Values filed under patterns; `find` gives those whose pattern a message's `<actor>.<kind>` falls under.

    Patterns that name an actor, which are nearly all, are found by that name; only those with a wildcard before their
    last token are asked one by one. Each value comes once, in the order in which the values were given.
    """

    def __init__(self, filed: Iterable[tuple[str, T]]) -> None:
        self._named: dict[str, list[tuple[int, str]]] = {}
        self._loose: list[tuple[int, str]] = []
        self._values: list[T] = []
        self._known: dict[tuple[str, str], tuple[T, ...]] = {}
        for number, (pattern, value) in enumerate(filed):
            self._values.append(value)
            actor = pattern.rpartition(".")[0]
            wild = not actor or "*" in actor or ">" in actor
            (self._loose if wild else self._named.setdefault(actor, [])).append((number, pattern))

    def find(self, actor: str, kind: str) -> tuple[T, ...]:
        found = self._known.get((actor, kind))
        if found is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            found = self._search(actor, kind)
            if len(actor) + len(kind) <= subjects.NAMES_MAX:
                self._known[actor, kind] = found
        return found

    def _search(self, actor: str, kind: str) -> tuple[T, ...]:
        asked, name = list(self._loose), actor
        while name:  # `a.b.>` holds for all below a.b as well
            asked += self._named.get(name, ())
            name = name.rpartition(".")[0]
        fitting = sorted(number for number, pattern in asked if subjects.matches(pattern, actor, kind))
        found: list[T] = []
        for number in fitting:
            if all(self._values[number] is not value for value in found):
                found.append(self._values[number])
        return tuple(found)
