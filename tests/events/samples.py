"""One fixed value of every fact in the catalogue, and the file that holds its bytes."""

from __future__ import annotations

import typing
from decimal import Decimal
from pathlib import Path
from typing import Any

from events.fact import Fact, tag

FOLDER = Path(__file__).parents[1] / "golden" / "facts"

_BY_NAME: dict[str, Any] = {
    "venue": "binance",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "ts": 1_700_000_040_000_000,
    "side": "buy",
    "rows": 1,
    "bids": ((100.5, 1.25), (100.25, 3.0)),
    "asks": ((100.75, 0.5),),
    "plan": {"bots": [{"name": "ema", "fast": 12}], "seed": 7},
    "params": {"fast": 12, "slow": 26, "factor": 1.5},
    "reasons": ("ema 12 above 26", 'ünïcode "quoted"'),
}
_BY_TYPE: dict[type, Any] = {
    str: "some text",
    int: 42,
    float: 100.125,
    bool: True,
    bytes: bytes(range(8)),
    Decimal: Decimal("1234.50000"),
}


def sample(fact: type[Fact]) -> Fact:
    """A value with every field set to something a mix-up would change."""
    hints = typing.get_type_hints(fact)
    return fact(**{name: _value(name, hints[name], place) for place, name in enumerate(fact.__struct_fields__)})


def _value(name: str, hint: Any, place: int) -> Any:
    kinds = [one for one in typing.get_args(hint) if one is not type(None)] or [hint]
    if name in _BY_NAME and kinds[0] is not bytes:
        return _BY_NAME[name]
    found = _BY_TYPE[kinds[0]]
    if kinds[0] is str:
        return f"{name} text"
    return found + place if kinds[0] in (int, float, Decimal) else found


def golden(name: str) -> Path:
    """The file of a tag such as `candle/1`."""
    return FOLDER / f"{name.replace('/', '-')}.json"


def path_of(fact: type[Fact]) -> Path:
    return golden(tag(fact))
