"""Which instruments a consumer takes, and which headers it refuses."""

from decimal import Decimal

import pytest

from fanout.analytics.consumer.config import SymbolConfig
from fanout.analytics.consumer.roster import Listed, Need, Roster
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Reference

NOTHING = Reference(price=0, quantity=0, trade_id=0, time=0)


def instrument(symbol: str, index: int = 0, tick: int = 10) -> Instrument:
    return Instrument(
        index=index, symbol=symbol, price_exponent=-2, quantity_exponent=-3, tick=tick
    )


def header(venue: str, *symbols: str, tick: int = 10) -> Header:
    instruments = tuple(instrument(each, index, tick) for index, each in enumerate(symbols))
    return Header(
        epoch_ns=1,
        next_seq=1,
        venue=venue,
        instruments=instruments,
        references=(NOTHING,) * len(instruments),
    )


def wanted(symbol: str, venue: str = "okx", tick: str | None = None) -> SymbolConfig:
    return SymbolConfig(venue=venue, symbol=symbol, tick=None if tick is None else Decimal(tick))


def roster(
    *symbols: SymbolConfig,
    streams: int = 1,
    named: tuple[str, ...] = (),
    needs: tuple[Need, ...] = (),
    most: int = 9,
) -> Roster:
    names = [f"tcp://h:{each}" for each in range(streams)]
    return Roster(names, symbols, only=[()] * streams, named=named, needs=needs, most=most)


def refusal(of: Roster, *headers: Header) -> str:
    *before, last = headers
    for stream, each in enumerate(before):
        of.take(stream, each)
    with pytest.raises(ConsumerConfigError) as caught:
        of.take(len(before), last)
    return str(caught.value)


def test_without_symbols_all_are_taken() -> None:
    assert roster().take(0, header("okx", "A", "B")) == ("A", "B")


def test_a_stream_gives_those_of_its_venue_that_are_wanted() -> None:
    both = roster(wanted("A"), wanted("B", "bybit"), streams=2)
    assert both.take(0, header("okx", "A", "B")) == ("A",)
    assert both.take(1, header("bybit", "A", "B")) == ("B",)


def test_symbols_can_be_asked_of_one_stream_or_of_any() -> None:
    one = Roster(["a", "b"], (), only=[("A",), ()], most=9)
    assert one.take(0, header("okx", "A", "B")) == ("A",)
    assert one.take(1, header("okx", "B", "C")) == ("B", "C")
    assert roster(named=("B",)).take(0, header("okx", "A", "B")) == ("B",)


def test_rows_of_all_streams_are_numbered_in_one_list() -> None:
    both = roster(streams=2)
    both.take(0, header("okx", "A"))
    both.take(1, header("bybit", "A"))
    assert [both.place(1, instrument("A", 7)), both.place(0, instrument("A", 3))] == [0, 1]
    assert both.place(1, instrument("A", 8)) == 0
    assert both.listed == [
        Listed("bybit", "A", instrument("bybit:A", 0)),
        Listed("okx", "A", instrument("okx:A", 1)),
    ]


def test_a_listing_that_is_not_known_yet_is_waited_for() -> None:
    one = roster(wanted("A"))
    assert one.take(0, header("okx")) == ()
    assert one.take(0, header("okx", "A")) == ("A",)


def test_a_header_may_come_again_with_more_symbols() -> None:
    one = roster()
    one.take(0, header("okx", "A"))
    assert one.take(0, header("okx", "A", "B")) == ("A", "B")


def test_a_tick_has_to_be_the_venues_own() -> None:
    assert roster(wanted("A", tick="0.10")).take(0, header("okx", "A")) == ("A",)
    assert refusal(roster(wanted("A", tick="0.01")), header("okx", "A")) == (
        "okx A: tick 0.01 is not the venue's, which is 0.1"
    )
    assert refusal(roster(wanted("A", tick="500")), header("okx", "A", tick=10_000)) == (
        "okx A: tick 500 is not the venue's, which is 100"
    )
    assert refusal(roster(wanted("A", tick="0.1")), header("okx", "A", tick=0)) == (
        "okx A: tick 0.1 cannot be checked, since the service does not name the venue's: "
        "leave tick out"
    )


def test_a_symbol_that_nobody_has_is_refused_once_all_headers_are_there() -> None:
    both = roster(wanted("A"), wanted("B"), wanted("C"), streams=2)
    assert both.take(0, header("okx", "A")) == ("A",)
    with pytest.raises(ConsumerConfigError, match=r"^no input has okx C$"):
        both.take(1, header("okx", "B"))
    assert refusal(roster(named=("A", "Z")), header("okx", "A")) == "no input has Z"


def test_a_symbol_of_two_streams_is_refused() -> None:
    assert refusal(roster(streams=2), header("okx", "A"), header("okx", "A")) == (
        "okx A comes from tcp://h:0 and from tcp://h:1: name symbols for each input"
    )


def test_a_stream_of_which_nothing_is_wanted_is_refused() -> None:
    both = roster(wanted("A"), streams=2)
    assert refusal(both, header("okx", "A"), header("bybit", "A", "B")) == (
        "tcp://h:1: none of the symbols is one of its 2 of bybit: leave this input out"
    )


def test_more_symbols_than_the_limit_are_refused() -> None:
    assert refusal(roster(most=2), header("okx", "A", "B", "C")) == (
        "the inputs have more than 2 symbols: name those that are wanted"
    )


@pytest.mark.parametrize(
    ("venue", "symbol", "its"),
    [
        ("bybit", "A", "bybit A"),
        ("okx", "B", "okx B"),
        ("", "C", "C"),
        ("deribit", "", "deribit"),
    ],
)
def test_what_is_for_an_instrument_that_no_input_has_is_refused(
    venue: str, symbol: str, its: str
) -> None:
    """Once the headers of all inputs are there."""
    of = roster(streams=2, needs=(Need("a", "okx", "A"), Need("btc.json", venue, symbol)))
    words = refusal(of, header("okx", "A"), header("bybit", "B"))
    assert words == f"btc.json is for {its}, which no input has: leave it out"


def test_what_is_for_an_instrument_that_is_not_wanted_is_refused() -> None:
    words = refusal(
        roster(wanted("A"), needs=(Need("b.json", "okx", "B"),)), header("okx", "A", "B")
    )
    assert words == (
        "b.json is for okx B, which no input has, or no [[symbol]] names: leave it out"
    )


@pytest.mark.parametrize("need", [("okx", "A"), ("", "A"), ("bybit", ""), ("", "")])
def test_what_some_input_has_is_there(need: tuple[str, str]) -> None:
    of = roster(streams=2, needs=(Need("btc.json", *need),))
    of.take(0, header("okx", "A"))
    of.take(1, header("bybit", "B"))


def test_symbols_of_the_command_line_make_other_needs_idle() -> None:
    of = roster(named=("A",), needs=(Need("b.json", "okx", "B"),))
    assert of.take(0, header("okx", "A", "B")) == ("A",)
    of = roster(named=("A",), needs=(Need("signal a", "bybit", ""),))
    assert refusal(of, header("okx", "A")).startswith("signal a is for bybit, which no input")
