import msgspec
import pytest

from fanout import protocol
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    End,
    EndReason,
    Event,
    FeedState,
    Gap,
    GapState,
    Level,
    NotRepresentableError,
    Order,
    OrderUpdate,
    Quote,
    Snapshot,
    Status,
    Trade,
    pack_levels,
    pack_orders,
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


POSITIONAL = (
    *(Trade, Quote, BookUpdate, OrderUpdate, protocol.FeatureRow, protocol.Packet),
    wire1.Wire1Trade,
)
"""What is made thousands of times a second."""


@pytest.mark.parametrize("value", VALUES)
def test_values_cannot_be_changed_and_their_fields_are_named(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.frozen
    if value not in POSITIONAL:
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


def test_a_quote_and_an_update_know_their_symbol() -> None:
    assert Quote(BTC, 1, 2, 3, 4, 5, 6).symbol == "BTCUSDT"
    assert BookUpdate(BTC, 1, 2, b"", b"").symbol == "BTCUSDT"
    assert OrderUpdate(LIFE, 1, 2, b"", b"").symbol == LIFE.symbol


def test_an_update_shows_the_levels_that_were_packed() -> None:
    bids, asks = [Level(7, 2**64 - 1), Level(-(2**63), 0)], [Level(2**63 - 1, 5)]
    update = BookUpdate(BTC, 1, 2, pack_levels(bids), pack_levels(asks))
    assert (update.bids, update.asks) == (bids, asks)
    assert (update.bids[0].price, update.asks[0].quantity) == (7, 5)
    assert len(update.packed_bids) == 2 * 16


def test_an_update_shows_the_orders_that_were_packed() -> None:
    bids, asks = [Order(2**64 - 1, -7, 2**64 - 1)], [Order(1, 2, 3), Order(1, 2, 0)]
    update = OrderUpdate(BTC, 1, 2, pack_orders(bids), pack_orders(asks))
    assert (update.bids, update.asks) == (bids, asks)
    assert (update.bids[0].order_id, update.asks[1].quantity) == (2**64 - 1, 0)
    assert len(update.packed_asks) == 2 * 24


@pytest.mark.parametrize("level", [(2**63, 1), (-(2**63) - 1, 1), (1, -1), (1, 2**64), (1.5, 1)])
def test_a_level_that_does_not_fit_is_not_packed(level: tuple[int, int]) -> None:
    with pytest.raises(NotRepresentableError, match="a level does not fit 64 bits"):
        pack_levels([(1, 1), level])


@pytest.mark.parametrize("order", [(-1, 1, 1), (2**64, 1, 1), (1, 2**63, 1), (1, 1, -1)])
def test_an_order_that_does_not_fit_is_not_packed(order: tuple[int, int, int]) -> None:
    with pytest.raises(NotRepresentableError, match="an order does not fit 64 bits"):
        pack_orders([order])


@pytest.mark.parametrize("type_", [BookUpdate, OrderUpdate])
def test_each_flag_of_an_update_can_be_asked_for(type_: type[BookUpdate | OrderUpdate]) -> None:
    for bits in range(8):
        update = type_(BTC, 1, 2, b"", b"", BookFlags(bits))
        found = (update.is_whole, update.has_more, update.is_top_only)
        assert found == (bool(bits & 1), bool(bits & 2), bool(bits & 4))
