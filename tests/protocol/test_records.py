import msgspec
import pytest

from fanout import protocol
from fanout.protocol import (
    End,
    EndReason,
    Event,
    FeedState,
    Gap,
    GapState,
    Snapshot,
    Status,
    Trade,
    wire1,
)
from tests.protocol.golden import BTC, EVENTS, LIFE


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
def test_a_time_in_any_unit_is_given_in_whole_milliseconds(
    exponent: int, time: int, time_ms: int
) -> None:
    instrument = msgspec.structs.replace(LIFE, time_exponent=exponent)
    assert Trade(instrument, 1, time, 1, 1, False).time_ms == time_ms


VALUES = [
    each
    for each in (vars(protocol) | vars(wire1)).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct)
]


@pytest.mark.parametrize("value", VALUES)
def test_values_cannot_be_changed_and_their_fields_are_named(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.frozen
    if value not in (Trade, wire1.Wire1Trade):
        with pytest.raises(TypeError, match="positional"):
            value(*range(len(value.__struct_fields__)))


@pytest.mark.parametrize("event", [*EVENTS.values(), Snapshot(trades=())])
def test_an_event_says_what_it_is_where_it_is_written_as_fields(event: Event | Snapshot) -> None:
    fields = msgspec.to_builtins(event)
    assert fields["type"] == type(event).__name__
    assert msgspec.convert(fields, Event | Snapshot) == event


def test_the_reason_of_an_event_is_empty_by_default() -> None:
    status = Status(seq=1, instrument=None, state=FeedState.LIVE, since_ns=1)
    gap = Gap(seq=2, instrument=BTC, first_id=1, last_id=1, state=GapState.OPEN)
    end = End(reason=EndReason.SHUTDOWN, last_seq=2, retry_ms=None)
    assert [each.why for each in (status, gap, end)] == ["", "", ""]


def test_a_trade_cannot_be_changed() -> None:
    trade = Trade(BTC, 1, 2, 3, 4, False)
    with pytest.raises(AttributeError):
        trade.price = 5  # type: ignore[misc]
