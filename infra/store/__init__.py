"""Candles and trades on disk, as they lie in memory: mapped or read in pieces, sealed by a hash."""

from infra.store.layout import MAGIC, Series, StoreError
from infra.store.read import Stored, open_store
from infra.store.trades import Ids, Trades
from infra.store.write import Writer, append, path_of

__all__ = ["MAGIC", "Ids", "Series", "StoreError", "Stored", "Trades", "Writer", "append", "open_store", "path_of"]
