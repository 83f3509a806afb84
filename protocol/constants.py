"""Every number of the wire, each with its reason. A number that peers rely on stands only here."""

from enum import IntEnum, IntFlag
from typing import Final

WIRE_VERSION: Final = 2
"""First byte of a header. Frame kinds stay clear of 0x01-0x0F, so a header is known by it."""

OTHER_WIRES: Final = frozenset(range(0x01, 0x10)) - {WIRE_VERSION}
"""First bytes of headers that are not ours."""

START: Final = b"START"
"""Payload of the first frame of a connection, kept from wire 1. It tells the reader at once that
this is a fanout, and where the framing begins."""

LENGTH_BYTES: Final = 4
"""A frame's length prefix, u32 little-endian, not counting itself."""

CRC_BYTES: Final = 4
"""Every payload but START ends in the CRC-32 (zlib's) of all that precedes it in the payload."""

MAX_FRAME_BYTES: Final = 65_536
"""Limit of a payload. Protects a reader from allocating what a corrupt length asks for, and from
waiting for it."""

MAX_BLOCK_TRADES: Final = 1_024
"""Limit of a block's count. 1,024 trades of the worst 43 bytes and 35 around them stay below
MAX_FRAME_BYTES, so a writer that keeps the count keeps the frame limit whatever the values."""

MAX_TRADE_BYTES: Final = 43
"""The longest a trade can be: a byte each for the head, the kind and the index's higher bits, and
four varints of ten bytes."""

MAX_BLOCK_QUOTES: Final = 1_024
"""Limit of the count of a block of quotes. 1,024 quotes of the worst 62 bytes and 35 around them
stay below MAX_FRAME_BYTES."""

MAX_QUOTE_BYTES: Final = 62
"""The longest a quote can be: two bytes for the index, and six varints of ten bytes."""

MAX_BLOCK_UPDATES: Final = 512
"""Limit of the count of a block of book updates. With MAX_BLOCK_LEVELS it keeps MAX_FRAME_BYTES."""

MAX_BLOCK_LEVELS: Final = 2_048
"""Limit of the levels of all updates in a block by price. 2,048 levels of the worst 20 bytes, 512
updates of the worst 27 bytes without their levels, and 35 bytes around them stay below
MAX_FRAME_BYTES. A larger update is continued in the next block."""

MAX_BLOCK_ORDERS: Final = 1_536
"""Limit of the orders of all updates in a block by order: 1,536 orders of the worst 30 bytes."""

MAX_BLOCK_ROWS: Final = 512
"""Limit of the count of a block of rows. With MAX_BLOCK_VALUES it keeps MAX_FRAME_BYTES."""

MAX_BLOCK_VALUES: Final = 7_168
"""Limit of the values in a block of rows: rows times columns. 7,168 values of 8 bytes and their
bits, 512 rows of the worst 13 bytes beside them, and 35 bytes around them stay below
MAX_FRAME_BYTES. So 28 rows of 256 columns fit, 398 of 18, and 512 of up to 14."""

MAX_ROW_BYTES: Final = 13
"""The longest a row can be without its values and their bits: two bytes for the index, a varint of
ten bytes, and the bits that fill the bitmap's last byte."""

MAX_COLUMNS: Final = 256
"""Limit of a channel's columns. A row of them is the longest record there is beside those of
books."""

MAX_COLUMN_BYTES: Final = 64
"""Limit of a column's name, `[a-z0-9_]{1,64}`."""

MAX_BOOK_LEVELS: Final = 100_000
"""Limit of the levels that a book holds on one side. Ten times the deepest book seen. Protects a
reader from keeping whatever is sent."""

MAX_BOOK_ORDERS: Final = 500_000
"""Limit of the orders that a book by order holds, of both sides."""

MAX_UPDATE_BYTES: Final = 27
"""The longest an update can be without its levels: two bytes for the index, one for the flags, two
varints of ten bytes, and two counts of two."""

MAX_LEVEL_BYTES: Final = 20
"""The longest a level can be: two varints of ten bytes."""

MAX_ORDER_BYTES: Final = 30
"""The longest an order can be: three varints of ten bytes."""

MAX_INSTRUMENTS: Final = 1_024
"""Limit of a channel's instruments: all that one venue trades of one kind. Protects a reader from
keeping what a corrupt count asks for."""

