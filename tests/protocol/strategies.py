"""Generated values: every header, trade and event that the wire can carry."""

from hypothesis import strategies as st
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
    pack_levels,
    pack_orders,
)

U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
SEQ = st.integers(1, 2**63 - 2000)
SYMBOLS = st.text("ABCXYZ019_币安人生", min_size=1, max_size=16)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@st.composite
def headers(draw: st.DrawFn, max_instruments: int = 5) -> Header:
    symbols = draw(st.lists(SYMBOLS, min_size=1, max_size=max_instruments, unique=True))
    instruments = [
        Instrument(
            index=index,
            symbol=symbol,
            price_exponent=draw(st.integers(-18, 8)),
            quantity_exponent=draw(st.integers(-18, 8)),
            time_exponent=draw(st.integers(-9, 0)),
        )
        for index, symbol in enumerate(symbols)
    ]
    references = [
        Reference(
            price=draw(I64),
            quantity=draw(U64),
            trade_id=draw(U64),
            time=draw(U64),
            update_id=draw(U64),
        )
        for _ in instruments
    ]
    return Header(
        epoch_ns=draw(U64),
        next_seq=draw(SEQ),
        venue=draw(st.text("abc-é", min_size=1, max_size=10)),
        instruments=tuple(instruments),
        references=tuple(references),
    )


@st.composite
def trades(draw: st.DrawFn, header: Header) -> Trade:
    """Any values at all, and often such as follow closely on the reference."""
    instrument = draw(st.sampled_from(header.instruments))
    reference = header.references[instrument.index]
    near = st.integers(0, 300)
    return Trade(
        instrument,
        draw(U64 | near.map(lambda n: min(reference.trade_id + n, 2**64 - 1))),
        draw(U64 | near.map(lambda n: min(reference.time + n, 2**64 - 1))),
        draw(I64 | near.map(lambda n: min(reference.price + n, 2**63 - 1))),
        draw(U64 | near),
        draw(st.booleans()),
        draw(st.sampled_from(TradeKind)),
    )


@st.composite
def blocks(draw: st.DrawFn, header: Header, *, first_seq: int | None = None) -> Block:
    return Block(
        first_seq=draw(SEQ) if first_seq is None else first_seq,
        trades=draw(st.lists(trades(header), min_size=1, max_size=20)),
        received_ns=draw(U64),
        held_ns=draw(U64),
        flags=draw(st.sampled_from([BlockFlags.NONE, BlockFlags.BACK_FILLED])),
    )


@st.composite
def quotes(draw: st.DrawFn, header: Header) -> Quote:
    instrument = draw(st.sampled_from(header.instruments))
    reference = header.references[instrument.index]
    bid = draw(_near(reference.price))
    return Quote(
        instrument,
        draw(_near_unsigned(reference.update_id)),
        draw(_near_unsigned(reference.time)),
        bid,
        draw(U64 | st.integers(0, 300)),
        draw(_near(bid)),
        draw(U64 | st.integers(0, 300)),
    )


@st.composite
def quote_blocks(draw: st.DrawFn, header: Header) -> QuoteBlock:
    return QuoteBlock(
        first_seq=draw(SEQ),
        quotes=draw(st.lists(quotes(header), min_size=1, max_size=12)),
        received_ns=draw(U64),
        held_ns=draw(U64),
        flags=draw(st.sampled_from([BlockFlags.NONE, BlockFlags.BACK_FILLED])),
    )


BOOK_FLAGS = st.sampled_from([BookFlags(bits) for bits in range(8)])


@st.composite
def book_updates(draw: st.DrawFn, header: Header) -> BookUpdate:
    instrument = draw(st.sampled_from(header.instruments))
    reference = header.references[instrument.index]

    def side(*, falling: bool) -> bytes:
        prices = sorted(draw(st.sets(_near(reference.price), max_size=6)), reverse=falling)
        return pack_levels((price, draw(U64 | st.integers(0, 300))) for price in prices)

    return BookUpdate(
        instrument,
        draw(_near_unsigned(reference.update_id)),
        draw(_near_unsigned(reference.time)),
        side(falling=True),
        side(falling=False),
        draw(BOOK_FLAGS),
    )


