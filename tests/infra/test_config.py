"""Configuration files: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actors.plan import AccountPlan, BotPlan, SymbolPlan
from infra.config import Config, ConfigError, SessionSettings, load, parse

TOML = """
tape = "paper"

[session]
processes = 3

[services]

[[symbols]]
venue = "binance"
symbol = "BTC-USDT"
timeframes = ["5m", "1h"]
tick = "0.10"
lot = 0.001

[[bots]]
name = "ema"
venue = "binance"
symbol = "BTC-USDT"
timeframe = "5m"
params = { fast = 3, slow = 8 }
sizing = { method = "risk", value = "0.01" }

[[accounts]]
name = "main"
cash = 1000
limits = { daily_loss = "0.05" }
fees = { maker = "-0.0001" }
"""

VALUES: dict[str, Any] = {
    "tape": "paper",
    "session": {"processes": 3},
    "symbols": [
        {"venue": "binance", "symbol": "BTC-USDT", "timeframes": ["5m", "1h"], "tick": "0.10", "lot": "0.001"}
    ],
    "bots": [
        {
            "name": "ema", "venue": "binance", "symbol": "BTC-USDT", "timeframe": "5m",
            "params": {"fast": 3, "slow": 8}, "sizing": {"method": "risk", "value": "0.01"},
        }
    ],
    "accounts": [
        {"name": "main", "cash": "1000", "limits": {"daily_loss": "0.05"}, "fees": {"maker": "-0.0001"}}
    ],
}  # fmt: skip


def written(folder: Path, text: str | bytes, name: str = "tape.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(place: str, value: Any) -> dict[str, Any]:
    """VALUES with one place, such as `bots.0.sizing.value`, set."""
    values = json.loads(json.dumps(VALUES))
    *steps, last = place.split(".")
    here = values
    for step in steps:
        here = here[int(step)] if step.isdecimal() else here.setdefault(step, {})
    here[int(last) if last.isdecimal() else last] = value
    return values  # type: ignore[no-any-return]


def refusal(values: Any) -> str:
    with pytest.raises(ConfigError) as found:
        parse(values, "my.toml")
    said = str(found.value)
    assert said.startswith("my.toml: ")
    assert "\n" not in said
    return said.removeprefix("my.toml: ")


def test_without_a_file_there_are_the_defaults() -> None:
    config = load(None)
    assert config == Config() == parse({}, "empty")
    assert (config.tape, config.symbols, config.bots, config.accounts) == ("main", (), (), (AccountPlan(),))


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    from_toml = load(written(tmp_path, TOML))
    from_json = load(written(tmp_path, json.dumps(VALUES), "tape.JSON"))
    assert from_toml == from_json
    assert from_toml.symbols == (
        SymbolPlan(venue="binance", symbol="BTC-USDT", timeframes=("5m", "1h"), tick=Decimal("0.10"),
                   lot=Decimal("0.001")),
    )  # fmt: skip
    assert isinstance(from_toml.bots[0], BotPlan)
    assert from_toml.bots[0].sizing.value == Decimal("0.01")
    assert from_toml.accounts[0].limits.daily_loss == Decimal("0.05")
    assert from_toml.accounts[0].fees.maker == Decimal("-0.0001")
    assert from_toml.session.processes == 3


def test_a_decimal_written_as_a_number_is_the_decimal_one_reads(tmp_path: Path) -> None:
    text = TOML.replace('tick = "0.10"', "tick = 0.1")
    for config in (
        load(written(tmp_path, text)),
        load(written(tmp_path, json.dumps(changed("symbols.0.tick", 0.1)), "t.json")),
    ):
        assert config.symbols[0].tick == Decimal("0.1")


@pytest.mark.parametrize(
    ("place", "key", "nearest"),
    [
        ("tapes", "tapes", "tape"),
        ("sesion", "sesion", "session"),
        ("session.proceses", "proceses", "processes"),
        ("bots.0.strategi", "strategi", "strategy"),
        ("bots.0.sizing.valu", "valu", "value"),
        ("symbols.0.timeframe", "timeframe", "timeframes"),
        ("accounts.0.limits.dayly_loss", "dayly_loss", "daily_loss"),
        ("accounts.0.fees.takers", "takers", "taker"),
        ("accounts.0.fills.slipage", "slipage", "slippage"),
    ],
)
def test_an_unknown_key_at_any_depth_names_the_nearest_known_one(place: str, key: str, nearest: str) -> None:
    said = refusal(changed(place, 1))
    assert f"unknown key `{key}`" in said
    assert f"the nearest known one is `{nearest}`" in said


def test_an_unknown_key_that_is_near_nothing_gets_the_list() -> None:
    assert refusal(changed("session.zzz", 1)).endswith("known are " + ", ".join(SessionSettings.__struct_fields__))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("tape", 7, "Expected `str`, got `int`, at `tape`"),
        ("session.recoveries", 0, "Expected `int` >= 1, at `session.recoveries`"),
        ("session.processes", "many", "Expected `int`, got `str`, at `session.processes`"),
        ("bots", {}, "Expected `array`, got `object`, at `bots`"),
        ("bots.0", "ema", "Expected `object`, got `str`, at `bots[0]`"),
        ("accounts.0.cash", "a lot", "Invalid decimal string, at `accounts[0].cash`"),
        ("bots.0.sizing.value", "0,01", "Invalid decimal string, at `bots[0].sizing.value`"),
        ("symbols.0.tick", None, "got `null`, at `symbols[0].tick`"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(place: str, value: Any, said: str) -> None:
    assert said in refusal(changed(place, value))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("bots.0.symbol", "ETH-USDT", "bot 'ema' trades binance/ETH-USDT, which is not among the plan's symbols"),
        ("bots.0.timeframe", "15m", "bot 'ema' needs 15m candles"),
        ("bots.0.account", "other", "bot 'ema' trades for account 'other'; the plan has main"),
        ("bots.0.strategy", "ema-cros", "no strategy is called 'ema-cros'; the nearest is 'ema-cross'"),
        ("bots.0.params", {"fats": 3}, "strategy 'ema-cross' does not take {'fats': 3}"),
        ("bots.0.params", {"fast": 9, "slow": 3}, "fast (9) must be shorter than slow (3)"),
        ("bots", VALUES["bots"] * 2, "every bot needs a name of its own: ema"),
        ("symbols", VALUES["symbols"] * 2, "every symbol needs a name of its own: binance/BTC-USDT"),
        ("accounts", VALUES["accounts"] * 2, "every account needs a name of its own: main"),
        ("tape", "my tape", "'my tape' cannot be used as a name"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_runs(place: str, value: Any, said: str) -> None:
    assert said in refusal(changed(place, value))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-2", "sNaN"])
@pytest.mark.parametrize(
    "place",
    [
        "accounts.0.cash",
        "accounts.0.fees.maker",
        "accounts.0.fills.slippage",
        "accounts.0.fills.participation",
        "accounts.0.limits.daily_loss",
        "symbols.0.tick",
        "symbols.0.lot",
        "symbols.0.notional_min",
        "bots.0.sizing.value",
    ],
)
def test_numbers_that_are_no_money_are_refused(place: str, value: str) -> None:
    said = refusal(changed(place, value))
    assert place.rpartition(".0.")[2] in said
    assert f"is {value}, but must be a number " in said


@pytest.mark.parametrize("place", ["accounts.0.cash", "symbols.0.tick", "symbols.0.lot", "bots.0.sizing.value"])
def test_nothing_is_no_amount(place: str) -> None:
    assert "is 0, but must be a number above 0" in refusal(changed(place, 0))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            "bots.0.sizing.method",
            "al-in",
            "bot 'ema': sizing.method 'al-in' is none of quantity, fraction, risk, all-in",
        ),
        ("symbols.0.source", "ticks", "write candles or trades"),
        ("symbols.0.empty", "skip", "write flat or omit"),
        ("symbols.0.timeframes", ["5m", "7x"], "'7x' is not a timeframe"),
        ("symbols.0.timeframes", ["5m", "90s"], "no multiple of 1m"),
        ("symbols.0.calendar", "24x8", "unknown calendar '24x8'"),
    ],
)
def test_choices_that_are_none_are_refused(place: str, value: Any, said: str) -> None:
    assert said in refusal(changed(place, value))


@pytest.mark.parametrize("name", ["my bot", "a.b", "*", ""])
def test_names_that_cannot_stand_in_a_subject_are_refused(name: str) -> None:
    assert "cannot be used as a name" in refusal(changed("bots.0.name", name))
    assert "cannot be used as a name" in refusal(changed("accounts", [{"name": name}, *VALUES["accounts"]]))
    more = {**VALUES["symbols"][0], "symbol": name}
    assert "cannot be used as a name" in refusal(changed("symbols", [*VALUES["symbols"], more]))


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("tape = ", "a.toml", "Invalid value"),
        ("{", "a.json", "truncated"),
        (b"tape = '\xff'", "a.toml", "utf-8"),
        (b'{"tape": "\xff"}', "a.json", "utf-8"),
        ("tape: main", "a.yaml", "a configuration is a .toml or a .json file"),
        ("[1]", "a.json", "Expected `object`, got `array`"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_by_its_name(
    tmp_path: Path, text: str | bytes, name: str, said: str
) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(ConfigError) as found:
        load(path)
    assert str(found.value).startswith(f"{path}: ")
    assert said in str(found.value)


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file.*--config"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a = " + "[" * 5_000, "a.toml", "nested too deep"),
        ("[" * 5_000, "a.json", "nested too deep"),
        ("[session]\nprocesses = " + "9" * 5_000, "a.toml", "integer string conversion"),
        ("[session]\nprocesses = 0", "a.toml", "Expected `int` >= 1"),
        ("[session]\nprocesses = -1", "a.toml", "Expected `int` >= 1"),
        ("[session]\ndashboard_port = 65536", "a.toml", "Expected `int` <= 65535"),
        ('[[symbols]]\nvenue = "a"\nsymbol = "b"\nbase = "' + "9" * 18 + 'w"', "a.toml", "longer than 10000 days"),
        ('[[symbols]]\nvenue = "a"\nsymbol = "b"\nbase = "' + "9" * 5_000 + 'w"', "a.toml", "is not a timeframe"),
        ('[[symbols]]\nvenue = "a"\nsymbol = "b"\nahead = -1', "a.toml", "Expected `int` >= 0"),
    ],
)  # fmt: skip
def test_extremes_are_refused_in_a_sentence(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        load(written(tmp_path, text, name))
    assert said in str(found.value)
    assert len(str(found.value)) < 1_000


def test_a_name_that_no_file_has_is_said_so() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(Path("a\0b.toml"))
