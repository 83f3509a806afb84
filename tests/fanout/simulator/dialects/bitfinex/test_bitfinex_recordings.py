"""Recorded sessions with Bitfinex: what the reader finds, and that the service's venue understands
the same from the recording and from the dialect."""

import gzip
from collections.abc import Sequence
from itertools import islice

import pytest

from fanout.protocol import DataKinds, Instrument, OrderBook
from fanout.simulator.dialects.base import Session
from fanout.simulator.dialects.bitfinex import Bitfinex
from fanout.simulator.dialects.bitfinex.channels import SEQ_ALL, TIMESTAMP, Own, session_of
from fanout.simulator.dialects.bitfinex.frames import BOOK, TRADES
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import Found, Recorded, RecordedMessage, RecordedPast
from fanout.venues import VenueDepth, VenueItem, VenueTrade
from fanout.venues.bitfinex import Bitfinex as TheVenue
from fanout.venues.bitfinex.dialogue import BitfinexDialogue
from tests.captures import capture_path

BITFINEX = Bitfinex()
ALL = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE

SUBSCRIBED = (
    b'{"event":"subscribed","channel":"trades","chanId":1,"symbol":"tBTCUSD","pair":"BTCUSD"}',
    b'{"event":"subscribed","channel":"book","chanId":2,"symbol":"tBTCUSD","prec":"P0"}',
    b'{"event":"subscribed","channel":"book","chanId":3,"symbol":"tBTCUSD","prec":"R0"}',
    b'{"event":"subscribed","channel":"ticker","chanId":4,"symbol":"tBTCUSD"}',
)


def read(*frames: bytes) -> list[Found]:
    reader = BITFINEX.reader()
    return [found for frame in (*SUBSCRIBED, *frames) for found in reader.read(frame)]


def test_trades_keep_their_digits() -> None:
    past, trade = read(
        b"[1,[[8,1542045947738,-1e-7,6443.1],[7,1542045905966,0.5,6443]]]",
        b'[1,"te",[9,1542045947739,0.00265425,6443.06516425]]',
    )
    assert isinstance(past, RecordedPast)
    assert [(each.trade_id, each.quantity, each.buyer_is_maker) for each in past.trades] == [
        (7, "0.5", False),
        (8, "0.0000001", True),
    ]
    assert past.payload == (
        b"[1,[[8,1542045947738,-1e-7,6443.1],[7,1542045905966,0.5,6443]],1542045947738]"
    )
    assert isinstance(trade, Recorded)
    assert (trade.trade.price, trade.trade.time_ms) == ("6443.06516425", 1542045947739)
    assert trade.payload == (b'[0,"te",[9,1542045947739,0.00265425,6443.06516425],1542045947739]')


def test_levels_are_read_with_their_sides() -> None:
    reader = BITFINEX.reader()
    whole, empty, gone = read(
        b"[2,[[7e-7,1,2],[8e-7,3,-0.5]]]", b"[2,[]]", b"[2,[7e-7,0,1]]", b'[2,"hb"]'
    )
    found = [reader.levels(each.payload) for each in (whole, empty, gone) if is_message(each)]
    assert [(each.bids, each.asks, each.is_whole) for each in found] == [
        ([("0.0000007", "2")], [("0.0000008", "0.5")], True),
        ([], [], True),
        ([("0.0000007", "0")], [], False),
    ]
    with pytest.raises(ValueError, match="without levels"):
        reader.levels(b"[2,7]")


def is_message(found: Found) -> bool:
    return isinstance(found, RecordedMessage) and found.symbol == "tBTCUSD"