@st.composite
def book_blocks(draw: st.DrawFn, header: Header) -> BookBlock:
    return BookBlock(
        first_seq=draw(SEQ),
        updates=draw(st.lists(book_updates(header), min_size=1, max_size=6)),
        received_ns=draw(U64),
        held_ns=draw(U64),
        flags=draw(st.sampled_from([BlockFlags.NONE, BlockFlags.BACK_FILLED])),
    )


@st.composite
def order_updates(draw: st.DrawFn, header: Header) -> OrderUpdate:
    instrument = draw(st.sampled_from(header.instruments))
    reference = header.references[instrument.index]
    order = st.tuples(U64 | st.integers(0, 300), _near(reference.price), U64 | st.integers(0, 300))
    sides = st.lists(order, max_size=6).map(pack_orders)
    return OrderUpdate(
        instrument,
        draw(_near_unsigned(reference.update_id)),
        draw(_near_unsigned(reference.time)),
        draw(sides),
        draw(sides),
        draw(BOOK_FLAGS),
    )


@st.composite
def order_blocks(draw: st.DrawFn, header: Header) -> OrderBlock:
    return OrderBlock(
        first_seq=draw(SEQ),
        updates=draw(st.lists(order_updates(header), min_size=1, max_size=6)),
        received_ns=draw(U64),
        held_ns=draw(U64),
        flags=draw(st.sampled_from([BlockFlags.NONE, BlockFlags.BACK_FILLED])),
    )


@st.composite
def row_headers(draw: st.DrawFn) -> Header:
    """Headers of channels of rows of features."""
    names = st.text("abcxyz019_", min_size=1, max_size=12)
    columns = draw(st.lists(names, min_size=1, max_size=20, unique=True))
    return replace(draw(headers()), data=DataKinds.FEATURES, columns=tuple(columns))


@st.composite
def feature_rows(draw: st.DrawFn, header: Header) -> FeatureRow:
    """Any values at all, and any of them absent."""
    finite = st.floats(allow_nan=False, allow_infinity=False)
    values = draw(st.tuples(*[st.none() | finite] * len(header.columns)))
    reasons = st.sampled_from([each for each in Absence if each])
    return FeatureRow(
        draw(st.sampled_from(header.instruments)),
        draw(U64 | st.integers(10**18, 10**18 + 300)),
        values,
        bytes(draw(reasons) if each is None else 0 for each in values),
    )


@st.composite
def feature_blocks(draw: st.DrawFn, header: Header) -> FeatureBlock:
    return FeatureBlock(
        first_seq=draw(SEQ),
        rows=draw(st.lists(feature_rows(header), min_size=1, max_size=6)),
        received_ns=draw(U64),
        held_ns=draw(U64),
        flags=draw(st.sampled_from([BlockFlags.NONE, BlockFlags.BACK_FILLED])),
    )


def _near(price: int) -> st.SearchStrategy[int]:
    """Any price at all, and often one close to this."""
    return I64 | st.integers(max(price - 300, -(2**63)), min(price + 300, 2**63 - 1))


def _near_unsigned(value: int) -> st.SearchStrategy[int]:
    return U64 | st.integers(max(value - 3, 0), min(value + 300, 2**64 - 1))


@st.composite
def events(draw: st.DrawFn, header: Header) -> Event:
    instrument = draw(st.sampled_from(header.instruments))
    first, last = sorted((draw(U64), draw(U64)))
    low, high = sorted((draw(SEQ), draw(SEQ)))
    return draw(
        st.sampled_from(
            [
                Status(
                    seq=draw(SEQ),
                    instrument=draw(st.sampled_from([None, instrument])),
                    state=draw(st.sampled_from(FeedState)),
                    since_ns=draw(U64),
                    why=draw(TEXT),
                ),
                Gap(
                    seq=draw(SEQ),
                    instrument=instrument,
                    first_id=first,
                    last_id=last,
                    state=draw(st.sampled_from(GapState)),
                    why=draw(TEXT),
                ),
                Loss(first_seq=low, last_seq=high, reason=draw(st.sampled_from(LossReason))),
                Heartbeat(next_seq=draw(SEQ), time_ns=draw(U64)),
                End(
                    reason=draw(st.sampled_from(EndReason)),
                    last_seq=draw(SEQ),
                    retry_ms=draw(st.none() | st.integers(0, 2**32 - 2)),
                    why=draw(TEXT),
                ),
            ]
        )
    )
