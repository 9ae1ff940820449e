"""The kill switch: each level holds what the ones before it hold, is latched, and only a release lifts it."""

from __future__ import annotations

from events.control import ReleaseTrading, RestrictTrading, TradingReleased, TradingRestricted

from .book import CHILDREN, LEVELS
from .sheet import Sheet

_CANCELS: dict[str, tuple[str, ...]] = {
    "no-new-risk": (),
    "close-only": ("entry",),
    "cancel-all": ("entry", "exit", *CHILDREN),
    "flatten": ("entry",),
}


def on_restrict(sheet: Sheet, command: RestrictTrading) -> None:
    """An unknown level is taken for `close-only`: wrong spelling must not let risk through, nor sell anything."""
    asked = command.level if command.level in _CANCELS else "close-only"
    level = max(asked, sheet.state.restricted, key=LEVELS.index)
    sheet.emit(TradingRestricted(sheet.account, sheet.ts, level, command.reason))
    for bot in sheet.rules.bots:
        if _CANCELS[level]:
            sheet.cancel_all(bot, level, *_CANCELS[level])
        if level == "flatten":
            sheet.close(bot)


def on_release(sheet: Sheet, command: ReleaseTrading) -> None:
    if sheet.state.restricted:
        sheet.emit(TradingReleased(sheet.account, sheet.ts, command.reason))
