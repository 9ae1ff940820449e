"""What the paper matching assumes, in sentences that a report can print."""

from __future__ import annotations

from actors.plan import AccountPlan


def assumptions(plan: AccountPlan) -> tuple[str, ...]:
    """Every assumption behind the fills of an account, with its own figures."""
    fees, fills = plan.fees, plan.fills
    if fills.participation is None:
        volume = "Size is unbounded: an order fills at once and in full, whatever was traded, and moves no price."
    else:
        volume = (
            f"All orders of the account together take at most {fills.participation:f} of a bar's or trade's volume, "
            "in order of execution; the rest stays open. They move no price."
        )
    return (
        "Orders act on prices after them: on bars that open at or after the signal, or on the next trades where the "
        "tape has trades.",
        "Market orders fill at the open of the next bar (or at the next trade).",
        "Inside a bar prices run from the open to the nearer extreme (the low where both are as near), to the other "
        "extreme, to the close.",
        "A stop that is gapped over fills at the open; a resting limit that is gapped over fills at the better open.",
        "A touched limit fills: there is no queue before it.",
        "A bracket works from the fill of its entry on, in the rest of that bar's path too.",
        volume,
        f"Slippage: {fills.slippage:f} of the price against market and stop orders and limits that cross on arrival, "
        "rounded to the tick against the order, never beyond its limit.",
        f"Fees: {fees.maker:f} of the notional for resting limits, {fees.taker:f} for all else, rounded to 8 decimals.",
        "No leverage: an entry is cut at its fill to what keeps gross exposure, fee included, within equity.",
        "Shorts pay no interest and are always to be had; cash earns none.",
        "The time of a fill is the close of its bar (or the time of its trade): when it became known.",
    )


FILL_ASSUMPTIONS = assumptions(AccountPlan())
"""Those of the default plan."""