MAKER_BIT: Final = 0x80
"""In a trade's first byte: the buyer is the maker, so the aggressor sold. As in wire 1."""

ESCAPE_BIT: Final = 0x40
"""In a trade's first byte: the trade's own kind follows, one byte."""

BOOK_FLAGS_BIT: Final = 0x40
"""In the first byte of a book update: a byte of `BookFlags` follows."""

MORE_BIT: Final = 0x20
"""In an item's first byte: a varint with the index's higher bits follows."""

LOW_INDEX: Final = 0x1F
"""In an item's first byte: the index's five lowest bits. The first 32 instruments take one byte."""

LOW_INDEX_BITS: Final = 5

WHOLE_FEED: Final = 0xFFFF
"""In a STATUS or a GAP, in place of an instrument's index: the whole feed."""

MAX_SYMBOL_BYTES: Final = 64
"""Limit of a symbol in UTF-8. The longest seen at a venue is 26; Chinese takes 3 a character."""

MAX_VENUE_BYTES: Final = 32
"""Limit of a venue's name in UTF-8."""

MAX_CHANNEL_BYTES: Final = 32
"""Limit of a channel's name, `[a-z0-9][a-z0-9._-]{0,31}`."""

MAX_CHANNELS: Final = 255
"""Limit of the names of a service's other channels: what the count's one byte can say."""

MAX_ASSET_BYTES: Final = 32
"""Limit of the base's and the quote's name in UTF-8."""

MAX_TEXT_BYTES: Final = 255
"""Limit of the words in an event, in UTF-8: what one length byte can say."""

EXPONENTS: Final = range(-18, 9)
"""Price and quantity exponents: from one wei to hundreds of millions. Within it an i64 always
holds at least one unit, and ten to it is exact in a double."""

TIME_EXPONENTS: Final = range(-9, 1)
"""Time exponents: from nanoseconds to whole seconds."""

MAX_SEQ: Final = 2**63 - 1
"""Sequence numbers are 1 to this, so that they and the next one fit every integer type that a
reader may keep them in."""

U64_MAX: Final = 2**64 - 1
I64_MIN: Final = -(2**63)
I64_MAX: Final = 2**63 - 1
MAX_VARINT_BYTES: Final = 10
"""What an unsigned 64-bit value takes at seven bits a byte."""

NEVER_RETRY: Final = 2**32 - 1
"""In an END, in place of milliseconds: do not come back."""


NUMBERED_KINDS: Final = range(0x10, 0x20)
"""Kinds of frames that hold a run of records. All begin alike, so that a reader which does not know
one still knows which sequence numbers it takes."""


class FrameKind(IntEnum):
    """First byte of a payload. A reader skips and counts the kinds it does not know."""

    HEADER = WIRE_VERSION
    TRADES = 0x10
    QUOTES = 0x11
    BOOK = 0x12
    """Updates of order books by price."""
    ORDERS = 0x13
    """Updates of order books by order."""
    FEATURES = 0x14
    """Rows of features."""
    STATUS = 0x20
    GAP = 0x21
    LOSS = 0x22
    HEARTBEAT = 0x23
    END = 0x24
    INSTRUMENTS = 0x25


class BlockFlags(IntFlag):
    """What holds for every record of a block. Other bits are reserved: written 0, ignored."""

    NONE = 0
    BACK_FILLED = 0x01
    SNAPSHOT = 0x02


class BookFlags(IntFlag):
    """What holds for one update of a book. Other bits are reserved: written 0, ignored."""

    NONE = 0
    WHOLE = 0x01
    """It replaces the book."""
    MORE = 0x02
    """The book is not consistent until an update without this flag has come."""
    TOP_ONLY = 0x04
    """Nothing is known beyond the last level given."""


class Side(IntEnum):
    """A side of an order book."""

    BID = 0
    ASK = 1


class DataKinds(IntFlag):
    """Which kinds of records a channel has. Other bits are reserved: written 0, ignored."""

    NONE = 0
    TRADES = 0x01
    QUOTES = 0x02
    BOOK_BY_PRICE = 0x04
    BOOK_BY_ORDER = 0x08
    FEATURES = 0x10
    """Rows of features, which a consumer of other channels computes. No venue has them."""


