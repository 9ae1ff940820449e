"""The command line on a small tape, on the real servers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from events.control import PauseBot, Quarantined, RestrictTrading, StopSession
from events.market import CandleBlock
from events.trading import Fill, OrderPlaced
from infra.cli.exits import Exit
from infra.session.opening import sole_session
from projections.schemas import schema_of
from tests.infra.cli_tape import START, Cli
from tests.services import NatsServer


@pytest.fixture
def cli(tmp_path: Path, nats_url: str, postgres_dsn: str) -> Cli:
    return Cli(tmp_path, nats_url, postgres_dsn)


async def test_verify_finds_nothing_on_a_whole_tape(cli: Cli) -> None:
    entries = await cli.record()
    found = cli("verify", "--json")
    assert found.code == Exit.FINE, found.err
    value = found.json()
    assert value["same"] is True
    assert value["decisions"] == sum(bool(entry.decision.by) for entry in entries)
    assert value["undecided"] == 0
    assert "Every decision" in cli("verify").out


async def test_verify_names_the_first_difference(cli: Cli) -> None:
    await cli.record(30)
    whole = await cli.facts()
    target = next(entry for entry in whole if entry.actor == "bot.cross" and entry.decision.kind == "signal")
    await damaged_copy(cli, target.seq)
    found = cli("verify", "--json", "--tape", f"{cli.tape}x")
    assert found.code == Exit.DIFFERENCE, found.err
    assert found.json()["difference"]["seq"] == target.seq
    shown = cli("replay", "--tape", f"{cli.tape}x")
    assert shown.code == Exit.DIFFERENCE
    assert f"sequence {target.seq}, bot.cross" in shown.out


async def damaged_copy(cli: Cli, seq: int) -> None:
    """The tape again under another name, with one digit of the decision at `seq` changed."""
    import nats

    client = await nats.connect(cli.nats_url)
    stream = client.jetstream()
    try:
        config = (await stream.stream_info(cli.tape)).config.as_dict() | {"name": f"{cli.tape}x"}
        config["subjects"] = [f"{cli.tape}x.>"]
        body = json.dumps({key: value for key, value in config.items() if value is not None}).encode()
        answer = json.loads((await client.request(f"$JS.API.STREAM.CREATE.{cli.tape}x", body)).data)
        assert "error" not in answer, answer
        end = (await stream.stream_info(cli.tape)).state.last_seq
        for place in range(1, end + 1):
            raw = json.loads(
                (await client.request(f"$JS.API.STREAM.MSG.GET.{cli.tape}", json.dumps({"seq": place}).encode())).data
            )["message"]
            data = base64.b64decode(raw["data"])
            if place == seq:
                assert b'"confidence":1.0' in data
                data = data.replace(b'"confidence":1.0', b'"confidence":0.9')
            epoch = base64.b64decode(raw["hdrs"]).partition(b"Tape-Epoch: ")[2].partition(b"\r\n")[0].decode()
            await stream.publish(
                raw["subject"].replace(cli.tape, f"{cli.tape}x", 1), data, headers={"Tape-Epoch": epoch}
            )
    finally:
        await client.close()


async def test_status_shows_how_things_stand(cli: Cli) -> None:
    entries = await cli.record()
    fills = [fact for entry in entries for fact in entry.decision.facts if isinstance(fact, Fill)]
    value = cli("status", "--json").json()
    assert value["session"] is None
    assert value["messages"] == len(entries) + 4
    assert [bot["bot"] for bot in value["bots"]] == ["cross"]
    assert value["accounts"][0]["cash"] == str(fills[-1].cash)
    assert value["totals"]["fills"] == len(fills)
    assert [(gap["missing"], gap["symbol"]) for gap in value["gaps"]] == [(3, "AAA-USDT")]
    assert value["market_time"] == START + 83 * 60_000_000
    assert value["tables"] == {"at": 0, "lag": value["messages"], "trouble": ""}
    assert "none runs" in cli("status").out


async def test_status_and_stop_do_without_postgres(cli: Cli) -> None:
    await cli.record(20)
    values = json.loads(cli.config.read_text())
    values["services"]["postgres_dsn"] = "postgresql://postgres@127.0.0.1:9/postgres"
    cli.config.write_text(json.dumps(values))
    found = cli("status")
    assert found.code == Exit.FINE, found.err
    assert "PostgreSQL cannot be asked" in found.out
    assert cli("stop", "--trading", "close-only").code == Exit.FINE
    assert cli("rebuild").code == Exit.NO_SERVICE


async def test_tail_prints_the_last_facts_that_match(cli: Cli) -> None:
    entries = await cli.record()
    signals = [entry for entry in entries if entry.decision.kind == "signal"]
    found = cli("tail", "signal", "-n", "3", "--json").lines()
    assert [one["seq"] for one in found] == [entry.seq for entry in signals[-3:]]
    assert found[0]["facts"][0]["type"] == "signal/1"
    shown = cli("tail", "bot.cross", "-n", "2").out.splitlines()
    assert len(shown) == 2
    assert "bot.cross" in shown[0]
    nothing = cli("tail", "bot.nobody.signal")
    assert nothing.code == Exit.FINE
    assert not nothing.out


async def test_replay_stops_where_it_is_told(cli: Cli) -> None:
    await cli.record()
    whole = await cli.facts()
    out = cli.folder / "facts.jsonl"
    value = cli("replay", "--to", "40", "--json", "--out", out, "--actor", "bot.cross").json()
    assert value["messages"] == 40
    assert [json.loads(line)["seq"] for line in out.read_text().splitlines()] == list(range(1, 41))
    expected = [entry.seq for entry in whole[:40] if entry.actor == "bot.cross" and entry.decision.by]
    assert [one["seq"] for one in value["decisions"]] == expected[-5:]
    timed = cli("replay", "--at", "2023-11-14T22:20:00", "--json").json()
    assert timed["market_time"] <= 1_700_000_400_000_000
    assert cli("replay", "--json").json()["digest"] == cli("verify", "--json").json()["digest"]


async def test_replay_explains_a_fill_down_to_the_feed(cli: Cli) -> None:
    entries = await cli.record()
    facts = [(entry, fact) for entry in entries for fact in entry.decision.facts]
    entry, fill = next((entry, fact) for entry, fact in facts if isinstance(fact, Fill))
    placed = next(entry for entry, fact in facts if isinstance(fact, OrderPlaced) and fact.order == fill.order)
    chain = cli("replay", "--why", fill.fill, "--json").json()["why"]
    assert chain["seq"] == entry.seq
    order = next(one for one in chain["because"] if one["how"] == f"fills order {fill.order}")
    assert order["seq"] == placed.seq
    actors = []
    while order["because"]:
        order = order["because"][0]
        actors.append(order["actor"])
    assert actors == ["bot.cross", "market.sim.AAA-USDT", "feed.sim.AAA-USDT"]
    assert "feed.sim.AAA-USDT" in cli("replay", "--why", fill.fill).out
    assert cli("replay", "--why", "nothing").code == Exit.BAD_INPUT
    assert "the nearest is 'bot.cross'" in cli("replay", "--actor", "bot.cros").err


async def test_rebuild_and_check(cli: Cli, postgres_dsn: str) -> None:
    import psycopg

    entries = await cli.record()
    made = cli("rebuild", "--json").json()
    assert made["at"] == made["messages"] == len(entries) + 4
    assert made["tables"]["fills"]["rows"] == sum(
        isinstance(fact, Fill) for entry in entries for fact in entry.decision.facts
    )
    same = cli("rebuild", "--check")
    assert same.code == Exit.FINE, same.err
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        fills = f"{schema_of(cli.tape)}.fills"
        connection.execute(f"UPDATE {fills} SET price = price + 1 WHERE seq = (SELECT min(seq) FROM {fills})")
    different = cli("rebuild", "--check", "--json")
    assert different.code == Exit.DIFFERENCE
    assert different.json()["different"] == ["fills"]


async def test_commands_are_facts_even_where_nothing_runs(cli: Cli) -> None:
    await cli.record(20)
    assert cli("stop", "--json").json()["running"] is False
    for words in (("stop", "--trading", "flatten", "--reason", "storm"), ("pause", "cross")):
        found = cli(*words)
        assert found.code == Exit.FINE, found.err
        assert "takes effect when the next one starts" in found.out
    again = cli("pause", "*")
    assert again.code == Exit.FINE, again.err
    assert "stood so before" in again.out
    assert "the nearest is 'cross'" in cli("pause", "cros").err
    found_facts = [fact for entry in await cli.facts("command.>") for fact in entry.decision.facts]
    kinds = [type(fact) for fact in found_facts]
    assert kinds == [RestrictTrading, PauseBot, PauseBot]
    assert StopSession not in kinds
    restricted = found_facts[0]
    assert isinstance(restricted, RestrictTrading)
    assert (restricted.level, restricted.account, restricted.reason) == ("flatten", "*", "storm")
    assert restricted.ts == START + 20 * 60_000_000  # the market's present, not the clock's


async def test_a_running_session_is_in_the_way(cli: Cli) -> None:
    await cli.record(5)
    with sole_session(cli.data_dir, cli.tape):
        file = candles(cli.folder / "ABC_USDT-1m.csv", 0, 10)
        for words in (("run",), ("import", file), ("rebuild", "--check")):
            found = cli(*words)
            assert found.code == Exit.IN_THE_WAY, (words, found.err)
        late = cli("stop", "--wait", "300ms")
        assert late.code == Exit.IN_THE_WAY
        assert "has not ended within 300ms" in late.err
        assert cli("status", "--json").json()["session"] is not None
    assert len(await cli.facts("command.>")) == 1


def candles(file: Path, first: int, last: int, bad: bool = False) -> Path:
    """A CSV with candles of the minutes from `first` to `last`; with `bad`, one more whose high is below its low."""
    rows = [f"{1_700_000_040_000 + 60_000 * n},{n + 1},{n + 3},{n + 0.5},{n + 2},10" for n in range(first, last)]
    rows += [f"{1_700_000_040_000 + 60_000 * last},5,4,6,5,10"] if bad else []
    file.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return file


def rows_on(cli: Cli) -> list[int]:
    entries = cli.read("feed.>")
    return [fact.rows for entry in entries for fact in entry.decision.facts if isinstance(fact, CandleBlock)]


def test_importing_twice_changes_nothing(cli: Cli, nats_server: NatsServer) -> None:
    file = candles(cli.folder / "ABC_USDT-1m.csv", 0, 50, bad=True)
    first = cli("import", file, "--json", "--venue", "here").json()
    assert (first["new"], first["quarantined"], first["messages"]) == (50, 1, 2)
    assert rows_on(cli) == [50]
    apart = [fact for entry in cli.read("quarantine.>") for fact in entry.decision.facts]
    assert [type(fact) for fact in apart] == [Quarantined]
    assert "high_below_low" in str(apart)
    again = cli("import", file, "--venue", "here")
    assert again.code == Exit.FINE
    assert "nothing new: all 50 bars stand on the tape already" in again.out
    assert len(cli.read()) == 2
    longer = cli("import", candles(file, 0, 80, bad=True), "--json", "--venue", "here").json()
    assert (longer["new"], longer["known"]) == (30, 50)
    assert rows_on(cli) == [50, 30]


def test_importing_several_files_is_all_or_nothing(cli: Cli) -> None:
    good = candles(cli.folder / "ABC_USDT-1m.csv", 0, 10)
    bad = cli.folder / "DEF_USDT-1m.csv"
    bad.write_text("hello\n")
    found = cli("import", good, bad)
    assert found.code == Exit.BAD_INPUT
    assert "DEF_USDT-1m.csv" in found.err
    assert cli("status").code == Exit.BAD_INPUT  # there is no tape yet


def test_a_backtest_writes_its_report(cli: Cli) -> None:
    file = candles(cli.folder / "ABC_USDT-1m.csv", 0, 200)
    words = ("backtest", "--data", file, "--strategy", "ema-cross", "--param", "fast=3", "--param", "slow=8", "--cash",
             "5000", "--json")  # fmt: skip
    found = cli(*words, "--out", cli.folder / "one")
    assert found.code == Exit.FINE, found.err
    value = found.json()
    assert (cli.folder / "one" / "digest.txt").read_text().startswith(value["digest"])
    assert cli(*words, "--out", cli.folder / "two").json()["digest"] == value["digest"]
    assert json.loads((cli.folder / "one" / "config.json").read_text())["plan"]["accounts"][0]["cash"] == "5000"
    wrong = cli("backtest", "--data", file, "--strategy", "ema-cros")
    assert wrong.code == Exit.BAD_INPUT
    assert "the nearest is 'ema-cross'" in wrong.err


async def test_a_backtest_of_the_tape_comes_to_the_same_decisions(cli: Cli) -> None:
    await cli.record()
    digest = cli("verify", "--json").json()["digest"]
    assert cli("backtest", "--json", "--out", cli.folder / "report").json()["digest"] == digest
