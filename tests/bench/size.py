"""Bytes a trade.

Workload: the 21,313 trades of `btcusdt_20240808.gz`, in the order and at the times in which they
were received. The figure counts every byte of the frames that carry them: length prefix, block
header, trades, CRC. It leaves out what is sent once per connection: START and the session header.

Goals: at most 15 bytes a trade when trades received within one millisecond share a block, at most
45 when each trade has its own block.

The references are made from 500 trades, as the service makes them. A recording has no past, so its
own first 500 trades stand in for the exchange's answer. Every block states a hold time of 100 µs;
any value from 17 µs to 2 ms takes the same three bytes.

For comparison, the same trades in other formats:

- JSON: the text of each frame as recorded, with its envelope, without the WebSocket's framing.
- Binance's own SBE, which exists for spot only: `TradesStreamEvent` of its schema 1:0. Grouped
  means that trades with the same event time and transaction time share one message.
  https://github.com/binance/binance-spot-api-docs/blob/master/sbe/schemas/stream_1_0.xml
- Databento's DBN: one `TradeMsg` a trade. It has no room for a trade id of more than 32 bits.
  https://docs.rs/dbn/latest/dbn/struct.TradeMsg.html
- wire 1, the format of perp_signal_hft: one frame a trade, each a delta to the previous trade of
  the connection. It is small, but a client that misses one frame stays wrong.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import groupby, islice
from struct import Struct
from typing import Final

import msgspec

from fanout.feed.market import reference_of
from fanout.feed.normalise import to_trade
from fanout.protocol import Block, Header, Instrument, Reference, Trade, encode_block, frame
from fanout.protocol.varint import append_varint, zigzag
from fanout.venues.binance import BinanceUsdm
from fanout.venues.binance.venue import RECENT_TRADES
from fanout.venues.values import VenueTrade
from tests.bench.market import frames, recording_of
from tests.bench.report import Row

SMALL_TRADES: Final = 2_000
HELD_NS: Final = 100_000
NS_PER_MS: Final = 1_000_000
UNIT: Final = "bytes/trade"

CAPTURE: Final = recording_of("BTCUSDT")
BTCUSDT: Final = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)

SBE_MESSAGE: Final = Struct("<HHHHqqbbHI")
"""Message header; event time, transaction time, price and quantity exponent; group dimensions."""
SBE_TRADE: Final = Struct("<qqqB")
"""Trade id, price, quantity, whether the buyer is the maker. `isBestMatch` is constant."""
SBE_SYMBOL_BYTES: Final = 1 + len(BTCUSDT.symbol)
DBN_TRADE: Final = Struct("<BBHIQqIccBBQiI")
"""Record header; price, size, action, side, flags, depth, receive time, delta, sequence."""

assert SBE_MESSAGE.size + SBE_TRADE.size + SBE_SYMBOL_BYTES == 65
assert DBN_TRADE.size == 48


class Recorded(msgspec.Struct, frozen=True):
    """A trade, and the times and the length of the frame that brought it."""

    trade: Trade
    received_ns: int
    event_ms: int
    json_bytes: int


class _Data(msgspec.Struct):
    E: int


class _Envelope(msgspec.Struct):
    data: _Data


def run(*, small: bool) -> list[Row]:
    recording = list(islice(_recorded(), SMALL_TRADES if small else None))
    reference = reference_of([each.trade for each in recording[:RECENT_TRADES]])

    def figure(name: str, total_bytes: int, at_most: float | None = None) -> Row:
        return Row(name=name, value=total_bytes / len(recording), unit=UNIT, at_most=at_most)

    bursts = _runs(recording, lambda each: each.received_ns // NS_PER_MS)
    moments = _runs(recording, lambda each: (each.event_ms, each.trade.time))
    singles = [[each] for each in recording]
    return [
        figure("fanout, a block a millisecond", _blocks_bytes(bursts, reference), at_most=15),
        figure("fanout, a block a trade", _blocks_bytes(singles, reference), at_most=45),
        figure("wire 1, a frame a trade", _wire1_bytes(recording, reference)),
        figure("Binance spot SBE, grouped", _sbe_bytes(moments)),
        figure("Binance spot SBE, single", _sbe_bytes(singles)),
        figure("Databento DBN record", DBN_TRADE.size * len(recording)),
        figure("JSON as received", sum(each.json_bytes for each in recording)),
    ]


def _recorded() -> Iterator[Recorded]:
    venue = BinanceUsdm()
    decode = msgspec.json.Decoder(_Envelope).decode
    for received_ns, text in frames(BTCUSDT.symbol):
        item = venue.parse(text)
        if isinstance(item, VenueTrade):
            trade = to_trade(item, BTCUSDT)
            yield Recorded(trade, received_ns, decode(text).data.E, len(text))


def _runs(
    recording: Iterable[Recorded], key: Callable[[Recorded], Hashable]
) -> list[list[Recorded]]:
    """Neighbours with the same key, together."""
    return [list(run) for _, run in groupby(recording, key)]


def _blocks_bytes(runs: Iterable[list[Recorded]], reference: Reference) -> int:
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="binance-usdm",
        instruments=(BTCUSDT,),
        references=(reference,),
    )
    total = 0
    next_seq = 1
    for run in runs:
        block = Block(
            first_seq=next_seq,
            trades=[each.trade for each in run],
            received_ns=run[0].received_ns,
            held_ns=HELD_NS,
        )
        total += len(frame(encode_block(block, header)))
        next_seq += len(run)
    return total


def _sbe_bytes(messages: Iterable[list[Recorded]]) -> int:
    around = SBE_MESSAGE.size + SBE_SYMBOL_BYTES
    return sum(around + SBE_TRADE.size * len(message) for message in messages)


def _wire1_bytes(recording: Iterable[Recorded], reference: Reference) -> int:
    total = 0
    before: Trade | Reference = reference
    for each in recording:
        total += len(frame(wire1_trade(each.trade, before)))
        before = each.trade
    return total


def wire1_trade(trade: Trade, before: Trade | Reference) -> bytes:
    """A trade's payload in wire 1: prices and quantities in units of 1e-5, times in ms."""
    per_price = 10 ** (trade.instrument.price_exponent + 5)
    per_quantity = 10 ** (trade.instrument.quantity_exponent + 5)
    payload = bytearray([trade.instrument.index | (0x80 if trade.buyer_is_maker else 0)])
    append_varint(payload, zigzag(trade.time - before.time))
    append_varint(payload, zigzag((trade.price - before.price) * per_price))
    append_varint(payload, trade.quantity * per_quantity)
    return bytes(payload)
