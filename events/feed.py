"""Messages from outside: what a feed gateway, an importer or an operator puts on the tape."""

from __future__ import annotations

from . import subjects
from .codec import Codec
from .decision import Decision, digest_of
from .fact import Fact

_codec = Codec()


def observed(actor: str, ts: int, *facts: Fact) -> Decision:
    """A message without a cause. Its id names the actor and the content, so the same content is the same message."""
    bare = Decision("", 0, "", ts, facts)
    return Decision(digest_of(_codec.canonical(actor, bare)), 0, "", ts, facts)


def command(fact: Fact, ts: int) -> Decision:
    return observed(subjects.COMMAND, ts, fact)
