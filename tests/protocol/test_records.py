import msgspec
import pytest

import protocol
from protocol import Trade
from tests.protocol.golden import BTC, LIFE


def test_a_trade_shows_its_numbers_as_text_decimal_and_float() -> None:
    trade = Trade(BTC, 1, 1_791_382_992_838, 8_309_170, 22, False)
    assert (trade.price_text, trade.quantity_text) == ("83091.70", "0.022")
    assert (str(trade.price_decimal), str(trade.quantity_decimal)) == ("83091.70", "0.022")
    assert (trade.price_float, trade.quantity_float) == (83091.7, 0.022)
    assert trade.symbol == "BTCUSDT"


@pytest.mark.parametrize(
    ("exponent", "time", "time_ms"),
    [
        (-3, 1_234, 1_234),
        (-3, 1_791_382_992_838, 1_791_382_992_838),
        (0, 2, 2_000),
        (-6, 1_999, 1),
        (-9, 10**6, 1),
        (-9, 1_791_382_992_838_999_999, 1_791_382_992_838),
    ],
)
def test_a_time_in_any_unit_is_told_in_whole_milliseconds(
    exponent: int, time: int, time_ms: int
) -> None:
    instrument = msgspec.structs.replace(LIFE, time_exponent=exponent)
    assert Trade(instrument, 1, time, 1, 1, False).time_ms == time_ms


VALUES = [
    each
    for each in vars(protocol).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct)
]


@pytest.mark.parametrize("value", VALUES)
def test_values_cannot_be_changed_and_their_fields_are_named(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.frozen
    if value is not Trade:
        with pytest.raises(TypeError, match="positional"):
            value(*range(len(value.__struct_fields__)))


def test_a_trade_cannot_be_changed() -> None:
    trade = Trade(BTC, 1, 2, 3, 4, False)
    with pytest.raises(AttributeError):
        trade.price = 5  # type: ignore[misc]
