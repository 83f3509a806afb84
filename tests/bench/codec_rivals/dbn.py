"""A rival: Databento's DBN, one `TradeMsg` a trade, by their `DBNDecoder`. It offers no encoding.

Its best: records in one piece, written and decoded in one call. As with protobuf, a record's
numbers become Python's when they are asked for; so what is compared asks for them, once each, and
decoding alone is shown beside it. There is room for neither kind nor sequence number, and for 32
bits of the id.
https://docs.rs/dbn/latest/dbn/struct.TradeMsg.html
"""

from struct import Struct
from typing import Any, Final

import databento_dbn

from fanout.protocol import Block
from tests.bench.codec_rivals.way import BTCUSDT, Values, Way

_RECORD: Final = Struct("<BBHIQqIccBBQiI")
"""Record header; price, size, action, side, flags, depth, receive time, delta, sequence."""
_WORDS: Final = _RECORD.size // 4
_PER_PRICE: Final = 10 ** (9 + BTCUSDT.price_exponent)
_NS_PER_MS: Final = 1_000_000
_ID_BITS: Final = 2**32 - 1

_DECODER: Final = databento_dbn.DBNDecoder(has_metadata=False)


def records_of(block: Block) -> bytes:
    return b"".join(
        _RECORD.pack(
            _WORDS,
            0,
            0,
            each.instrument.index,
            each.time * _NS_PER_MS,
            each.price * _PER_PRICE,
            each.quantity,
            b"T",
            b"A" if each.buyer_is_maker else b"B",
            0,
            0,
            block.received_ns,
            0,
            each.trade_id & _ID_BITS,
        )
        for each in block.trades
    )


def decode(data: bytes) -> list[tuple[Any, ...]]:
    return [_read(each) for each in _DECODER.write_and_decode(data)]


def _read(row: Any) -> tuple[Any, ...]:
    return (
        row.instrument_id,
        row.sequence,
        row.ts_event,
        row.price,
        row.size,
        row.side,
        row.ts_recv,
    )


def _values(rows: list[tuple[Any, ...]]) -> list[Values]:
    return [
        (index, number, time // _NS_PER_MS, price // _PER_PRICE, size, side == "A", received_ns)
        for index, number, time, price, size, side, received_ns in rows
    ]


def _kept(values: Values) -> Values:
    index, trade_id, time, price, quantity, buyer_is_maker, _, _, received_ns = values
    return index, trade_id & _ID_BITS, time, price, quantity, buyer_is_maker, received_ns


WAYS: Final = (
    Way(
        name="databento-dbn",
        encode=records_of,
        decode=decode,
        values=_values,
        kept=_kept,
        shows=("decode",),
    ),
    Way(
        name="databento-dbn, not read",
        encode=records_of,
        decode=_DECODER.write_and_decode,
        values=lambda rows: _values(list(map(_read, rows))),
        kept=_kept,
        shows=("decode",),
        compared=False,
    ),
)
