"""Which symbols and bots play files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.plan import BotPlan, SymbolPlan
from events.subjects import token
from infra.backtest import data
from infra.cli.values import named
from infra.config import Config

DEFAULT_BOTS = (("ema", "ema-cross"), ("breakout", "breakout"), ("momentum", "momentum"))


def placed(file: data.MarketFile, spec: str, config: Config) -> data.MarketFile:
    """A file that does not say its venue is of the one venue on which the configuration trades its symbol."""
    own = [one.venue for one in config.symbols if one.symbol == file.symbol]
    said = data.parse(spec).venue
    return msgspec.structs.replace(file, venue=own[0]) if said is None and len(own) == 1 else file


def with_symbols(config: Config, files: Sequence[data.MarketFile]) -> tuple[SymbolPlan, ...]:
    """The configured symbols, all files being of these; else one symbol per instrument of the files. Raises Failure."""
    if not config.symbols:
        return data.symbol_plans(files)
    known = [f"{one.venue}/{one.symbol}" for one in config.symbols]
    for file in files:
        named("symbol in the configuration", f"{file.venue}/{file.symbol}", known)
    return config.symbols


def default_bots(symbol: SymbolPlan, account: str) -> tuple[BotPlan, ...]:
    """One bot of each shipped strategy."""
    prefix = symbol.symbol.lower()
    return tuple(
        BotPlan(name=token(f"{prefix}-{short}"), venue=symbol.venue, symbol=symbol.symbol, account=account,
                timeframe=symbol.base, strategy=strategy)
        for short, strategy in DEFAULT_BOTS
    )  # fmt: skip
