import json
from typing import Any

import msgspec
import pytest

from fanout.errors import VenueMessageError
from fanout.venues.rows import RowError, asset, exponent, exponent_of, in_units, named, parse_rows
from fanout.venues.values import Listed, Listing

WRONG_TYPES: tuple[Any, ...] = (None, True, 1, 1.5, [], {}, ["BTC"])


class Row(msgspec.Struct):
    name: str
    tick: str


ROW = msgspec.json.Decoder(Row)


def listed(raw: msgspec.Raw) -> Listed:
    row = ROW.decode(raw)
    return Listed(
        symbol=row.name,
        price_exponent=exponent_of(row.tick),
        quantity_exponent=0,
        time_exponent=-3,
    )


def parsed(*rows: Any) -> Listing:
    return parse([row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows])


def parse(rows: list[bytes]) -> Listing:
    return parse_rows([msgspec.Raw(each) for each in rows], "toy", listed, named("name"))


BTC = {"name": "BTC", "tick": "0.10"}
ETH = {"name": "ETH", "tick": "0.01"}


def test_every_row_is_an_instrument_by_its_symbol() -> None:
    listing = parsed(BTC, ETH)
    assert (listing.venue, list(listing.rows), listing.odd) == ("toy", ["BTC", "ETH"], {})
    assert parsed() == Listing("toy", {}, {})


@pytest.mark.parametrize("value", WRONG_TYPES, ids=repr)
def test_a_row_with_a_value_of_the_wrong_type_hides_no_other(value: object) -> None:
    listing = parsed({**BTC, "tick": value}, {**ETH, "name": value}, ETH)
    assert list(listing.rows) == ["ETH"]
    assert list(listing.odd) == ["BTC", "row 1"]


@pytest.mark.parametrize("value", [*WRONG_TYPES, "BTC"], ids=repr)
def test_a_row_of_another_type_is_named_by_its_place(value: object) -> None:
    listing = parsed(ETH, value)
    assert list(listing.rows) == ["ETH"]
    assert list(listing.odd) == ["row 1"]


def test_every_truncation_of_a_row_is_odd_and_hides_no_other() -> None:
    whole = json.dumps(BTC).encode()
    for size in range(len(whole)):
        listing = parsed(ETH, whole[:size])
        assert list(listing.rows) == ["ETH"]
        assert len(listing.odd) == 1


def test_a_listing_in_which_no_row_has_a_name_is_refused() -> None:
    with pytest.raises(VenueMessageError, match="no row can be read"):
        parsed({"symbol": "BTC"}, None, 7)
    assert list(parsed({"name": "BTC"}).odd) == ["BTC"], "one that has one is an odd row"


def test_of_two_different_rows_of_a_symbol_none_counts() -> None:
    assert parsed(BTC, BTC).odd == {}
    listing = parsed(BTC, {**BTC, "tick": "1"}, ETH)
    assert (list(listing.rows), listing.odd) == (["ETH"], {"BTC": "two different rows"})


@pytest.mark.parametrize("symbol", ["", "S" * 65, "币" * 22, "BTC\x1bUSDT", "BTC\nUSDT"])
def test_a_symbol_that_no_header_carries_is_odd(symbol: str) -> None:
    listing = parsed({**BTC, "name": symbol}, ETH)
    assert list(listing.rows) == ["ETH"]
    assert all(each.isprintable() for each in listing.odd)


@pytest.mark.parametrize(
    ("step", "found"),
    [("1", 0), ("10", 0), ("0.1", -1), ("0.10", -2), ("0.00000001", -8), ("25.000", -3)],
)
def test_the_exponent_of_a_step_is_that_of_its_decimals(step: str, found: int) -> None:
    assert exponent_of(step) == found


@pytest.mark.parametrize(
    "step",
    [
        "",
        "0",
        "0.00",
        ".",
        ".5",
        "5.",
        "-0.1",
        "1e-8",
        "x",
        " 1",
        "1\n",
        "1_0",
        "0." + "0" * 18 + "1",
    ],
)
def test_a_step_that_is_no_size_makes_its_row_odd(step: str) -> None:
    with pytest.raises(RowError):
        exponent_of(step)


@pytest.mark.parametrize("decimals", [-9, 19, 10**30])
def test_decimals_that_no_header_carries_make_their_row_odd(decimals: int) -> None:
    with pytest.raises(RowError, match=f"precision {decimals}"):
        exponent(decimals)


@pytest.mark.parametrize(
    ("size", "exponent", "units"),
    [
        ("0.10", -2, 10),
        ("0.10", -1, 1),
        ("5", 0, 5),
        ("500", 2, 5),
        ("0.5", -8, 50_000_000),
        ("0", -2, 0),
        ("0.05", -1, 0),
        ("50", 2, 0),
        ("", -2, 0),
        ("-1", 0, 0),
        ("1e-2", -2, 0),
        ("1" * 20, -2, 0),
        ("1" * 21, 0, 0),
    ],
)
def test_a_size_is_a_whole_number_of_units_or_unknown(size: str, exponent: int, units: int) -> None:
    assert in_units(size, exponent) == units


def test_the_name_of_an_asset_is_read_or_unknown() -> None:
    assert asset(msgspec.Raw(b'"BTC"')) == "BTC"
    whole = b'"BTC"'
    odd = [whole[:size] for size in range(len(whole))]
    odd += [json.dumps(each).encode() for each in WRONG_TYPES]
    odd += [b'""', b'"%b"' % (b"B" * 1_000), b'"B\\u001b"', b'"\xff"']
    assert {asset(msgspec.Raw(each)) for each in odd} == {""}
