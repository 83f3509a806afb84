"""Which fits a stream gets, and which are refused."""

import pytest
from msgspec.structs import replace

from fanout.analytics.errors import FitError
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.fits.microprice_fits import NamedFit, fits_for, read_fits
from tests.fanout.analytics.consumer.test_roster import header

FIT = MicropriceFit(
    symbol="A",
    venue="okx",
    price_exponent=-2,
    tick=10,
    epochs_ns=(1,),
    first_ns=1,
    last_ns=2,
    fitted_ns=3,
    observations=4,
    ticks=((-0.1, 0.1),),
)
OKX = header("okx", "A", "B")


def refusal(*fits: MicropriceFit) -> str:
    with pytest.raises(FitError) as caught:
        fits_for(OKX, ("A", "B"), [NamedFit(f"{each}.json", fit) for each, fit in enumerate(fits)])
    return str(caught.value)


def test_a_stream_gets_those_of_its_venue() -> None:
    other = replace(FIT, venue="bybit", symbol="Z")
    files = [("a", FIT.to_json()), ("z", other.to_json())]
    assert fits_for(OKX, ("A",), read_fits(files)) == {"A": FIT}
    assert fits_for(header("deribit", "A"), ("A",), read_fits(files)) == {}


def test_a_stream_does_not_get_those_of_symbols_that_others_of_its_venue_have() -> None:
    """A symbol that no stream has is refused by the roster."""
    fits = read_fits([("a", FIT.to_json())])
    assert fits_for(OKX, ("B",), fits) == {}
    assert [each.need for each in fits] == [("a", "okx", "A")]


def test_a_fit_of_another_unit_is_refused() -> None:
    assert refusal(replace(FIT, tick=1)) == (
        "0.json: the microprice was fitted for A with a tick of 1e-2, and the stream has A with "
        "10e-2: fit it for this one"
    )


def test_a_file_that_is_no_fit_and_two_of_one_symbol_are_refused() -> None:
    with pytest.raises(FitError, match=r"^a is no fit of a microprice, or is damaged: "):
        read_fits([("a", b"{}")])
    with pytest.raises(FitError, match=r"^b and a are both for okx A$"):
        read_fits([("a", FIT.to_json()), ("b", FIT.to_json())])
