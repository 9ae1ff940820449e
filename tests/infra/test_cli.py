"""The command line where no tape is needed: help, usage, errors, words, exit codes."""

from __future__ import annotations

import importlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from events.catalogue import FACTS
from events.control import ActorHalted, Quarantined
from events.decision import Decision, Recorded
from events.trading import Signal
from infra.cli.app import app
from infra.cli.exits import KNOWN, Exit, Failure, explained
from infra.cli.tailing import patterns
from infra.cli.values import clock, duration, moment, number, size
from infra.cli.words import line
from tests.infra.cli_tape import ROOT, Cli

COMMANDS = ("run", "serve", "address", "import", "backtest", "sweep", "verify", "replay", "rebuild", "status", "tail",
            "stop", "pause", "resume")  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """No server is there: nothing here may need one."""
    return Cli(tmp_path, "nats://127.0.0.1:9", "postgresql://postgres@127.0.0.1:9/postgres")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_and_its_exit_codes(command: str) -> None:
    found = CliRunner().invoke(app, [command, "--help"], terminal_width=120)
    assert found.exit_code == 0
    assert f"tape {command}" in found.output or "Usage:" in found.output
    assert "1 a check found a difference" in " ".join(found.output.split())


def test_help_lists_every_command_and_imports_nothing_heavy(cli: Cli) -> None:
    found = cli("--help", config=False)
    assert found.code == 0
    assert all(re.search(rf"^│ {name} ", found.out, re.M) for name in COMMANDS)
    probe = "import sys; import infra.cli.app; print([m for m in ('numpy','ray','pandas','pyarrow','nats','psycopg')"
    from subprocess import run
    from sys import executable

    loaded = run([executable, "-c", f"{probe} if m in sys.modules])"], cwd=ROOT, capture_output=True, text=True,
                 check=True)  # fmt: skip
    assert loaded.stdout.strip() == "[]"


def test_the_names_of_known_errors_are_true() -> None:
    for name in KNOWN:
        module, _, attribute = name.rpartition(".")
        if name == "psycopg.OperationalError":
            module = "psycopg.errors"
        assert issubclass(getattr(importlib.import_module(module), attribute), Exception), name


def test_known_errors_have_their_codes() -> None:
    from events.tape import LostRace, TapeDamaged
    from infra.session.opening import SessionError

    assert explained(LostRace("bot.x", 1, 2)) == (str(LostRace("bot.x", 1, 2)), Exit.IN_THE_WAY)
    assert explained(TapeDamaged("gone")) == ("gone", Exit.DIFFERENCE)
    assert explained(SessionError("a session already runs on tape 'main'"))[1] == Exit.IN_THE_WAY  # type: ignore[index]
    assert explained(SessionError("another plan"))[1] == Exit.BAD_INPUT  # type: ignore[index]
    assert explained(KeyError("x")) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('tape = "main"\nspeeed = 3', "unknown key `speeed`"),
        ("[simulator]\nsede = 3", "the nearest known one is `seed`"),
        ("tape = ", "bad.toml"),
        ('tape = "a b"', "cannot be used as a name"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(cli: Cli, content: str, said: str) -> None:
    bad = cli.folder / "bad.toml"
    bad.write_text(content)
    found = cli("status", "--config", bad, config=False)
    assert found.code == Exit.BAD_INPUT
    assert said in found.err
    assert found.err.startswith("tape: ")
    assert "Traceback" not in found.err
    assert not found.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "nope.csv"), "nope.csv does not exist"),
        (("backtest", "--data", "nope.csv"), "there is no file 'nope.csv'"),
        (("run", "--feed", "nope.csv=a/B"), "there is no file 'nope.csv'"),
        (("run", "--for", "soon"), "'soon' is not a duration"),
        (("run", "--speed", "-3"), "neither a positive number nor 'max'"),
        (("run", "--lockstep"), "--feed FILE"),
        (("run", "--config", "nope.toml"), "nope.toml: cannot be read"),
        (("replay", "--to", "3", "--at", "2026-01-01"), "contradict"),
        (("stop", "--trading", "flaten"), "the nearest is 'flatten'"),
        (("stop", "--trading", "flatten", "--release"), "contradict"),
        (("tail", "a..b"), "is not a pattern"),
        (("address", "natss"), "the nearest is 'nats'"),
        (("backtest", "--param", "a=1"), "--strategy"),
        (("status", "--tape", "a.b"), "--tape"),
    ],
)
def test_bad_input_is_one_sentence_with_what_to_do(cli: Cli, words: tuple[str, ...], said: str) -> None:
    found = cli(*words, config="--config" not in words)
    assert found.code == Exit.BAD_INPUT, found.err
    assert said in found.err
    assert "Traceback" not in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert not found.out


