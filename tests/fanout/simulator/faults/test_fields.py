"""The vocabulary: what every fault may hold, and what is said of one that holds something else."""

from typing import Any

import msgspec
import pytest

from fanout.errors import UsageError
from fanout.simulator.faults import (
    FAULTS,
    Drop,
    Fault,
    Garbage,
    Http,
    Insert,
    Malformed,
    Shuffle,
    Silence,
    Skip,
    UnknownEvent,
)
from fanout.simulator.faults.fields import checked, described, fault_from

REQUIRED: dict[str, dict[str, Any]] = {
    "spend": {"weight": 100},
    "renumber": {"symbol": "BTCUSDT"},
    "relist": {"symbol": "BTCUSDT"},
    "delist": {"symbol": "BTCUSDT"},
    "list": {"symbol": "NEWUSDT"},
    "rename": {"symbol": "BTCUSDT", "to": "XBTUSDT"},
    "decimals": {"symbol": "BTCUSDT"},
    "odd": {"symbol": "BTCUSDT"},
    "clock": {"offset_ms": 5},
    "http": {"status": 503},
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_defaults_and_can_be_checked(name: str) -> None:
    fault = fault_from(name, REQUIRED.get(name, {}))
    assert checked(fault) == fault
    assert FAULTS[name].__doc__


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_survives_json(name: str) -> None:
    fault = fault_from(name, REQUIRED.get(name, {}))
    spelled = msgspec.json.encode(fault)
    assert msgspec.json.decode(spelled)["fault"] == name
    assert msgspec.json.decode(spelled, type=FAULTS[name]) == fault


def test_values_may_be_text() -> None:
    assert fault_from("skip", {"symbol": "BTCUSDT", "count": "3", "chance": "0.5"}) == Skip(
        "BTCUSDT", 3, chance=0.5
    )
    assert fault_from("silence", {"for_s": "2"}) == Silence(for_s=2.0)
    assert fault_from("http", {"status": "429", "requests": "null"}) == Http(429, requests=None)
    assert fault_from("garbage", {"framed": "false"}) == Garbage(framed=False)


def test_null_is_text_in_a_field_that_takes_only_text() -> None:
    assert fault_from("malformed", {"text": "null"}) == Malformed("null")


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("dorp", {}, "no fault 'dorp'; there are drop, "),
        ("drop", {"how": "softly"}, "how is 'softly'; give close, cut, half-open or reset"),
        ("drop", {"code": 5}, "code is 5; give a whole number, 1,000 to 4,999"),
        ("drop", {"reason": "x" * 124}, r"reason is 'x+'; give up to 123 ASCII characters"),
        ("drop", {"reason": "x" * 9_999}, r"reason is 'x{199}\.\.\.; give"),
        ("drop", {"speed": 1}, "no field 'speed'; it has how, code, reason, route, which"),
        ("drop", {"route": "sideways"}, "give business, market, private or public, or null"),
        ("stall", {"for_s": 0}, "for_s is 0; give a number above 0, to 1,000,000,000"),
        ("stall", {"for_s": "nan"}, "for_s is 'nan'"),
        ("stall", {"for_s": "inf"}, "for_s is 'inf'"),
        ("skip", {"count": 0}, "count is 0; give a whole number, 1 to 1,000,000"),
        ("skip", {"chance": 1.5}, "chance is 1.5; give a number above 0, to 1, or null"),
        ("skip", {"stream": "candles"}, "is 'candles'; give aggTrade, bookTicker, depth or trade"),
        ("shuffle", {"window": 1}, "window is 1; give a whole number, 2 to 10,000"),
        ("garbage", {"size_bytes": 2**30}, "size_bytes is 1073741824"),
        ("garbage", {"framed": "half"}, "framed is 'half'; give true or false"),
        ("event", {"data": [1]}, r"data is \[1\]; give an object"),
        ("http", {}, "give a status, delay_s, rows, body or sent_bytes"),
        ("http", {"status": 200}, "status is 200; give a whole number, 400 to 599, or null"),
        ("http", {"rows": -1}, "rows is -1; give a whole number, 0 or more, or null"),
        ("insert", {"count": 40_001}, "count is 40001"),
        ("insert", {"away": -1.0}, "away is -1.0; give a number above -1"),
        ("relist", {}, "fault relist: give symbol: text"),
        ("relist", {"symbol": "BTCUSDT", "tick_size": "0.00"}, "tick_size is '0.00'; give a deci"),
        ("relist", {"symbol": "BTCUSDT", "tick_size": "1e-5"}, "tick_size is '1e-5'"),
        ("clock", {"offset_ms": "soon"}, "offset_ms is 'soon'"),
    ],
)
def test_nonsense_is_refused_in_one_line(name: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        fault_from(name, fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Skip(count=0),
        Shuffle(window=1),
        Drop(how="softly"),
        Insert("BTCUSDT", count=-1),
        Malformed("\ud800"),
        UnknownEvent(data={"what": object()}),
    ],
)
def test_a_fault_built_in_python_is_checked_too(fault: Fault) -> None:
    with pytest.raises(UsageError):
        checked(fault)


@pytest.mark.parametrize("name", FAULTS)
def test_every_field_is_described(name: str) -> None:
    assert list(described(FAULTS[name])) == list(FAULTS[name].__struct_fields__)


def test_a_description_has_the_values_of_a_field_and_its_default() -> None:
    assert described(Skip) == {
        "symbol": "text, or null; null by default",
        "count": "a whole number, 1 to 1,000,000; 1 by default",
        "stream": 'aggTrade, bookTicker, depth or trade; "trade" by default',
        "chance": "a number above 0, to 1, or null; null by default",
    }
    assert described(FAULTS["delist"]) == {"symbol": "text"}


def test_only_liquidations_are_away_from_the_market_price() -> None:
    assert Insert("BTCUSDT", "INSURANCE_FUND").price_factor == pytest.approx(0.9)
    assert Insert("BTCUSDT", "ADL", away=0.25).price_factor == pytest.approx(1.25)
    assert Insert("BTCUSDT", "MARKET").price_factor == 1
