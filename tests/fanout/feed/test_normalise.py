import pytest
from msgspec.structs import replace

from fanout.feed.normalise import to_quote, to_trade
from fanout.protocol import Instrument, Trade, TradeKind
from fanout.protocol.errors import NotRepresentableError
from fanout.venues.values import VenueQuote, VenueTrade

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def venue_trade(trade_id: int, symbol: str = "BTCUSDT", **changes: object) -> VenueTrade:
    fields: dict[str, object] = {
        "symbol": symbol,
        "trade_id": trade_id,
        "time": 1_723_161_256_322,
        "price": "61800.30",
        "quantity": "0.006",
        "buyer_is_maker": False,
        "kind": TradeKind.MARKET,
    }
    return VenueTrade(**{**fields, **changes})  # type: ignore[arg-type]


def test_decimal_strings_become_integers_at_the_instruments_exponents() -> None:
    assert to_trade(venue_trade(5_266_583_935), BTC) == Trade(
        BTC, 5_266_583_935, 1_723_161_256_322, 6_180_030, 6, False
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "61800.305"},
        {"price": "1e5"},
        {"price": ""},
        {"quantity": "0.0001"},
        {"quantity": "-1"},
        {"quantity": "0.000"},
        {"price": "9" * 30},
        {"time": -1},
    ],
)
def test_a_trade_that_cannot_be_represented_is_refused_with_its_value(
    changes: dict[str, object],
) -> None:
    with pytest.raises(NotRepresentableError, match="BTCUSDT trade 2") as refusal:
        to_trade(venue_trade(2, **changes), BTC)
    assert str(next(iter(changes.values())))[:20] in str(refusal.value)


def quote(**changes: object) -> VenueQuote:
    made = VenueQuote("BTCUSDT", 7, 5, "61800.20", "2.500", "61800.30", "1.200")
    return replace(made, **changes)


def test_a_quote_becomes_integers() -> None:
    made = to_quote(quote(), BTC)
    assert (made.update_id, made.time) == (7, 5)
    assert (made.bid_price, made.bid_quantity) == (6_180_020, 2_500)
    assert (made.ask_price, made.ask_quantity) == (6_180_030, 1_200)


def test_an_empty_side_of_a_quote_gets_the_price_of_the_other() -> None:
    made = to_quote(quote(bid_price="0.00", bid_quantity="0.000"), BTC)
    assert (made.bid_price, made.bid_quantity, made.ask_price) == (6_180_030, 0, 6_180_030)
    made = to_quote(quote(ask_price="0.00", ask_quantity="0.000"), BTC)
    assert (made.ask_price, made.ask_quantity, made.bid_price) == (6_180_020, 0, 6_180_020)


@pytest.mark.parametrize(
    "odd",
    [
        {"bid_price": "x"},
        {"ask_price": "61800.333"},
        {"bid_quantity": "-1.000"},
        {"ask_quantity": "1e5"},
        {"bid_price": "92233720368547758.08"},
        {"ask_quantity": "18446744073709551.616"},
        {"update_id": 2**64},
        {"time": 2**64},
    ],
)
def test_a_quote_that_fits_no_field_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(NotRepresentableError, match="BTCUSDT quote"):
        to_quote(quote(**odd), BTC)
