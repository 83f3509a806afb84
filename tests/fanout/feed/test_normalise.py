import pytest

from fanout.feed.normalise import to_trade
from fanout.protocol import Instrument, Trade, TradeKind
from fanout.protocol.errors import NotRepresentableError
from fanout.venues.base import VenueTrade

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
