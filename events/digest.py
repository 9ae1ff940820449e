"""The proof of equality: one hash chain per actor over its canonical decisions, combined in actor order."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from hashlib import blake2b

from .codec import Codec
from .decision import Decision, Recorded


class Digest:
    """Feed it decisions of each actor in that actor's order; how actors interleave makes no difference."""

    def __init__(self, codec: Codec | None = None) -> None:
        self._codec = codec or Codec()
        self._chains: dict[str, blake2b] = {}
        self.decisions = 0

    def add(self, actor: str, decision: Decision) -> None:
        """Messages without a cause (feeds, commands, claims) are inputs, not decisions, and are passed over."""
        if not decision.by:
            return
        body = self._codec.canonical(actor, decision)
        chain = self._chain(actor)
        chain.update(len(body).to_bytes(8, "little"))
        chain.update(body)
        self.decisions += 1

    def add_many(self, actor: str, bodies: bytes, decisions: int) -> None:
        """As `add` for decisions in canonical bytes, each after its length (8 bytes, little-endian)."""
        if decisions:
            self._chain(actor).update(bodies)
            self.decisions += decisions

    def state(self, actor: str) -> bytes:
        """Names all that was hashed of an actor so far."""
        return self._chain(actor).digest()

    def copy(self, actor: str) -> blake2b:
        """An actor's chain as it is now, for `resume`."""
        return self._chain(actor).copy()

    def resume(self, actor: str, chain: blake2b, decisions: int) -> None:
        """Goes on from a chain that has `decisions` more than this one."""
        self._chains[actor] = chain.copy()
        self.decisions += decisions

    def _chain(self, actor: str) -> blake2b:
        chain = self._chains.get(actor)
        if chain is None:
            chain = self._chains[actor] = blake2b(digest_size=16)
        return chain

    def by_actor(self) -> dict[str, str]:
        return {actor: self._chains[actor].hexdigest() for actor in sorted(self._chains)}

    def hexdigest(self) -> str:
        whole = blake2b(digest_size=16)
        for actor, chain in self.by_actor().items():
            whole.update(f"{actor}={chain}\n".encode())
        return whole.hexdigest()


def digest(entries: Iterable[Recorded]) -> str:
    found = Digest()
    for entry in entries:
        found.add(entry.actor, entry.decision)
    return found.hexdigest()


async def digest_of_tape(entries: AsyncIterable[Recorded]) -> str:
    found = Digest()
    async for entry in entries:
        found.add(entry.actor, entry.decision)
    return found.hexdigest()
