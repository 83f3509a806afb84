from decimal import Decimal

import pytest

from tests.protocol.golden import BTC, LIFE


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (8_309_170, "83091.70"),
        (0, "0.00"),
        (-5, "-0.05"),
        (-(2**63), "-92233720368547758.08"),
    ],
)
def test_a_price_is_shown_in_the_instruments_unit(price: int, text: str) -> None:
    assert BTC.price_text(price) == text
    assert BTC.price_decimal(price) == Decimal(BTC.price_text(price))


def test_a_quantity_is_shown_in_the_instruments_unit() -> None:
    assert (BTC.quantity_text(22), LIFE.quantity_text(22)) == ("0.022", "22")
    assert BTC.quantity_decimal(2**64 - 1) == Decimal("18446744073709551.615")
    assert str(BTC.quantity_decimal(1_500)) == "1.500"
