"""The stage of all venues: hold times of blocks, and its rows."""

import socket

import pytest

from fanout.protocol import (
    Block,
    Header,
    Instrument,
    Reference,
    Trade,
    TradeKind,
    encode_block,
    frame,
)
from fanout.protocol.header import opening
from fanout.venues import VENUES
from tests.bench.venues import Client, Found, percentiles, rows
from tests.misbehaviour.scene import DIALECT_OF

BTC = Instrument(index=0, symbol="BTC", price_exponent=-1, quantity_exponent=-3)
ZERO = Reference(price=0, quantity=0, trade_id=0, time=0)
HEADER = Header(epoch_ns=1, next_seq=1, venue="v", instruments=(BTC,), references=(ZERO,))


def block(seq: int, held_ns: int) -> bytes:
    trade = Trade(
        instrument=BTC,
        trade_id=seq,
        time=1,
        price=5,
        quantity=7,
        buyer_is_maker=False,
        kind=TradeKind.MARKET,
    )
    return frame(
        encode_block(Block(first_seq=seq, trades=[trade], received_ns=1, held_ns=held_ns), HEADER)
    )


def test_hold_times_are_those_of_the_blocks_that_came_after() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        with peer:
            peer.sendall(opening(HEADER) + block(1, 9_000))
            before = len(opening(HEADER)) + len(block(1, 9_000))
            peer.sendall(block(2, 5_000) + block(3, 7_000))
        client.join()
    assert client.held_us(0)["trades"] == [9, 5, 7]
    assert client.held_us(before) == {"trades": [5, 7], "quotes": [], "book": []}


def test_each_kind_of_data_has_its_percentiles() -> None:
    found = Found({"trades": [float(each) for each in range(101)]}, 12.5, 400)
    assert percentiles(found.held_us["trades"]) == (50, 99)
    assert [(each.name, each.value) for each in rows("okx", found)] == [
        ("okx, trades, p50", 50),
        ("okx, trades, p99", 99),
        ("okx, CPU", 12.5),
        ("okx, messages", 400),
    ]


def test_every_venue_has_a_dialect_to_be_measured_with() -> None:
    assert set(DIALECT_OF) == set(VENUES) - {"sim"}


def test_too_few_blocks_have_no_percentiles() -> None:
    with pytest.raises(ValueError, match="two data points"):
        percentiles([1.0])
