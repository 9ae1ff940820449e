"""The one place that spells subjects: `<tape>.<actor>.<kind>`, where an actor is `<entity>.<id...>`."""

from __future__ import annotations

import re
from functools import cache, lru_cache

NAMES_MAX = 256
"""Characters of a subject of which what was found is kept: strangers make them as long as the server takes."""
_TOKEN = re.compile(r"[A-Za-z0-9_\-]+\Z")


def token(text: str) -> str:
    """Checks that a name can stand in a subject. Raises ValueError with what to write instead."""
    if not _TOKEN.match(text):
        raise ValueError(
            f"{text!r} cannot be used as a name: write letters, digits, '-' and '_' only, as in 'BTC-USDT'"
        )
    return text


@cache
def feed(venue: str, symbol: str) -> str:
    return f"feed.{token(venue)}.{token(symbol)}"


@cache
def market(venue: str, symbol: str) -> str:
    return f"market.{token(venue)}.{token(symbol)}"


@cache
def bot(name: str) -> str:
    return f"bot.{token(name)}"


@cache
def account(name: str) -> str:
    return f"account.{token(name)}"


COMMAND = "command.operator"
SESSION = "session.plan"
SUPERVISOR = "supervisor.session"
ARCHIVE = "archive.seal"
CLAIMED = "actor-claimed"


@cache
def quarantine(source: str) -> str:
    return f"quarantine.{token(source)}"


@lru_cache(maxsize=65_536)
def subject(tape: str, actor: str, kind: str) -> str:
    return f"{tape}.{actor}.{kind}"


def every(tape: str, actor: str) -> str:
    """The wildcard over an actor's own subjects: always this string, for JetStream guards it literally."""
    return f"{tape}.{actor}.>"


def split(full: str) -> tuple[str, str]:
    """(actor, kind) of a subject."""
    return _split(full) if len(full) <= NAMES_MAX else _split.__wrapped__(full)


@lru_cache(maxsize=65_536)
def _split(full: str) -> tuple[str, str]:
    _, _, rest = full.partition(".")
    actor, _, kind = rest.rpartition(".")
    return actor, kind


def matches(pattern: str, actor: str, kind: str) -> bool:
    """Whether `<actor>.<kind>` falls under a pattern with the bus's wildcards (`*` one token, `>` the rest)."""
    short = len(actor) + len(kind) <= NAMES_MAX
    return _matches(pattern, actor, kind) if short else _matches.__wrapped__(pattern, actor, kind)


@lru_cache(maxsize=65_536)
def _matches(pattern: str, actor: str, kind: str) -> bool:
    have = [*actor.split("."), kind]
    want = pattern.split(".")
    for place, wanted in enumerate(want):
        if wanted == ">":
            return len(have) > place
        if place >= len(have) or wanted not in ("*", have[place]):
            return False
    return len(have) == len(want)
