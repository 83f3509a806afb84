"""One frame of each kind, as a value. Its bytes are in `tests/data/wire/NAME.hex`.

The bytes are those of wire 2 and never change once it is released; `protocol/WIRE.md` takes them
apart.
"""

from pathlib import Path

from msgspec.structs import replace

from fanout.protocol import (
    Absence,
    Block,
    BlockFlags,
    BookBlock,
    BookFlags,
    BookUpdate,
    DataKinds,
    End,
    EndReason,
    Event,
    FeatureBlock,
    FeatureRow,
    FeedState,
    Gap,
    GapState,
    Header,
    Heartbeat,
    Instrument,
    InstrumentType,
    Loss,
    LossReason,
    OrderBlock,
    OrderUpdate,
    Quote,
    QuoteBlock,
    Reference,
    Status,
    Trade,
    TradeKind,
    decode_block,
    decode_book,
    decode_event,
    decode_features,
    decode_header,
    decode_orders,
    decode_quotes,
    encode_block,
    encode_book,
    encode_event,
    encode_features,
    encode_header,
    encode_instruments,
    encode_orders,
    encode_quotes,
    pack_levels,
    pack_orders,
    with_instruments,
)

WIRE_DATA = Path(__file__).parents[1] / "data" / "wire"

BTC = Instrument(
    index=0,
    symbol="BTCUSDT",
    price_exponent=-2,
    quantity_exponent=-3,
    tick=10,
    lot=1,
    base="BTC",
    quote="USDT",
    type=InstrumentType.LINEAR_PERPETUAL,
)
LIFE = Instrument(index=1, symbol="币安人生USDT", price_exponent=-5, quantity_exponent=0)

HEADER = Header(
    epoch_ns=1_795_219_200_000_000_000,
    next_seq=1_001,
    venue="binance-usdm",
    instruments=(BTC, LIFE),
    references=(
        Reference(
            price=8_308_450,
            quantity=41,
            trade_id=8_153_634_393,
            time=1_791_382_992_338,
            update_id=9_007_199_254_740_993,
        ),
        Reference(price=12_345, quantity=900, trade_id=52_000, time=1_791_382_990_000),
    ),
    channel="perps",
    data=DataKinds.TRADES | DataKinds.QUOTES,
    channels=("binance-spot",),
)

BARE_HEADER = replace(HEADER, instruments=(), references=())
"""What a HEADER alone says."""

TRADES = Block(
    first_seq=1_001,
    trades=[
        Trade(BTC, 8_153_634_394, 1_791_382_992_838, 8_309_170, 22, False, seq=1_001),
        Trade(BTC, 8_153_634_395, 1_791_382_992_838, 8_309_160, 1_500, True, seq=1_002),
        Trade(LIFE, 52_003, 1_791_382_992_839, 12_300, 70, False, kind=TradeKind.RPI, seq=1_003),
    ],
    received_ns=1_791_382_992_840_123_456,
    held_ns=85_000,
)

SNAPSHOT = Block(
    first_seq=1_001,
    trades=[Trade(BTC, 8_153_634_393, 1_791_382_992_338, 8_309_170, 22, False)],
    received_ns=0,
    flags=BlockFlags.SNAPSHOT,
)

RECEIVED_NS = 1_791_382_992_840_123_456

QUOTES = QuoteBlock(
    first_seq=1_001,
    quotes=[
        Quote(
            BTC,
            9_007_199_254_741_093,
            1_791_382_992_838,
            8_309_160,
            1_500,
            8_309_170,
            22,
            1_001,
            RECEIVED_NS,
        ),
        Quote(
            BTC,
            9_007_199_254_741_096,
            1_791_382_992_838,
            8_309_150,
            40,
            8_309_170,
            22,
            1_002,
            RECEIVED_NS,
        ),
        Quote(LIFE, 52, 1_791_382_992_839, 12_350, 0, 12_350, 70, 1_003, RECEIVED_NS),
    ],
    received_ns=RECEIVED_NS,
    held_ns=85_000,
)
"""The last has no bids."""

BOOK = BookBlock(
    first_seq=1_001,
    updates=[
        BookUpdate(
            BTC,
            9_007_199_254_741_093,
            1_791_382_992_838,
            pack_levels([(8_309_160, 1_500), (8_309_150, 0)]),
            pack_levels([(8_309_170, 22)]),
            BookFlags.NONE,
            1_001,
            RECEIVED_NS,
        ),
        BookUpdate(
            BTC,
            9_007_199_254_741_096,
            1_791_382_992_839,
            b"",
            pack_levels([(8_309_170, 0), (8_309_180, 40)]),
            BookFlags.NONE,
            1_002,
            RECEIVED_NS,
        ),
        BookUpdate(
            LIFE,
            52,
            1_791_382_992_839,
            pack_levels([(12_300, 900)]),
            pack_levels([(12_350, 70)]),
            BookFlags.WHOLE | BookFlags.TOP_ONLY,
            1_003,
            RECEIVED_NS,
        ),
    ],
    received_ns=RECEIVED_NS,
    held_ns=85_000,
)