def test_without_a_bus_commands_say_so(cli: Cli) -> None:
    asked = (("status",), ("verify",), ("stop", "--release"))
    with ThreadPoolExecutor() as side_by_side:  # each waits for a bus that may yet come
        answers = list(side_by_side.map(lambda words: cli(*words), asked))
    for words, found in zip(asked, answers, strict=True):
        assert found.code == Exit.NO_SERVICE, (words, found.err)
        assert "Traceback" not in found.err


def test_unknown_options_are_usage_errors(cli: Cli) -> None:
    assert cli("status", "--nope").code == Exit.BAD_INPUT
    assert cli("nope", config=False).code == Exit.BAD_INPUT


def test_an_unforeseen_error_is_one_sentence_and_a_log(cli: Cli) -> None:
    from infra.cli.context import Context

    def broken(context: Context) -> int:
        raise RuntimeError("a thing nobody foresaw")

    import typer

    with pytest.raises(typer.Exit) as ended:
        Context(None, None, cli.data_dir, False, False).run(broken)
    assert ended.value.exit_code == 70
    logs = list((cli.data_dir / "logs").glob("error-*.log"))
    assert len(logs) == 1
    assert "a thing nobody foresaw" in logs[0].read_text()
    assert "Traceback" in logs[0].read_text()


def test_values() -> None:
    assert duration("30s") == 30
    assert duration("1h30m") == 5400
    assert duration("250ms") == 0.25
    for wrong in ("", "30", "s", "-3s", "0s", "3 s x"):
        with pytest.raises(Failure):
            duration(wrong)
    assert moment("1970-01-02") == 86_400_000_000
    assert moment("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(Failure):
        moment("yesterday")
    assert clock(1_700_000_000_000_000) == "2023-11-14 22:13:20"
    assert clock(1_700_000_000_250_000) == "2023-11-14 22:13:20.25"
    assert clock(None) == "-"
    assert clock(2**62) == f"{2**62} µs"
    assert number(1234567.5) == "1,234,567.5"
    assert size(999) == "999 B"
    assert size(17_127_968) == "17.1 MB"


def test_patterns_are_what_people_write() -> None:
    assert patterns([], "main") == (">",)
    assert patterns(["main.bot.*.signal"], "main") == ("bot.*.signal",)
    assert patterns(["bot"], "main") == ("bot.>",)
    assert patterns(["bot.ema"], "main") == ("bot.ema.>",)
    assert patterns(["market.binance.BTC-USDT"], "main") == ("market.binance.BTC-USDT.>",)
    assert patterns(["bot.ema.signal"], "main") == ("bot.ema.signal",)
    assert patterns(["fill"], "main") == ("*.*.fill", "*.*.*.fill")
    assert patterns(["market.>"], "main") == ("market.>",)


def test_every_fact_can_be_said_in_words() -> None:
    for fact in (
        Signal("b", "v", "S", 1, -1.0, 2.5, stop=3.0, reasons=("because",)),
        ActorHalted("bot.b", 7, "poison", "why"),
        Quarantined("s", 1, "malformed", "no price", b"\xff"),
    ):
        text = line(Recorded(3, "bot.b", Decision("x", 1, "y", 1_700_000_000_000_000, (fact,)))).plain
        assert "2023-11-14 22:13:20" in text
        assert "\n" not in text
    assert (
        "short 1 at 2.5 stop 3 (because)"
        in line(
            Recorded(
                3,
                "bot.b",
                Decision("x", 1, "y", 1, (Signal("b", "v", "S", 1, -1.0, 2.5, stop=3.0, reasons=("because",)),)),
            )
        ).plain
    )
    assert len(FACTS) > 30


def test_the_readme_names_every_command_and_code() -> None:
    text = (ROOT / "infra" / "cli" / "README.md").read_text()
    assert all(f"`{name}" in text for name in COMMANDS)
    assert all(f"| {int(code)} |" in text for code in Exit)


def test_json_of_a_dry_run_is_one_object(cli: Cli) -> None:
    file = cli.folder / "ABC_USDT-1m.csv"
    rows = [f"{1_700_000_040_000 + 60_000 * n},1,2,0.5,1.5,10" for n in range(30)]
    file.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    found = cli("import", file, "--dry-run", "--json")
    assert found.code == 0, found.err
    value = json.loads(found.out)
    assert (value["symbol"], value["accepted"], value["dry_run"]) == ("ABC-USDT", 30, True)
    shown = cli("import", file, "--dry-run")
    assert "dry run" in shown.out
    assert "\x1b[" not in shown.out + shown.err
