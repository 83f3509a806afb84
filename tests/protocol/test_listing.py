import pytest
from msgspec.structs import replace

from fanout.protocol import Header, MalformedError, encode_header, encode_instruments
from fanout.protocol.listing import Listing
from tests.protocol.golden import BTC, HEADER


def header_of(*symbols: str, epoch_ns: int = 7) -> Header:
    return replace(
        HEADER,
        epoch_ns=epoch_ns,
        instruments=tuple(replace(BTC, index=i, symbol=each) for i, each in enumerate(symbols)),
        references=HEADER.references[:1] * len(symbols),
    )


def run(header: Header, first: int, stop: int) -> bytes:
    (payload,) = encode_instruments(header, first, stop)
    return payload


def test_a_header_is_whole_once_all_its_instruments_have_come() -> None:
    header = header_of("A", "B", "C")
    listing = Listing()
    assert listing.whole is None
    listing = listing.begin(encode_header(header))
    for first in range(3):
        assert listing.whole is None
        listing = listing.add(run(header, first, first + 1))
    assert listing.whole == header


def test_a_header_without_instruments_is_whole_at_once() -> None:
    assert Listing().begin(encode_header(header_of())).whole == header_of()


def test_a_step_leaves_the_listing_before_it_as_it_was() -> None:
    header = header_of("A", "B")
    before = Listing().begin(encode_header(header))
    after = before.add(run(header, 0, 2))
    assert (before.whole, after.whole) == (None, header)
    assert before.dropped() == after.dropped() == Listing()


def test_a_header_in_use_is_no_longer_gathered() -> None:
    listing = Listing().begin(encode_header(header_of())).using(header_of("A"))
    assert listing == Listing(epoch_ns=7, symbols=("A",))


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (("X",), "index 0 was A, and is now X"),
        (("A", "X"), "index 1 was B, and is now X"),
        (("B", "A"), "index 0 was A, and is now B"),
    ],
)
def test_an_index_keeps_its_symbol_within_an_epoch(symbols: tuple[str, ...], message: str) -> None:
    listing = Listing().using(header_of("A", "B"))
    with pytest.raises(MalformedError, match=message):
        listing.using(header_of(*symbols))
    assert listing.using(header_of(*symbols, epoch_ns=8)).symbols == symbols


def test_symbols_that_an_older_header_lacks_are_remembered() -> None:
    listing = Listing().using(header_of("A", "B")).using(header_of("A"))
    assert listing.symbols == ("A", "B")
    assert listing.using(header_of("A", "B", "C")).symbols == ("A", "B", "C")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("a", "x"), "column 1 was b, and is now x"),
        (("a",), "column 1 was b, and is now None"),
        (("a", "b", "c"), "column 2 was None, and is now c"),
    ],
)
def test_an_epoch_keeps_its_columns(columns: tuple[str, ...], message: str) -> None:
    listing = Listing().using(replace(header_of("A"), columns=("a", "b")))
    with pytest.raises(MalformedError, match=message):
        listing.using(replace(header_of("A"), columns=columns))
    later = listing.using(replace(header_of("A", epoch_ns=8), columns=columns))
    assert later.columns == columns
