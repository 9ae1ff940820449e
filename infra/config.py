"""Configuration: one frozen struct from a TOML or JSON file; unknown keys are refused, the nearest known one named."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

from actors.plan import AccountPlan, BotPlan, Plain, Plan, SymbolPlan
from actors.roster import BadPlan, deciders
from actors.strategies import UnknownStrategy
from events import subjects
from infra.services.settings import ServiceSettings
from infra.simulator import SimulatorSettings


class ConfigError(Exception):
    """One sentence: what is wrong, in which file and place, and what to write instead."""


class SessionSettings(Plain, frozen=True, kw_only=True):
    """`processes`: how many Ray actors carry the deciders; with no more actors than that, each has its own.

    Another session takes this one for gone when it has not answered for `silent_s` seconds, or has had no connection to
    the bus for `gone_s`, while the bus answered. A process that has work and has not moved for `stall_s` seconds is
    started again, up to `stalls_max` times at the same place of the tape; then the actor that hangs is left out.
    `recoveries`: how many processes of a machine may read far back at the same time. `passivate_s`: actors that heard
    nothing for so long have no state in memory until they hear something; 0: never.

    `orders_at_stop`: what a clean end does with working entries, `leave` or `cancel`. Left alone they are there at the
    next start, and a stop changes no decision; cancel them where they could fill with nobody at work. Stops, targets
    and exits always stay.
    """

    processes: Annotated[int, Meta(ge=1, le=1_000)] = 8
    silent_s: float = 10.0
    gone_s: float = 3.0
    stall_s: float = 30.0
    stalls_max: int = 3
    recoveries: Annotated[int, Meta(ge=1)] = 2
    passivate_s: Annotated[float, Meta(ge=0)] = 0.0
    dashboard: bool = True
    dashboard_port: Annotated[int, Meta(ge=0, le=65_535)] = 8265
    orders_at_stop: Literal["leave", "cancel"] = "leave"


class Config(Plain, frozen=True, kw_only=True):
    """Everything there is to choose. Without symbols of its own the simulated exchange's are traded.

    `archive`: a folder or `s3://bucket/prefix` for `tape export` and its kin; `<data_dir>/archive` where it is empty.
    """

    tape: str = "main"
    data_dir: str = ".tape"
    archive: str = ""
    services: ServiceSettings = ServiceSettings()
    session: SessionSettings = SessionSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    symbols: tuple[SymbolPlan, ...] = ()
    bots: tuple[BotPlan, ...] = ()
    accounts: tuple[AccountPlan, ...] = (AccountPlan(),)

    def plan(self) -> Plan:
        return Plan(symbols=self.symbols, bots=self.bots, accounts=self.accounts)


def load(path: Path | None) -> Config:
    """Reads a `.toml` or `.json` file; None gives the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    return parse(_values(path), str(path))


def parse(values: Any, where: str) -> Config:
    """A checked configuration from plain values. Raises ConfigError."""
    try:
        config = msgspec.convert(values, Config, strict=False)
        subjects.token(config.tape)
        deciders(config.plan())  # made once here, so that whatever one of them refuses is known before anything runs
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explained(str(error))}") from error
    except (BadPlan, UnknownStrategy, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
    return config


def _values(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", error)
        raise ConfigError(f"{path}: cannot be read: {why}; name another file with --config") from error
    try:
        match path.suffix.lower():
            case ".toml":
                return tomllib.loads(data.decode())
            case ".json":
                return msgspec.json.decode(data)
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deep") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error  # ValueError: no UTF-8, or a number of thousands of digits
    raise ConfigError(f"{path}: a configuration is a .toml or a .json file")


def _explained(problem: str) -> str:
    """msgspec's sentence, with the nearest known key where one is unknown."""
    unknown = re.search(r"unknown field `([^`]*)`(?: - at `([^`]*)`)?", problem)
    if unknown is None:
        return problem.replace(" - at `$.", ", at `").replace(" - at `$`", "")
    name, place = unknown[1], (unknown[2] or "$").removeprefix("$").removeprefix(".")
    known = _fields_at(place)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"the nearest known one is `{near[0]}`" if near else f"known are {', '.join(known)}"
    return f"unknown key `{name}`{f' in `{place}`' if place else ''}; {hint}"


def _fields_at(place: str) -> list[str]:
    found: inspect.Type = inspect.type_info(Config)
    for step in re.findall(r"[A-Za-z_]+|\[[^\]]*\]", place):
        match found:
            case inspect.StructType():
                found = next(field.type for field in found.fields if field.encode_name == step)
            case inspect.VarTupleType() | inspect.ListType():
                found = found.item_type
            case inspect.UnionType():
                found = next(one for one in found.types if isinstance(one, inspect.StructType))
    return [field.encode_name for field in found.fields] if isinstance(found, inspect.StructType) else []
