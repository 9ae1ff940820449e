"""What an operator commands: the kill switch, latched until it is released, and the end of a session."""

from __future__ import annotations

from events.control import ReleaseTrading, RestrictTrading, StopSession, TradingReleased, TradingRestricted

from .book import CHILDREN, LEVELS
from .sheet import Sheet

_CANCELS: dict[str, tuple[str, ...]] = {
    "no-new-risk": (),
    "close-only": ("entry",),
    "cancel-all": ("entry", "exit", *CHILDREN),
    "flatten": ("entry",),
}


def on_restrict(sheet: Sheet, command: RestrictTrading) -> None:
    """An unknown level is taken for `close-only`: wrong spelling must not let risk through, nor sell anything.

    A lower level than the one in force is recorded and does nothing: what was placed since then stays.
    """
    asked = command.level if command.level in _CANCELS else "close-only"
    level = max(asked, sheet.state.restricted, key=LEVELS.index)
    sheet.emit(TradingRestricted(sheet.account, sheet.ts, level, command.reason))
    if level != asked:
        return
    for bot in sheet.rules.bots:
        if _CANCELS[level]:
            sheet.cancel_all(bot, level, *_CANCELS[level])
        if level == "flatten":
            sheet.close(bot)


def on_release(sheet: Sheet, command: ReleaseTrading) -> None:
    if sheet.state.restricted:
        sheet.emit(TradingReleased(sheet.account, sheet.ts, command.reason))


def on_stop(sheet: Sheet, command: StopSession) -> None:
    """Working entries are what nobody would watch; exits and brackets only ever take risk away, and stay."""
    if command.orders == "cancel":
        for bot in sheet.rules.bots:
            sheet.cancel_all(bot, "session-stopped", "entry")
