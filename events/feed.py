"""Messages from outside: what a feed gateway, an importer or an operator puts on the tape."""

from __future__ import annotations

from . import subjects
from .codec import Codec
from .control import ActorClaimed
from .decision import Decision, digest_of
from .fact import Fact

_codec = Codec()


def observed(actor: str, ts: int, *facts: Fact) -> Decision:
    """A message without a cause. Its id names the actor and the content, so the same content is the same message."""
    bare = Decision("", 0, "", ts, facts)
    return Decision(_codec.content_id(actor, bare), 0, "", ts, facts)


def command(fact: Fact, ts: int) -> Decision:
    return observed(subjects.COMMAND, ts, fact)


def claimed(actor: str, epoch: int, writer: str, version: str) -> Decision:
    """A writer's claim on an actor. Its id follows from who claims with what, so that no byte of it can be changed."""
    name = f"{writer} {version}" if version else writer
    return Decision(digest_of(name.encode()), 0, "", 0, (ActorClaimed(actor, epoch, writer, version),))
