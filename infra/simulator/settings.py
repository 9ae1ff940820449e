"""What can be chosen about the simulated exchange."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from actors.plan import Plain

PAIRS_MAX = 25


class SimulatorSettings(Plain, frozen=True, kw_only=True):
    """The simulated exchange: all it does follows from `seed`.

    `pairs`: how many of its 25 pairs there are, the most liquid first. `speed`: simulated seconds a second.
    `history_minutes`: how much history comes before the first trade. `activity`: trades a minute of the most liquid
    pair on average. `outages`: whether a pair's stream breaks now and then. `backfill`: whether the exchange's own
    candles of such a hole come some minutes after it.
    """

    seed: int = 7
    pairs: Annotated[int, Meta(ge=1, le=PAIRS_MAX)] = PAIRS_MAX
    speed: Annotated[float, Meta(gt=0)] = 60.0
    history_minutes: Annotated[int, Meta(ge=0, le=10_000)] = 500
    activity: Annotated[float, Meta(gt=0, le=600)] = 30.0
    outages: bool = True
    backfill: bool = True
