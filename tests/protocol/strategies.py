"""Generated values: every header, trade and event that the wire can carry."""

from hypothesis import strategies as st

from fanout.protocol import (
    Block,
    BlockFlags,
    End,
    EndReason,
    Event,
    FeedState,
    Gap,
    GapState,
    Header,
    Heartbeat,
    Instrument,
    Loss,
    LossReason,
    Reference,
    Status,
    Trade,
    TradeKind,
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
        Reference(price=draw(I64), quantity=draw(U64), trade_id=draw(U64), time=draw(U64))
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
