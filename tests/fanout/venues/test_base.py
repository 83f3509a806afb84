import pytest
from msgspec.structs import replace

from fanout.venues.base import NEVER_S, DialogueDefaults, VenueDefaults
from fanout.venues.values import BookSource, Listed, Refusal

ROW = Listed(symbol="BTC", price_exponent=-2, quantity_exponent=-3, time_exponent=-3)


def test_a_dialogue_by_default_says_nothing_of_its_own() -> None:
    dialogue = DialogueDefaults()
    assert (dialogue.due_s, dialogue.tick(1e9), dialogue.refresh("BTC")) == (NEVER_S, (), ())


def test_a_venue_by_default_is_one_part_without_key_clock_or_other_stream() -> None:
    venue = VenueDefaults()
    assert venue.parts() == (venue,)
    assert venue.without_key() is venue
    assert venue.fallback() is None
    assert venue.without_fallback() is venue
    assert venue.book_source is BookSource.REST
    assert venue.time_request() is None
    with pytest.raises(AssertionError, match="no request for the time"):
        venue.parse_time(b"1790000000000")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, None),
        (401, Refusal.KEY),
        (403, Refusal.FORBIDDEN),
        (429, Refusal.BUSY),
        (503, Refusal.PASSING),
        (404, Refusal.OTHER),
    ],
)
def test_by_default_the_status_alone_says_whether_an_answer_is_good(
    status: int, meaning: Refusal | None
) -> None:
    venue = VenueDefaults()
    assert venue.verdict(status, b'{"code":10006}') is meaning
    assert venue.banned_until_ms(b"banned until 1790000000000") is None
    assert venue.used_weight({"x-mbx-used-weight-1m": "7"}) is None


@pytest.mark.parametrize("field", ["price_exponent", "quantity_exponent", "time_exponent"])
def test_by_default_an_instrument_fits_a_row_with_the_same_units_only(field: str) -> None:
    venue, instrument = VenueDefaults(), ROW.instrument(0)
    assert venue.still_fits(instrument, replace(ROW, tick=5, base="BTC"))
    assert not venue.still_fits(instrument, replace(ROW, **{field: -4}))
