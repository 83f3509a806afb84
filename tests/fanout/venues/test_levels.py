import pytest

from fanout.errors import VenueUnitsError
from fanout.protocol import Instrument
from fanout.protocol.book_records import pack_levels
from fanout.protocol.constants import Side
from fanout.venues.levels import packed_side

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def test_of_a_price_that_comes_twice_the_later_quantity_counts() -> None:
    pairs = [("1", "1"), ("2", "2"), ("1.00", "3")]
    assert packed_side(pairs, BTC, Side.BID) == pack_levels([(200, 2000), (100, 3000)])
    assert packed_side(pairs, BTC, Side.ASK) == pack_levels([(100, 3000), (200, 2000)])


def test_levels_in_no_order_are_packed_from_the_best_outwards() -> None:
    pairs = [("2", "0"), ("-1", "0.001"), ("3.50", "7")]
    assert packed_side(pairs, BTC, Side.BID) == pack_levels([(350, 7000), (200, 0), (-100, 1)])
    assert packed_side(pairs, BTC, Side.ASK) == pack_levels([(-100, 1), (200, 0), (350, 7000)])
    assert packed_side([], BTC, Side.BID) == b""


@pytest.mark.parametrize(
    "level",
    [
        ("1.005", "1"),
        ("1", "0.0005"),
        ("1e5", "1"),
        ("", "1"),
        ("1", ""),
        ("1", "x" * 10_000),
        ("9" * 30, "1"),
        ("1", "9" * 30),
        ("1", "-1"),
    ],
)
def test_a_level_that_does_not_fit_the_units_is_refused_in_one_short_line(
    level: tuple[str, str],
) -> None:
    for side in Side:
        with pytest.raises(VenueUnitsError, match="BTCUSDT") as caught:
            packed_side([("1", "1"), level], BTC, side)
        assert len(str(caught.value)) < 300
