"""The symbols of a venue, where the operator names none."""

import json

import pytest

from fanout.venues import VENUES, BinanceSpot
from tests.fanout.cli.processes import at_once


class Other(BinanceSpot):
    name = "other"
    default_assets = ("BTCEUR",)


def test_without_assets_those_of_the_venues_class_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(VENUES, "other", Other)
    done = at_once("--venue", "other", "config", "--json")
    shown = json.loads(done.stdout)
    assert shown["sources"][0]["assets"] == ["BTCEUR"]
    said = next(each for each in shown["options"] if each["name"] == "assets")
    assert said == {"name": "assets", "value": ["BTCEUR"], "source": "default"}
    assert at_once("config").stdout.startswith('assets = ["BTCUSDT", "ETHUSDT"]     # default\n')
