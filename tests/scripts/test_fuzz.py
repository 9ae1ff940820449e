"""Mutated facts on a real bus: a small slice of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

from events.codec import Codec
from scripts.fuzz.__main__ import fuzzed
from scripts.fuzz.files import run
from scripts.fuzz.mutants import Mutator
from scripts.fuzz.report import as_json, sentences

NOW = 1_760_000_000_000_000
COUNT = 6_000


async def test_nothing_stops_and_everything_refused_is_in_quarantine(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    report = await fuzzed(tmp_path, nats_url, postgres_dsn, COUNT, seed=7)
    said = sentences(report)
    assert not report.problems, said
    assert report.run.sent.facts >= COUNT
    fates = report.verdict.fates
    assert min(fates["unreadable"], fates["quarantined"]) > 50
    assert {"stamp", "ahead", "price", "high-low", "symbol"} <= set(report.verdict.reasons)
    assert report.verdict.good_decisions["market"]
    assert str(COUNT)[0] in said
    assert as_json(report)


def test_mutants_follow_from_the_seed_and_are_of_every_kind() -> None:
    def made(seed: int) -> list[tuple[str, bytes]]:
        mutator = Mutator(seed)
        mutator.now = NOW
        return [(one.how, one.body) for one in (mutator.next() for _ in range(2_000))]

    first = made(1)
    assert first == made(1)
    assert first != made(2)
    kinds = {how for how, _ in first}
    assert {"number", "stamp", "contradiction", "name", "tag", "head", "block", "order", "command"} <= kinds
    codec = Codec()
    for _, body in first:
        codec.decode_or_unreadable("main.feed.x.y", body)


def test_a_damaged_file_is_read_soundly_or_refused_in_a_sentence_that_names_it() -> None:
    found = run(300, seed=3)
    assert not found.wrong
    assert min(found.outcomes["market file refused"], found.outcomes["configuration refused"]) > 30
    assert found.outcomes["market file candles read, stored by pieces"] > 30
