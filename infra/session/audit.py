"""The audit: every decision on a tape derived again from the tape alone, and compared."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.decider import Poison
from actors.lockstep import Router
from actors.plan import Plan
from actors.roster import deciders
from actors.seat import Seat
from events.codec import Codec
from events.control import ActorClaimed, SessionStarted, Unreadable
from events.decision import Decision, Recorded
from events.digest import Digest
from events.feed import claimed
from events.subjects import CLAIMED, SESSION
from events.tape import Tape
from infra.session.thinking import Limit

_NEVER = 2**63 - 1  # beyond every sequence


class NoSession(Exception):
    """The tape holds no plan, so nothing can be derived from it."""


class Difference(msgspec.Struct, frozen=True):
    """Where the tape is not what its own facts lead to: the sequence, the actor, and both sides in words."""

    seq: int
    actor: str
    problem: str
    recorded: str = ""
    derived: str = ""

    def __str__(self) -> str:
        sides = f"\n  recorded: {self.recorded}\n  derived:  {self.derived}" if self.recorded or self.derived else ""
        return f"sequence {self.seq}, {self.actor}: {self.problem}{sides}"


class Verdict(msgspec.Struct, frozen=True):
    """`difference` None: every decision is what its causes lead to. `undecided`: due, but not on the tape yet.

    `taken`: how many of the `decisions` were made by other versions than these, and so were taken, not derived again.
    """

    entries: int
    decisions: int
    undecided: int
    digest: str
    difference: Difference | None
    taken: int = 0


async def plan_on(tape: Tape) -> Plan:
    """The plan recorded on the tape. Raises NoSession."""
    async for entry in tape.read([f"{SESSION}.>"]):
        for fact in entry.decision.facts:
            if isinstance(fact, SessionStarted):
                return msgspec.convert(fact.plan, Plan, strict=False)
    raise NoSession(f"tape {tape.name!r} holds no session: run `tape run` first, or name another tape with --tape")


class Past(msgspec.Struct):
    """What other versions did: of each actor, its claims as (sequence, version) where the version changed, and what
    versions that are not here decided."""

    claims: dict[str, list[tuple[int, str]]] = {}
    decisions: dict[str, list[Recorded]] = {}


async def past_on(tape: Tape, plan: Plan) -> Past:
    """The past of a tape. Reads claims alone, unless another version has been at work."""
    past, versions = Past(), {decider.actor: decider.version for decider in deciders(plan)}
    async for entry in tape.read([f"bot.*.{CLAIMED}", f"account.*.{CLAIMED}", f"market.*.*.{CLAIMED}"]):
        claim = entry.decision.facts[0]
        if isinstance(claim, ActorClaimed) and claim.version and entry.actor in versions:
            changes = past.claims.setdefault(entry.actor, [])
            if not changes or changes[-1][1] != claim.version:
                changes.append((entry.seq, claim.version))
    others = [actor for actor, changes in past.claims.items() if {v for _, v in changes} != {versions[actor]}]
    if others:
        async for own in tape.read([f"{actor}.>" for actor in sorted(others)]):
            if own.decision.by and version_at(past.claims[own.actor], own.seq) != versions[own.actor]:
                past.decisions.setdefault(own.actor, []).append(own)
    return past


def version_at(changes: list[tuple[int, str]], seq: int) -> str:
    """Which version was at work; the first one's inputs may be older than its claim."""
    return next((version for since, version in reversed(changes) if since < seq), changes[0][1])