class _Code(IntEnum):
    """A one-byte code. One that a reader does not know is read as OTHER, never refused."""

    @classmethod
    def _missing_(cls, value: object) -> "_Code | None":
        known_byte = isinstance(value, int) and 0 <= value <= 0xFF
        return cls(0xFF) if known_byte else None


class TradeKind(_Code):
    """How a trade came about. Only MARKET, RPI and AGGREGATE are prices somebody agreed on."""

    MARKET = 0
    """A fill against the order book."""
    RPI = 1
    """A fill against a retail-price-improvement order, which the public book does not show."""
    INSURANCE_FUND = 2
    """A liquidation taken over by the insurance fund; its price can be far from the market."""
    ADL = 3
    """Auto-deleveraging; its price can be far from the market."""
    AGGREGATE = 4
    """Several fills of one taker at one price; the id is the aggregate's own numbering."""
    OTHER = 0xFF


class InstrumentType(_Code):
    """What kind of contract an instrument is."""

    SPOT = 0
    LINEAR_PERPETUAL = 1
    """A perpetual future that is settled in the quote currency."""
    INVERSE_PERPETUAL = 2
    """A perpetual future that is settled in the base."""
    FUTURE = 3
    """A future with an expiry that is settled in the quote currency."""
    OPTION = 4
    INVERSE_FUTURE = 5
    """A future with an expiry that is settled in the base."""
    OTHER = 0xFF

    @property
    def is_inverse(self) -> bool:
        """Whether quantities are amounts of the quote, and not of the base."""
        return self in (InstrumentType.INVERSE_PERPETUAL, InstrumentType.INVERSE_FUTURE)


class FeedState(_Code):
    """State of an instrument, or of the whole feed."""

    CONNECTING = 0
    LIVE = 1
    STALE = 2
    """Subscribed, and quiet for longer than is plausible."""
    DOWN = 3
    HALTED = 4
    """The venue itself does not trade it now."""
    OTHER = 0xFF


class GapState(_Code):
    """What became of trade ids that did not arrive in their turn."""

    OPEN = 0
    BACK_FILLED = 1
    UNRECOVERABLE = 2
    NO_TRADE = 3
    """The venue's records reach there and have no trades of these ids: they were spent for nothing,
    or on prints of the insurance fund and of auto-deleveraging, which are in no record."""
    OTHER = 0xFF


class LossReason(_Code):
    """Why a reader will never get some sequence numbers."""

    SLOW = 0
    """The reader was slower than the log, or a ring, is long."""
    EVICTED = 1
    """It asked for what the log no longer holds."""
    OTHER_EPOCH = 2
    """The service was restarted; its new numbering went on without this reader."""
    QUEUE_FULL = 3
    """The shared-memory queue had no room."""
    DISCONNECTED = 4
    """Published while this reader was not connected. Said by a client, not on the wire."""
    UNANNOUNCED = 5
    """A hole that nobody spoke of. Said by a client, not on the wire."""
    DAMAGED = 6
    """They stood in a part of the journal that cannot be read any more."""
    OTHER = 0xFF


class Absence(_Code):
    """Why a feature has no value."""

    PRESENT = 0
    """It has one."""
    WARMING_UP = 1
    """Its window or lag reaches back beyond the first record."""
    NO_BOOK = 2
    """No whole book has come yet."""
    LOST = 3
    """It needs records that were lost, or that came before the book was whole again."""
    NOT_LIVE = 4
    """The newest STATUS of the instrument, or of the whole feed, is not LIVE."""
    ONE_SIDED = 5
    """A side of the book has no levels."""
    CROSSED = 6
    """The best bid is as high as the best ask, or higher, so there is no price between them."""
    TOO_SHALLOW = 7
    """The book shows fewer levels than it needs, and nothing is known beyond them."""
    EMPTY = 8
    """Its window has no trade, or nothing that it could divide by."""
    NOT_FITTED = 9
    """There is no fit for the instrument, or none for this state of its book."""
    OTHER = 0xFF


class EndReason(_Code):
    """Why a service says goodbye."""

    SHUTDOWN = 0
    SLOW = 1
    AUTH = 2
    FULL = 3
    """Too many clients."""
    FEED_FAILED = 4
    """The venue cannot be served from here any more."""
    BAD_REQUEST = 5
    """What the reader asked for cannot be understood, or cannot be served."""
    EPOCH_OVER = 6
    """The reader has all that is kept of an older epoch. The next epoch can be asked for."""
    OTHER = 0xFF
