"""What mutations start from, and values that are rarely right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.histories import files

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "facts"

Json = dict[str, Any]


class Mutant(NamedTuple):
    """`how` it was made, where it goes, and how many mutated facts are in it."""

    how: str
    actor: str
    kind: str
    body: bytes
    facts: int = 1
    headers: bytes = b""


class Corpus:
    """What mutations start from."""

    def __init__(self) -> None:
        self.facts: list[Json] = [json.loads(path.read_bytes()) for path in sorted(GOLDEN.glob("*.json"))]
        self.tags = sorted({fact["type"] for fact in self.facts})
        lines = [line for name in files.names() for line in files.read(name)]
        self.messages = [line.body.encode("latin-1") for line in lines if line.actor.startswith(("feed", "command"))]
        self.others = [line.body.encode("latin-1") for line in lines if not line.actor.startswith(("feed", "command"))]


NUMBERS: tuple[Any, ...] = (
    0, -1, 1, -0.0, 5e-324, 1e-300, 1.7e308, -1.7e308, 1e15, 1.0000001e15, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    2**64, 10**40, 10**300, float("nan"), float("inf"), float("-inf"), 0.1, 1e18, 1.1e18,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, "", "0", "NaN", "-1", "1e5", [], {}, [1], {"type": "candle/1"}, [[]], "\x00", "\u202e", "é" * 40,
    "😀" * 20, "\ufeff", "null", "1m", "1s", "*", ">", "a.b", "x" * 5_000, "\\", '"', "\r\n", "١٢", 10**20, 1e999,
)  # fmt: skip
