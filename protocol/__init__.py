"""The wire of fanout: bytes and values, no I/O. Both ends use it.

    connection = frame(START) frame(header) [frame(snapshot)] { frame(block | event | header) }
    frame      = u32 length, payload                     little-endian, 1 to 65,536 bytes
    payload    = START | u8 kind, body, u32 CRC-32 of kind and body

    header     epoch, next sequence number, venue, and for each instrument its symbol, exponents
               and references: mean price and quantity, newest trade id and time
    block      first sequence number, receive time, trades; the first trade of each instrument is
               a delta to the header's references, the others to the one before: a block decodes
               alone
    event      STATUS GAP LOSS HEARTBEAT END
    request    optional, from the reader, once: one frame of JSON: where to start, a token
    numbering  trades, STATUS and GAP count 1, 2, 3, ... within an epoch; what is missing is told

`WIRE.md` beside this file is the specification. `SubscriberSession` is a reader of all this:
bytes in, records out.
"""

from fanout.protocol.backoff import backoff
from fanout.protocol.block import decode_block, encode_block, is_representable
from fanout.protocol.constants import (
    MAX_BLOCK_TRADES,
    MAX_FRAME_BYTES,
    MAX_INSTRUMENTS,
    START,
    WIRE_VERSION,
    BlockFlags,
    EndReason,
    FeedState,
    FrameKind,
    GapState,
    LossReason,
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
)
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.fixedpoint import from_text, to_decimal, to_float, to_text
from fanout.protocol.framing import FrameReader, frame
from fanout.protocol.header import decode_header, encode_header
from fanout.protocol.records import (
    Block,
    End,
    Event,
    Gap,
    Header,
    Heartbeat,
    Instrument,
    Loss,
    Record,
    Reference,
    Snapshot,
    Status,
    Trade,
)
from fanout.protocol.request import (
    Position,
    Request,
    SlowPolicy,
    Start,
    decode_request,
    encode_request,
)
from fanout.protocol.ring import RingReader, RingWriter
from fanout.protocol.session import Phase, SessionStatistics, SubscriberSession

__all__ = [
    "MAX_BLOCK_TRADES",
    "MAX_FRAME_BYTES",
    "MAX_INSTRUMENTS",
    "START",
    "WIRE_VERSION",
    "Block",
    "BlockFlags",
    "CallerError",
    "ChecksumError",
    "End",
    "EndReason",
    "Event",
    "FanoutError",
    "FeedState",
    "FrameKind",
    "FrameReader",
    "Gap",
    "GapState",
    "Header",
    "Heartbeat",
    "Instrument",
    "LimitExceededError",
    "Loss",
    "LossReason",
    "MalformedError",
    "NotRepresentableError",
    "PeerError",
    "Phase",
    "Position",
    "Record",
    "Reference",
    "Request",
    "RingReader",
    "RingWriter",
    "SessionStatistics",
    "SlowPolicy",
    "Snapshot",
    "Start",
    "Status",
    "SubscriberSession",
    "Trade",
    "TradeKind",
    "UnexpectedFrameError",
    "backoff",
    "decode_block",
    "decode_event",
    "decode_header",
    "decode_request",
    "encode_block",
    "encode_event",
    "encode_header",
    "encode_request",
    "frame",
    "from_text",
    "is_representable",
    "to_decimal",
    "to_float",
    "to_text",
]
