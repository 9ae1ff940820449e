"""Once unreadable, unreadable: what a symbol's actor could not read stays so, whatever codecs have learnt since.

Who reads the tape again must hear what was heard then. A retry out of quarantine says it anew.
"""

from __future__ import annotations

from events.codec import Codec, MalformedFact, unreadable
from events.control import CUT, Quarantined, Unreadable
from events.decision import Decision, Recorded

REFUSED = "market.*.*.quarantined"
_NOBODY_ASKED = 2**63


class Refused:
    """Decodes messages; told of what was refused. It keeps those only that today's codec would read: few, if any."""

    def __init__(self) -> None:
        self._codec = Codec()
        self._words: dict[int, str] = {}
        self.since = _NOBODY_ASKED
        """It has been told of all refusals on the tape after this sequence; nobody refuses what is yet to come."""

    def __contains__(self, seq: int) -> bool:
        return seq in self._words

    def __len__(self) -> int:
        return len(self._words)

    def note(self, entry: Recorded) -> None:
        fact = entry.decision.facts[0]
        if isinstance(fact, Quarantined) and fact.reason == "unreadable":
            words, cut, _ = fact.detail.partition(CUT)
            if cut or self._readable(fact.raw):
                self._words[entry.decision.cause] = words

    def _readable(self, raw: bytes) -> bool:
        try:
            self._codec.decode(raw)
        except MalformedFact:
            return False
        return True

    def decision(self, seq: int, subject: str, data: bytes) -> Decision:
        """What the message says, or said then."""
        decision = self._codec.decode_or_unreadable(subject, data)
        if self._words and seq in self._words and not isinstance(decision.facts[0], Unreadable):
            return unreadable(subject, self._words[seq], data)
        return decision
