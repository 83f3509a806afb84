"""`fanout venues`, and the symbols of a venue where the operator names none."""

import json

import pytest

from fanout.cli.columns import aligned
from fanout.protocol import DataKinds
from fanout.venues import VENUES, BinanceSpot
from fanout.venues.values import BookSource, Continuity, SecretNames
from tests.fanout.cli.processes import at_once


class Other(BinanceSpot):
    """A venue with the longest words that there are."""

    name = "other"
    title = "Other Exchange"
    kinds = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams = ("trade",)
    continuity = Continuity.SEQUENCE
    book_source = BookSource.STREAM
    secrets = SecretNames(id="FANOUT_OTHER_CLIENT_ID", secret="FANOUT_OTHER_CLIENT_SECRET")
    default_assets = ("BTCEUR",)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VENUES, "longest-name-here", Other)


def test_without_assets_those_of_the_venues_class_are_taken() -> None:
    done = at_once("--venue", "longest-name-here", "config", "--json")
    shown = json.loads(done.stdout)
    assert shown["sources"][0]["assets"] == ["BTCEUR"]
    said = next(each for each in shown["options"] if each["name"] == "assets")
    assert said == {"name": "assets", "value": ["BTCEUR"], "source": "default"}
    assert at_once("config").stdout.startswith('assets = ["BTCUSDT", "ETHUSDT"]     # default\n')


def test_every_venue_is_listed_with_what_it_brings_in_80_columns() -> None:
    done = at_once("venues")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["VENUE", "DATA", "STREAMS", "CONTINUITY", "BOOK"]
    assert [each.split()[0] for each in lines[1:] if not each.startswith(" ")] == list(VENUES)
    assert [" ".join(each.split()) for each in lines[-4:]] == [
        "longest-name-here trades,quotes,book trade sequence stream",
        "Other Exchange",
        "default symbols BTCEUR",
        "optional FANOUT_OTHER_CLIENT_ID, FANOUT_OTHER_CLIENT_SECRET",
    ]


def test_venues_are_objects_a_line_for_programs() -> None:
    shown = [json.loads(each) for each in at_once("venues", "--json").stdout.splitlines()]
    assert [each["name"] for each in shown] == list(VENUES)
    assert shown[-1] == {
        "name": "longest-name-here",
        "title": "Other Exchange",
        "data": ["trades", "quotes", "book"],
        "streams": ["trade"],
        "continuity": "sequence",
        "book_source": "stream",
        "optional_variables": ["FANOUT_OTHER_CLIENT_ID", "FANOUT_OTHER_CLIENT_SECRET"],
        "default_assets": ["BTCEUR"],
    }
    (sim,) = (each for each in shown if each["name"] == "sim")
    assert (sim["title"], sim["optional_variables"]) == (
        "built-in simulator of Binance USDⓈ-M perpetuals",
        [],
    )


def test_wide_characters_take_two_columns() -> None:
    assert list(aligned([("币安", "x"), ("abcd", ""), ("a", "y")])) == [
        "币安  x",
        "abcd",
        "a     y",
    ]
