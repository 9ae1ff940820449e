"""What a tape came to after all that was done to those who wrote it, beside what one undisturbed process comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from events.control import SessionClaimed
from events.trading import OrderPlaced
from infra.session.audit import audit
from infra.tapes.jetstream import JetStreamTape
from tests.session.command import Tape
from tests.session.looking import entries
from tests.session.test_two import undisturbed

ACTORS = ("market.>", "bot.>", "account.>")


class Judged(msgspec.Struct):
    """`sessions`: the epochs of their claims; `late`: messages of an earlier epoch after the claim of a later one."""

    candles: int = 0
    orders: int = 0
    sessions: tuple[int, ...] = ()
    late: int = 0
    wrong: list[str] = []


async def judged(tape: JetStreamTape, cli: Tape, feeds: Sequence[str], *, calm: bool = True) -> Judged:
    """`feeds`: the words that name the market; `calm`: nobody commanded, so the digest must be the undisturbed one."""
    found = Judged()
    verdict = await audit(tape)
    if verdict.difference is not None or verdict.undecided:
        found.wrong.append(f"audit: {verdict.difference}, {verdict.undecided} undecided")
    if calm and verdict.digest != undisturbed(cli, [*feeds[1::2]]):
        found.wrong.append("the digest is not that of an undisturbed run")
    epochs: dict[str, int] = {}
    orders: Counter[str] = Counter()
    candles: Counter[str] = Counter()
    for entry in await entries(tape, [">"]):
        if entry.actor.startswith(("market.", "bot.", "account.", "feed.")):
            found.late += entry.epoch < epochs.get(entry.actor, 0)
            epochs[entry.actor] = max(entry.epoch, epochs.get(entry.actor, 0))
        orders.update(fact.order for fact in entry.decision.facts if isinstance(fact, OrderPlaced))
        candles.update(
            [entry.decision.id] if entry.actor.startswith("feed.") and entry.decision.kind == "candle" else []
        )
        found.sessions += tuple(fact.epoch for fact in entry.decision.facts if isinstance(fact, SessionClaimed))
    found.candles, found.orders = len(candles), len(orders)
    if found.late:
        found.wrong.append(f"{found.late} messages of an earlier epoch after the claim of a later one")
    for what, count in (("orders", orders), ("candles", candles)):
        if count.total() != len(count):
            found.wrong.append(f"{count.total() - len(count)} {what} doubled")
    if found.sessions != tuple(range(1, len(found.sessions) + 1)):
        found.wrong.append(f"the claims of sessions are not one after the other: {found.sessions}")
    return found
