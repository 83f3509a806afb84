"""The wire of fanout: bytes and values, no I/O. Both ends use it.

    connection = frame(START) opening [frame(snapshot)] { frame(message) | opening }
    message    = block | event | instruments
    opening    = frame(header) { frame(instruments) }
    frame      = u32 length, payload                     little-endian, 1 to 65,536 bytes
    payload    = START | u8 kind, body, u32 CRC-32 of kind and body

    header     epoch, next sequence number, venue, channel, and how many instruments follow
    instruments   for each its symbol, exponents and references: mean price and quantity, newest
               trade id and time
    block      first sequence number, receive time, and trades, quotes, book updates or rows of
               features; the first of each instrument is a delta to the header's references, the
               others to the one before: a block decodes alone
    event      STATUS GAP LOSS HEARTBEAT END
    request    optional, from the reader, once: one frame of JSON: where to start, which channel, a
               token
    numbering  the records of blocks, STATUS and GAP count 1, 2, 3, ... within an epoch; holes are
               announced

The same frames travel in datagrams, too: `Packer` makes packets of them, and `Lines` makes a stream
of the packets of two lines.

`WIRE.md` beside this file is the specification. `SubscriberSession` is a reader of all this:
bytes in, records out.
"""

from fanout.protocol.backoff import backoff
from fanout.protocol.block import decode_block, encode_block, is_representable
from fanout.protocol.book import OrderBook
from fanout.protocol.book_block import decode_book, decode_orders, encode_book, encode_orders
from fanout.protocol.book_common import Depth
from fanout.protocol.book_records import (
    BookBlock,
    BookUpdate,
    Level,
    Order,
    OrderBlock,
    OrderUpdate,
    Quote,
    QuoteBlock,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import (
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_ORDERS,
    MAX_BLOCK_QUOTES,
    MAX_BLOCK_ROWS,
    MAX_BLOCK_TRADES,
    MAX_BLOCK_UPDATES,
    MAX_BLOCK_VALUES,
    MAX_BOOK_LEVELS,
    MAX_COLUMN_BYTES,
    MAX_COLUMNS,
    MAX_FRAME_BYTES,
    MAX_INSTRUMENTS,
    START,
    WIRE_VERSION,
    Absence,
    BlockFlags,
    BookFlags,
    DataKinds,
    EndReason,
    FeedState,
    FrameKind,
    GapState,
    InstrumentType,
    LossReason,
    Side,
    TradeKind,
)
from fanout.protocol.errors import (
    CallerError,
    ChecksumError,
    FanoutError,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
    UnexpectedFrameError,
    UnknownBookError,
    WrongInstrumentError,
)
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.feature_block import decode_features, encode_features
from fanout.protocol.feature_rows import FeatureBlock, FeatureRow
from fanout.protocol.fixedpoint import from_text, to_decimal, to_float, to_text
from fanout.protocol.framing import FrameReader, frame
from fanout.protocol.header import decode_header, decode_opening, encode_header, opening
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import encode_changes, encode_instruments, with_instruments
from fanout.protocol.lines import Lines, LinesStatistics, Missing
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.packets import Line, Packet, decode_packet, encode_packet, on_line
from fanout.protocol.packing import Packer
from fanout.protocol.phases import Phase
from fanout.protocol.queue import QueueReader, QueueWriter
from fanout.protocol.quote_block import decode_quotes, encode_quotes
from fanout.protocol.records import (
    Block,
    End,
    Event,
    Gap,
    Header,
    Heartbeat,
    Loss,
    Record,
    Reference,
    Skipped,
    Snapshot,
    Status,
    Trade,
)
from fanout.protocol.request import (
    Moment,
    Position,
    Request,
    SlowPolicy,
    Start,
    decode_request,
    encode_request,
)
from fanout.protocol.ring import RingReader, RingWriter
from fanout.protocol.session import SessionStatistics, SubscriberSession

__all__ = [
    "MAX_BLOCK_LEVELS",
    "MAX_BLOCK_ORDERS",
    "MAX_BLOCK_QUOTES",
    "MAX_BLOCK_ROWS",
    "MAX_BLOCK_TRADES",
    "MAX_BLOCK_UPDATES",
    "MAX_BLOCK_VALUES",
    "MAX_BOOK_LEVELS",
    "MAX_COLUMNS",
    "MAX_COLUMN_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_INSTRUMENTS",
    "START",
    "WIRE_VERSION",
    "Absence",
    "Block",
    "BlockFlags",
    "BookBlock",
    "BookFlags",
    "BookUpdate",
    "CallerError",
    "ChecksumError",
    "DataKinds",
    "Depth",
    "End",
    "EndReason",
    "Event",
    "FanoutError",
    "FeatureBlock",
    "FeatureRow",
    "FeedState",
    "FrameKind",
    "FrameReader",
    "Gap",
    "GapState",
    "Header",
    "Heartbeat",
    "Instrument",
    "InstrumentType",
    "Level",
    "LimitExceededError",
    "Line",
    "Lines",
    "LinesStatistics",
    "Loss",
    "LossReason",
    "MalformedError",
    "Missing",
    "Moment",
    "NotRepresentableError",
    "Order",
    "OrderBlock",
    "OrderBook",
    "OrderUpdate",
    "OrdersBook",
    "Packer",
    "Packet",
    "PeerError",
    "Phase",
    "Position",
    "QueueReader",
    "QueueWriter",
    "Quote",
    "QuoteBlock",
    "Record",
    "Reference",
    "Request",
    "RingReader",
    "RingWriter",
    "SessionStatistics",
    "Side",
    "Skipped",
    "SlowPolicy",
    "Snapshot",
    "Start",
    "Status",
    "SubscriberSession",
    "Trade",
    "TradeKind",
    "UnexpectedFrameError",
    "UnknownBookError",
    "WrongInstrumentError",
    "backoff",
    "decode_block",
    "decode_book",
    "decode_event",
    "decode_features",
    "decode_header",
    "decode_opening",
    "decode_orders",
    "decode_packet",
    "decode_quotes",
    "decode_request",
    "encode_block",
    "encode_book",
    "encode_changes",
    "encode_event",
    "encode_features",
    "encode_header",
    "encode_instruments",
    "encode_orders",
    "encode_packet",
    "encode_quotes",
    "encode_request",
    "frame",
    "from_text",
    "is_representable",
    "on_line",
    "opening",
    "pack_levels",
    "pack_orders",
    "to_decimal",
    "to_float",
    "to_text",
    "with_instruments",
]