ORDERS = OrderBlock(
    first_seq=1_001,
    updates=[
        OrderUpdate(
            BTC,
            9_007_199_254_741_093,
            1_791_382_992_838,
            pack_orders([(700_001, 8_309_160, 500), (699_990, 8_309_160, 0)]),
            pack_orders([(700_002, 8_309_170, 22)]),
            BookFlags.NONE,
            1_001,
            RECEIVED_NS,
        ),
        OrderUpdate(
            LIFE,
            52,
            1_791_382_992_839,
            pack_orders([(31, 12_300, 900)]),
            b"",
            BookFlags.WHOLE | BookFlags.MORE,
            1_002,
            RECEIVED_NS,
        ),
    ],
    received_ns=RECEIVED_NS,
    held_ns=85_000,
)

ROWS_HEADER = replace(
    HEADER,
    channel="features",
    data=DataKinds.FEATURES,
    channels=(),
    columns=("mid", "spread_bps", "order_flow_imbalance_1000ms"),
)
"""That of a channel of rows of features."""

FEATURES = FeatureBlock(
    first_seq=1_001,
    rows=[
        FeatureRow(
            BTC,
            1_791_382_992_840_000_000,
            (83_091.65, 0.125, -1_478.0),
            bytes(3),
            1_001,
            RECEIVED_NS,
        ),
        FeatureRow(
            LIFE,
            1_791_382_992_840_000_000,
            (None, None, 2.5),
            bytes([Absence.ONE_SIDED, Absence.ONE_SIDED, 0]),
            1_002,
            RECEIVED_NS,
        ),
        FeatureRow(
            BTC,
            1_791_382_992_840_123_456,
            (83_091.65, 0.125, None),
            bytes([0, 0, Absence.WARMING_UP]),
            1_003,
            RECEIVED_NS,
        ),
    ],
    received_ns=RECEIVED_NS,
    held_ns=85_000,
)

EVENTS: dict[str, Event] = {
    "status": Status(
        seq=1_004,
        instrument=LIFE,
        state=FeedState.STALE,
        since_ns=1_791_383_000_000_000_000,
        why="quiet for 20 s",
    ),
    "gap": Gap(
        seq=1_005,
        instrument=BTC,
        first_id=8_153_634_396,
        last_id=8_153_634_398,
        state=GapState.OPEN,
        why="not in the stream",
    ),
    "loss": Loss(first_seq=1_006, last_seq=2_005, reason=LossReason.SLOW),
    "heartbeat": Heartbeat(next_seq=2_006, time_ns=1_791_383_001_000_000_000),
    "end": End(reason=EndReason.SHUTDOWN, last_seq=2_005, retry_ms=1_000, why="stopped"),
}

NAMES = (
    "header",
    "columns",
    "instruments",
    "trades",
    "snapshot",
    "quotes",
    "book",
    "orders",
    "features",
    *EVENTS,
)

Value = (
    tuple[Header, int] | Header | Block | QuoteBlock | BookBlock | OrderBlock | FeatureBlock | Event
)
"""A header alone is a pair: the header without instruments, and their number."""


def payload(name: str) -> bytes:
    """The published payload of the frame `name`, without its length prefix."""
    return bytes.fromhex((WIRE_DATA / f"{name}.hex").read_text())[4:]


def value(name: str) -> Value:
    """What that payload means."""
    fixed: dict[str, Value] = {
        "header": (BARE_HEADER, 2),
        "columns": (replace(ROWS_HEADER, instruments=(), references=()), 2),
        "instruments": HEADER,
        "trades": received(TRADES),
        "snapshot": SNAPSHOT,
        "quotes": QUOTES,
        "book": BOOK,
        "orders": ORDERS,
        "features": FEATURES,
    }
    return fixed.get(name) or EVENTS[name]


def received(block: Block) -> Block:
    """A block as it comes out of the decoder: its trades know when they were received."""
    trades = [replace(each, received_ns=block.received_ns) for each in block.trades]
    return replace(block, trades=trades)


def encode(name: str) -> bytes:
    """The payload of the frame `name`, from its value."""
    match name:
        case "header":
            return encode_header(HEADER)
        case "columns":
            return encode_header(ROWS_HEADER)
        case "instruments":
            return encode_instruments(HEADER, 0, 2)[0]
        case "trades":
            return encode_block(TRADES, HEADER)
        case "snapshot":
            return encode_block(SNAPSHOT, HEADER)
        case "quotes":
            return encode_quotes(QUOTES, HEADER)
        case "book":
            return encode_book(BOOK, HEADER)
        case "orders":
            return encode_orders(ORDERS, HEADER)
        case "features":
            return encode_features(FEATURES, ROWS_HEADER)
    return encode_event(EVENTS[name])


def decode(name: str, data: bytes) -> Value:
    """The meaning of any payload, by the decoder for the frame `name`."""
    match name:
        case "header" | "columns":
            return decode_header(data)
        case "instruments":
            return with_instruments(BARE_HEADER, data)
        case "trades" | "snapshot":
            return decode_block(data, HEADER)
        case "quotes":
            return decode_quotes(data, HEADER)
        case "book":
            return decode_book(data, HEADER)
        case "orders":
            return decode_orders(data, HEADER)
        case "features":
            return decode_features(data, ROWS_HEADER)
    return decode_event(data, HEADER)
