from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import VenueMessageError
from fanout.venues.times import micros_of

NOON = "2024-08-08T12:00:00"
NOON_US = 1_723_118_400_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        (f"{NOON}Z", NOON_US),
        (f"{NOON}.1Z", NOON_US + 100_000),
        (f"{NOON}.000001Z", NOON_US + 1),
        (f"{NOON}.123456Z", NOON_US + 123_456),
        (f"{NOON}.123456999Z", NOON_US + 123_456),
        (f"{NOON}.000000999Z", NOON_US),
        ("1970-01-01T00:00:00Z", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
        ("2024-02-29T00:00:01Z", 1_709_164_801_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str, micros: int) -> None:
    assert micros_of(text) == micros


@given(st.integers(0, 4 * 10**15))
def test_every_microsecond_is_read_back(micros: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert micros_of(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == micros


NOT_TIMES = [
    "",
    "Z",
    NOON,
    f"{NOON}.Z",
    f"{NOON}.1234567890Z",
    f"{NOON}z",
    f"{NOON}+00:00",
    f"{NOON},5Z",
    f" {NOON}Z",
    f"{NOON}Z\n",
    "2024-08-08 12:00:00Z",
    "2024-8-8T12:00:00Z",
    "2024-02-30T12:00:00Z",
    "2023-02-29T12:00:00Z",
    "2024-13-01T12:00:00Z",
    "2024-08-08T24:00:00Z",
    "2024-08-08T12:60:00Z",
    "2024-08-08T12:00:61Z",
    "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "\N{ARABIC-INDIC DIGIT TWO}024-08-08T12:00:00Z",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", NOT_TIMES, ids=lambda each: each[:30])
def test_other_text_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(VenueMessageError, match=r"^text that is no time: ") as caught:
        micros_of(text)
    assert len(str(caught.value)) < 300


def test_every_truncation_is_refused() -> None:
    whole = f"{NOON}.123456Z"
    for size in range(len(whole)):
        with pytest.raises(VenueMessageError):
            micros_of(whole[:size])