def test_other_messages_bring_nothing_and_times_are_the_sessions() -> None:
    others = (b'[1,"hb"]', b'[1,"tu",[9,1,1,1]]', b"[3,[[1,2,3]]]", b"[4,[1,2]]", b"[5,[1,2,3]]")
    assert read(*others) == []
    conf = b'{"event":"conf","status":"OK","flags":98304}'
    (change,) = read(conf, b"[2,[7254.7,0,1],5,1574694478810]")
    assert isinstance(change, RecordedMessage)
    assert change.payload == b"[0,[[7254.7,0,1]],1574694478810]"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"[1,", "truncated"),
        (b'[1,"te",[9]]', "array that is too short"),
        (b'{"event":7}', "Expected `str`"),
        (b'["x",[]]', "invalid literal"),
    ],
)
def test_a_frame_that_cannot_be_read_is_a_value_error(frame: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(frame)


def test_a_symbol_tells_its_contract() -> None:
    names = ("tBTCF0:USTF0", "tBTCUSD")
    listings = [BITFINEX.reader().described(Listing(each, "1", "1", "1")) for each in names]
    assert [each.contract_type for each in listings] == ["perpetual", ""]


class Ends:
    """The service's venue at the end of a connection."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.units = {
            each: Instrument(index=index, symbol=each, price_exponent=-8, quantity_exponent=-8)
            for index, each in enumerate(symbols)
        }
        self.dialogue: BitfinexDialogue = TheVenue(data=ALL).dialogue(tuple(symbols), self.units)
        self.dialogue.opening()
        self.books = {each: OrderBook(unit) for each, unit in self.units.items()}
        self.trades: list[VenueTrade] = []

    def hear(self, message: bytes) -> None:
        items: list[VenueItem] = []
        outcome = self.dialogue.receive(message, items)
        assert outcome is None or outcome.lost is None
        self.trades += [each for each in items if isinstance(each, VenueTrade)]
        for each in items:
            if isinstance(each, VenueDepth):
                self.books[each.symbol].apply(each.update)


def opened(symbols: Sequence[str]) -> Session:
    """A session with all channels, whose messages are numbered and have times."""
    own = Own(SEQ_ALL | TIMESTAMP)
    for symbol in symbols:
        own = own.with_channel(f"{TRADES}:{symbol}").with_channel(f"{BOOK}:{symbol}")
    return session_of(own)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("bitfinex_p0_trades_7pairs_seq_20210417.gz", 1_000),
        ("bitfinex_p0_trades_8pairs_seq_20210405.gz", 2_000),
        ("bitfinex_p0_trades_btcusd_20181112.gz", 2_000),
    ],
)
def test_the_venue_takes_the_same_from_a_recording_and_from_the_dialect(
    name: str, most: int
) -> None:
    with gzip.open(capture_path(f"venues/{name}")) as lines:
        texts = [line.partition(b" ")[2].strip() for line in islice(lines, most)]
    frames = [each for each in texts if not each.startswith(b"> ")]
    reader = BITFINEX.reader()
    found = [each for frame in frames for each in reader.read(frame)]
    symbols = tuple(dict.fromkeys(each.symbol or "" for each in found))
    recorded, simulated, session, count = Ends(symbols), Ends(symbols), opened(symbols), 0
    for frame in frames:
        recorded.hear(frame)
    simulated.hear(b'{"event":"conf","status":"OK","flags":98304}')
    for channel in session_channels(session):
        simulated.hear(channel)
    for each in found:
        kind = BOOK if isinstance(each, RecordedMessage) else TRADES
        for message in BITFINEX.split(each.payload):  # type: ignore[union-attr]
            wire, count = BITFINEX.personal(message, f"{kind}:{each.symbol}", session, count)
            simulated.hear(wire)
    assert simulated.trades == recorded.trades
    assert len(simulated.trades) >= 30
    for symbol in symbols:
        assert simulated.books[symbol].levels() == recorded.books[symbol].levels()


def session_channels(session: Session) -> list[bytes]:
    assert isinstance(session.own, Own)
    form = b'{"event":"subscribed","channel":"%b","chanId":%d,"symbol":"%b"}'
    return [
        form % (each.name.partition(":")[0].encode(), each.number, each.symbol.encode())
        for each in session.own.channels
    ]
