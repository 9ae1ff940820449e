"""The account actor: sizing, risk, orders, paper matching, positions and money. Its README has the rules."""

from .assumptions import FILL_ASSUMPTIONS, assumptions
from .book import AccountState, equity_of
from .decider import AccountDecider

__all__ = ["FILL_ASSUMPTIONS", "AccountDecider", "AccountState", "assumptions", "equity_of"]
