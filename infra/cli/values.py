"""Times, durations, numbers and names, as people write and read them. Times are UTC."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from infra.cli.exits import Failure

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration(text: str) -> float:
    """Seconds of `30s`, `5m`, `1h30m` or `250ms`. Raises Failure."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text.strip())
    seconds = sum(float(count) * _UNITS[unit] for count, unit in parts)
    if not parts or "".join(count + unit for count, unit in parts) != text.strip() or seconds <= 0:
        raise Failure(f"{text!r} is not a duration: write a number and a unit, as in 30s, 5m, 2h or 1h30m")
    return seconds


def moment(text: str) -> int:
    """Microseconds UTC of an ISO date or time; without a zone it is UTC. Raises Failure."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Failure(
            f"{text!r} is not a time: write it as 2026-01-31 or 2026-01-31T14:30 (UTC, unless it states a zone)"
        ) from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return (found - _EPOCH) // timedelta(microseconds=1)


def clock(ts: int | None) -> str:
    """`2026-01-31 14:30:05`, with as many decimals as there are; `-` where there is no time."""
    if not ts:
        return "-"
    try:
        at = _EPOCH + timedelta(microseconds=ts)
    except OverflowError:
        return f"{ts} µs"
    fraction = f".{at.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction}"


def number(value: float | Decimal | None, places: int | None = None) -> str:
    """With thousands separated; `places` None: as many decimals as it has, at most 8."""
    if value is None:
        return "-"
    if places is not None:
        return f"{value:,.{places}f}"
    text = f"{value:,.8f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float | Decimal, places: int = 2) -> str:
    return f"{value:+,.{places}f}"


def size(count: int) -> str:
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def named(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is known. Raises Failure with the nearest known one."""
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names[:12]) or 'none'}"
    raise Failure(f"there is no {what} {name!r}; {hint}")
