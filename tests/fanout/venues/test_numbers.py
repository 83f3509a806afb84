from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import VenueMessageError
from fanout.venues.numbers import MAX_PLACES, decimal_text, plain

LONGEST = "1" * (MAX_PLACES - 3) + ".125"


class Level(msgspec.Struct, array_like=True):
    price: msgspec.Raw
    count: int
    amount: msgspec.Raw


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0", "-0"),
        ("7", "7"),
        ("61800.30", "61800.30"),
        ("-0.000", "-0.000"),
        ("5e-7", "0.0000005"),
        ("5E-7", "0.0000005"),
        ("-5e-7", "-0.0000005"),
        ("1.50e-3", "0.00150"),
        ("12.5e-1", "1.25"),
        ("12e-2", "0.12"),
        ("0.5e0", "0.5"),
        ("0.5e+1", "5"),
        ("0.05e1", "0.5"),
        ("1.5e3", "1500"),
        ("1.25e1", "12.5"),
        ("0e5", "0"),
        ("0.0e-2", "0.000"),
        ("1e00000001", "10"),
        (LONGEST, LONGEST),
        ("1e39", "1" + "0" * 39),
        ("1e-39", "0." + "0" * 38 + "1"),
    ],
)
def test_a_number_keeps_its_digits_and_loses_its_exponent(number: str, text: str) -> None:
    assert plain(number) == text
    assert plain(text) == text


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=8, min_value=-(10**20), max_value=10**20
    )
)
def test_a_decimal_is_the_same_number_in_either_form(number: Decimal) -> None:
    for text in (f"{number:f}", f"{number:e}", f"{number.normalize():E}"):
        assert Decimal(plain(text)) == number
        assert "e" not in plain(text).lower()


NOT_NUMBERS = ["", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "1e-", "e5", "1e5.0", "1_000"]
NOT_NUMBERS += [
    " 1",
    "1 ",
    "1\n",
    "0x10",
    "NaN",
    "Infinity",
    "-Infinity",
    "1,5",
    "1.2.3",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "--1",
]


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_text_that_json_does_not_write_as_a_number_is_refused(text: str) -> None:
    with pytest.raises(VenueMessageError, match=r"^value that is no number: "):
        plain(text)


@pytest.mark.parametrize(
    "number",
    [
        "1" + LONGEST,
        "1" * 1_000_000,
        "1e40",
        "1e-40",
        "1.0e-39",
        "0.1e-39",
        "1e999999999",
        "1e-999999999",
        "0e999999999",
    ],
)
def test_a_number_of_too_many_digits_is_refused_in_one_short_line(number: str) -> None:
    with pytest.raises(VenueMessageError, match=r"number that is too long.*40 digits") as caught:
        plain(number)
    assert len(str(caught.value)) < 300


def test_every_truncation_of_a_number_is_another_number_or_refused() -> None:
    whole = "-618.25e-3"
    read = {}
    for size in range(len(whole)):
        try:
            read[whole[:size]] = plain(whole[:size])
        except VenueMessageError:
            continue
    assert read == {
        "-6": "-6",
        "-61": "-61",
        "-618": "-618",
        "-618.2": "-618.2",
        "-618.25": "-618.25",
    }


def test_the_digits_of_a_message_are_those_that_were_sent() -> None:
    message = b"[61800.10000000000000001,3,-2.5e-7]"
    level = msgspec.json.decode(message, type=Level)
    assert decimal_text(level.price) == "61800.10000000000000001"
    assert decimal_text(level.amount) == "-0.00000025"


@pytest.mark.parametrize(
    "value", [b'"1.5"', b"null", b"true", b"false", b"[]", b"[1]", b"{}", b'"\xff"', b'""']
)
def test_a_value_of_another_type_is_refused(value: bytes) -> None:
    with pytest.raises(VenueMessageError, match="value that is no number"):
        decimal_text(msgspec.Raw(value))
