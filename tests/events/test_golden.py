"""Bytes that stand on tapes are read for ever: one file for every fact and version."""

from __future__ import annotations

import pytest

from events.catalogue import FACTS
from events.codec import UPCASTERS, Codec
from events.decision import Decision
from events.fact import Fact, tag

from .samples import FOLDER, golden, path_of, sample

OLD = [f"{kind}/{version}" for kind, version in UPCASTERS]


@pytest.mark.parametrize("fact", FACTS, ids=tag)
def test_every_fact_has_its_bytes_and_its_bytes_mean_that_fact(fact: type[Fact]) -> None:
    stored = path_of(fact).read_bytes().rstrip(b"\n")
    assert Codec().fact(stored) == sample(fact)
    entry = Decision("id", 1, "by", 2, (sample(fact),))
    whole = b'{"id":"id","cause":1,"by":"by","ts":2,"facts":[' + stored + b"]}"
    assert Codec().encode(entry) == whole
    assert Codec().decode(whole) == entry


def test_every_old_version_has_its_bytes_and_can_be_read() -> None:
    for old in OLD:
        assert tag(Codec().fact(golden(old).read_bytes())).partition("/")[0] == old.partition("/")[0]


def test_no_bytes_belong_to_nothing() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {golden(one).name for one in [*map(tag, FACTS), *OLD]}


def test_samples_differ_from_defaults_in_every_field() -> None:
    """Else a golden file would not show that a field was forgotten."""
    for fact in FACTS:
        found = sample(fact)
        defaults = fact.__struct_defaults__
        for name, default in zip(reversed(fact.__struct_fields__), reversed(defaults), strict=False):  # the last ones
            assert getattr(found, name) != default, f"{tag(fact)}.{name}"