class Auditor:
    """Shown every entry in order, it says where the tape leaves what its own facts lead to."""

    def __init__(self, plan: Plan, past: Past | None = None) -> None:
        self._codec = Codec()
        self._seats = tuple(Seat(decider) for decider in deciders(plan))
        self._actors = {seat.actor for seat in self._seats}
        self._router = Router(self._seats)
        self._due: dict[str, dict[int, Decision]] = {actor: {} for actor in self._actors}
        self._epochs: dict[str, int] = {}
        self.digest = Digest(self._codec)
        self.limit = Limit()
        self.entries = 0
        self.taken = 0
        self._past = past or Past()
        self._taken: dict[str, set[int]] = {}
        for seat in self._seats:
            others = self._past.decisions.get(seat.actor, ())
            self._taken[seat.actor] = {own.seq for own in others}
            seat.recorded.extend(others)
            self._versions(seat, 0)

    def _versions(self, seat: Seat, at: int) -> None:
        """While another version is at work, up to the next claim of a version, nothing is derived."""
        changes = self._past.claims.get(seat.actor)
        if not changes:
            return
        if version_at(changes, at + 1) == seat.decider.version:
            seat.since = max((seq for seq, _ in changes[1:] if seq <= at), default=0)
        else:
            first = changes[0][0]
            seat.since = next((seq for seq, _ in changes if seq > max(at, first)), _NEVER)

    @property
    def undecided(self) -> int:
        return sum(len(due) for due in self._due.values())

    def check(self, entry: Recorded) -> Difference | None:
        """Compares an entry with what is due, then derives what follows from it."""
        self.entries += 1
        difference = self._compare(entry)
        if difference is not None:
            return difference
        self.digest.add(entry.actor, entry.decision)
        if (entry.seq, self._version(entry)) in self._past.claims.get(entry.actor, ())[1:]:
            # What the last version left undecided, the next one never decides.
            self._due[entry.actor].clear()
            self._versions(next(seat for seat in self._seats if seat.actor == entry.actor), entry.seq)
        for seat in self._router.hearers(entry):
            self.limit.begins(seat.actor, entry.seq)
            try:
                decision = seat.react(entry)
            except Poison as poison:
                return Difference(entry.seq, seat.actor, str(poison))
            finally:
                self.limit.ends()
            if decision is not None:
                self._due[seat.actor][entry.seq] = decision
        return None

    @staticmethod
    def _version(entry: Recorded) -> str:
        first = entry.decision.facts[0]
        return first.version if isinstance(first, ActorClaimed) else ""

    def _compare(self, entry: Recorded) -> Difference | None:
        decision, actor = entry.decision, entry.actor
        if entry.epoch < self._epochs.get(actor, 0) and (entry.epoch or decision.by):  # strangers on a feed have none
            return Difference(entry.seq, actor, f"written in epoch {entry.epoch} after epoch {self._epochs[actor]}")
        self._epochs[actor] = max(entry.epoch, self._epochs.get(actor, 0))
        if not decision.by:
            return self._compare_input(entry)
        if actor not in self._actors:
            return Difference(entry.seq, actor, "a decision of an actor that the plan does not have")
        if entry.seq in self._taken[actor]:
            self.taken += 1
            return None
        due = self._due[actor]
        derived = due.pop(decision.cause, None)
        if derived is None:
            return Difference(entry.seq, actor, f"nothing follows from {decision.cause}, yet a decision stands here",
                              recorded=self._text(decision))  # fmt: skip
        missing = [cause for cause in due if cause < decision.cause]
        if missing:
            return Difference(entry.seq, actor, f"before it, the decision that follows from {missing[0]} is missing",
                              derived=self._text(due[missing[0]]))  # fmt: skip
        if derived != decision:
            return Difference(entry.seq, actor, f"the decision caused by {decision.cause} differs",
                              self._text(decision), self._text(derived))  # fmt: skip
        return None

    def _compare_input(self, entry: Recorded) -> Difference | None:
        """A message from outside has an id that follows from its content."""
        decision, first = entry.decision, entry.decision.facts[0]
        if isinstance(first, Unreadable):
            return None if entry.actor not in self._actors else Difference(entry.seq, entry.actor, first.reason)
        if isinstance(first, ActorClaimed):
            right = decision == claimed(entry.actor, entry.epoch, first.writer, first.version)
        else:
            right = (decision.cause, decision.by) == (0, "") and decision.id == self._codec.content_id(
                entry.actor, decision
            )
        if not right:
            return Difference(entry.seq, entry.actor, "the content does not belong to the id: it was changed",
                              recorded=self._text(decision))  # fmt: skip
        return None

    def _text(self, decision: Decision) -> str:
        return self._codec.encode(decision).decode()


async def auditor_of(tape: Tape) -> Auditor:
    """The audit of a tape before its first entry. Raises NoSession."""
    plan = await plan_on(tape)
    return Auditor(plan, await past_on(tape, plan))


async def audit(tape: Tape, progress: Callable[[int], None] | None = None) -> Verdict:
    """Derives every decision again; stops at the first difference. Raises NoSession."""
    auditor = await auditor_of(tape)
    end = await tape.end()
    difference = None
    expected = 0
    with auditor.limit.kept():
        async for entry in tape.read():
            expected += 1
            if entry.seq != expected:
                difference = Difference(expected, "", f"the tape goes on at {entry.seq}: messages are missing")
            else:
                difference = auditor.check(entry)
            if difference is not None:
                break
            if progress is not None and entry.seq % 1000 == 0:
                progress(entry.seq)
    if difference is None and expected < end:
        difference = Difference(expected + 1, "", f"the tape ends at {end}, but only {expected} messages can be read")
    decisions, undecided = auditor.digest.decisions, auditor.undecided
    return Verdict(auditor.entries, decisions, undecided, auditor.digest.hexdigest(), difference, auditor.taken)
