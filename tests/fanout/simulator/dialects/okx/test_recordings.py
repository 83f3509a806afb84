"""Recorded messages of OKX are found, with what REST and a new subscriber need to know of them."""

import json
from typing import Any

from fanout.simulator.dialects.okx import Okx
from fanout.simulator.dialects.okx.recordings import OkxReader
from fanout.simulator.dialects.okx.table import described
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Recorded,
    RecordedAggregate,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import RPI, Tick

ACK = b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}'


def fill(trade_id: int, channel: str = "trades", **more: str) -> bytes:
    """As OKX sent it in 2022."""
    row = {"instId": "BTC-USDT", "tradeId": str(trade_id), "px": "43474.1", "sz": "0.00373695"}
    arg = {"channel": channel, "instId": "BTC-USDT"}
    row = {**row, "side": "buy", "ts": "1646311839593", **more}
    return json.dumps({"arg": arg, "data": [row]}, separators=(",", ":")).encode()


def one(reader: OkxReader, frame: bytes) -> Any:
    (found,) = reader.read(frame)
    return found


def test_the_first_trade_behind_an_answer_is_one_of_before() -> None:
    reader = OkxReader()
    assert not reader.read(ACK)
    past = one(reader, fill(7))
    assert isinstance(past, RecordedPast)
    assert (past.kind, past.trades[0].trade_id, past.payload) == ("aggTrade", 7, fill(7))
    assert not reader.read(ACK)
    found = one(reader, fill(8))
    assert isinstance(found, RecordedAggregate)
    assert [each.trade_id for each in found.trades] == [8]
    tick = Tick(0, "", aggregate=found.aggregate, recorded=found.payload)
    assert Okx().payload(tick, microseconds=False) == fill(8)


def test_the_fills_of_a_sum_are_not_known() -> None:
    found = one(OkxReader(), fill(9, count="3", source="1"))
    assert isinstance(found, RecordedAggregate)
    assert (found.aggregate.first_id, found.aggregate.last_id, found.trades) == (7, 9, ())
    alone = one(OkxReader(), fill(9, "trades-all", source="1"))
    assert isinstance(alone, Recorded)
    assert (alone.trade.kind, alone.trade.buyer_is_maker) == (RPI, False)


def test_books_are_read_with_and_without_ids() -> None:
    row: dict[str, Any] = {"asks": [["3", "4", "0", "1"]], "bids": [], "ts": "5"}
    for channel, kind in (("books-l2-tbt", "depth@100ms"), ("bbo-tbt", "bookTicker")):
        arg = {"channel": channel, "instId": "BTC-USDT"}
        body = {"arg": arg, "action": "snapshot", "data": [row]}
        frame = json.dumps(body, separators=(",", ":")).encode()
        payload = frame.replace(b"books-l2-tbt", b"books")
        assert one(OkxReader(), frame) == RecordedMessage("BTC-USDT", kind, payload)
        levels = OkxReader().levels(frame)
        assert levels == RecordedLevels(0, [], [("3", "4")], 5, is_whole=True)
    assert not OkxReader().read(frame.replace(b"bbo-tbt", b"tickers"))


def test_a_recorded_book_without_ids_is_sent_without_them() -> None:
    class Market:
        def whole(self, stream: str) -> Snapshot:
            return Snapshot(0, 5, [], [("3", "4")])

    (message,) = Okx().greeting("books:X", "X@depth@100ms", Market(), None)  # type: ignore[arg-type]
    assert not {"seqId", "prevSeqId"} & json.loads(message)["data"][0].keys()


def test_a_symbol_tells_its_terms() -> None:
    def terms(symbol: str) -> tuple[str, str, str, int | None]:
        found = described(Listing(symbol, "1", "1", "1"))
        return found.contract_type, found.settled_in, found.contract_size, found.expires_ms

    assert terms("BTC-USDT") == ("SPOT", "", "", None)
    assert terms("UNI-USD-SWAP") == ("SWAP", "UNI", "10", None)
    assert terms("BTC-USDT-SWAP") == ("SWAP", "USDT", "1", None)
    assert terms("BTC-USD-220527") == ("FUTURES", "BTC", "100", 1_653_638_400_000)
    assert terms("ETH-USD-220624-12000-P") == ("OPTION", "ETH", "0.1", 1_656_057_600_000)
