from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text, to_decimal, to_float, to_text

I64 = st.integers(-(2**63), 2**63 - 1)
EXPONENTS = st.integers(-18, 8)


@pytest.mark.parametrize(
    ("text", "exponent", "value"),
    [
        ("61800.30", -2, 6_180_030),
        ("0.0044478", -7, 44_478),
        ("0", -2, 0),
        ("0.000", -2, 0),
        ("7", -3, 7_000),
        ("7.5", -2, 750),
        ("7.5", -3, 7_500),
        ("4.00000100", -6, 4_000_001),
        ("-37.63", -2, -3_763),
        ("1200", 2, 12),
        ("12.00", 0, 12),
        ("00012", 0, 12),
        ("0." + "0" * 62, 8, 0),
        ("1" * 64, 0, int("1" * 64)),
        ("-" + "1" * 63, -1, -10 * int("1" * 63)),
    ],
)
def test_a_decimal_string_is_exactly_one_integer(text: str, exponent: int, value: int) -> None:
    assert from_text(text, exponent) == value


NOT_NUMBERS = ["", ".", "-", "1.", ".5", "-.5", "--1", "+1", " 1", "1 ", "1_000", "1e5", "1,5"]
NOT_NUMBERS += [
    "1.2.3",
    "NaN",
    "0x10",
    "\u0661\u0662",
    "1\n",
    "\u0663.5",
    "-1_0",
    "Infinity",
    "1.-5",
]


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_not_a_plain_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(NotRepresentableError):
        from_text(text, -2)


@pytest.mark.parametrize(("text", "exponent"), [("0.001", -2), ("61800.305", -2), ("15", 1)])
def test_digits_below_the_exponent_are_refused_not_rounded(text: str, exponent: int) -> None:
    with pytest.raises(NotRepresentableError, match="digits below"):
        from_text(text, exponent)


@pytest.mark.parametrize("text", ["1" * 65, "0." + "0" * 10_000, "9" * 1_000_000])
def test_a_number_of_absurd_length_is_refused_without_being_converted(text: str) -> None:
    with pytest.raises(NotRepresentableError, match="characters"):
        from_text(text, -2)


@given(I64, EXPONENTS)
def test_text_and_decimal_are_exact_both_ways(value: int, exponent: int) -> None:
    text = to_text(value, exponent)
    assert from_text(text, exponent) == value
    assert Decimal(text) == to_decimal(value, exponent)


@given(I64, EXPONENTS)
def test_a_decimal_is_exact_in_a_context_of_little_precision(value: int, exponent: int) -> None:
    with localcontext(prec=3):
        sign, digits, power = to_decimal(value, exponent).as_tuple()
    assert (-1) ** sign * int("".join(map(str, digits))) == value
    assert power == exponent


@given(I64, EXPONENTS)
def test_a_float_is_the_nearest_there_is(value: int, exponent: int) -> None:
    assert to_float(value, exponent) == float(to_decimal(value, exponent))


def test_trailing_zeros_are_kept() -> None:
    assert to_text(6_180_030, -2) == str(to_decimal(6_180_030, -2)) == "61800.30"
    assert to_text(-5, -3) == "-0.005"
    assert to_text(0, -2) == str(to_decimal(0, -2)) == "0.00"
    assert to_text(12, 2) == "1200"
