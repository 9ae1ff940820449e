"""The actor of one symbol: from raw feed facts to validated market facts."""

from .decider import SymbolDecider
from .state import SymbolState

__all__ = ["SymbolDecider", "SymbolState"]
