"""Names on the bus."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import subjects
from events.patterns import PatternIndex
from infra.tapes.patterns import FILTERS_MAX, covers, filters, overlap


def test_actors_and_their_subjects() -> None:
    assert subjects.market("binance", "BTC-USDT") == "market.binance.BTC-USDT"
    assert subjects.feed("kraken", "ETH") == "feed.kraken.ETH"
    assert (subjects.bot("ema_1"), subjects.account("paper")) == ("bot.ema_1", "account.paper")
    assert subjects.quarantine("import") == "quarantine.import"
    full = subjects.subject("main", "bot.ema", "signal")
    assert full == "main.bot.ema.signal"
    assert subjects.split(full) == ("bot.ema", "signal")
    assert subjects.split("main.market.binance.BTC-USDT.candle") == ("market.binance.BTC-USDT", "candle")
    assert subjects.every("main", "bot.ema") == "main.bot.ema.>"


@pytest.mark.parametrize("name", ["", "a b", "a.b", "*", ">", "BTC/USDT", "ü", "a\n", "a\r\nPUB x 0"])
def test_names_that_are_no_token_are_refused(name: str) -> None:
    for make in (subjects.bot, subjects.account, subjects.quarantine, subjects.token):
        with pytest.raises(ValueError, match="letters, digits"):
            make(name)
    for make_two in (subjects.market, subjects.feed):
        with pytest.raises(ValueError, match="letters, digits"):
            make_two("venue", name)
        with pytest.raises(ValueError, match="letters, digits"):
            make_two(name, "symbol")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (">", True),
        ("market.>", True),
        ("market.binance.BTC.>", True),
        ("market.binance.BTC.candle", True),
        ("*.*.*.*", True),
        ("market.*.*.candle", True),
        ("market.binance.BTC.candle.>", False),
        ("market.*.candle", False),
        ("*", False),
        ("market.binance.BTC", False),
        ("market.binance.BTC.trade", False),
        ("bot.>", False),
    ],
)
def test_patterns(pattern: str, expected: bool) -> None:
    assert subjects.matches(pattern, "market.binance.BTC", "candle") is expected


tokens = st.sampled_from(["a", "b", "*"])
patterns = st.builds(
    lambda head, tail: ".".join([*head, *tail]), st.lists(tokens, min_size=1, max_size=3), st.sampled_from([[], [">"]])
)
NAMES = [list(name) for size in (2, 3, 4, 5) for name in itertools.product("ab", repeat=size)]


def _matched(pattern: str) -> set[str]:
    return {".".join(name) for name in NAMES if subjects.matches(pattern, ".".join(name[:-1]), name[-1])}


@given(patterns, patterns)
def test_covers_and_overlap_are_what_matching_says(one: str, other: str) -> None:
    if one.count(".") and other.count("."):  # subjects of a single token do not exist
        assert overlap(one, other) == bool(_matched(one) & _matched(other))
        if covers(one, other):
            assert _matched(other) <= _matched(one)


@given(st.lists(patterns, min_size=1, max_size=6))
def test_filters_ask_for_all_that_is_wanted_and_never_overlap(wanted: list[str]) -> None:
    asked, _ = filters("t", wanted)
    assert len(asked) <= FILTERS_MAX
    assert not any(overlap(a, b) for place, a in enumerate(asked) for b in asked[:place])
    found = set().union(*(_matched(one.removeprefix("t.")) for one in asked)) if asked else _matched(">")
    assert set().union(*map(_matched, wanted)) <= found


def test_no_pattern_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pattern"):
        filters("main", [])


def test_names_of_any_length_are_read_and_long_ones_are_not_kept() -> None:
    """Strangers make them up: what is kept of them must not grow."""
    index, kept = PatternIndex([("feed.x.>", 1)]), subjects._split.cache_info().currsize
    for number in range(50):
        actor, kind = subjects.split(f"main.feed.x.{number}{'y' * 300}")
        assert (actor, kind) == ("feed.x", f"{number}{'y' * 300}")
        assert subjects.matches("feed.*.>", actor, kind)
        assert index.find(actor, kind) == (1,)
    assert subjects._split.cache_info().currsize == kept
    assert not index._known
