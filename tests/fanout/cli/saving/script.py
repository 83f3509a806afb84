"""A stream with all that is hard to save: extreme values, symbols in other scripts, units that
change in mid-stream, losses, and a service that restarts with other symbols."""

from pathlib import Path

from msgspec.structs import replace

from fanout.cli.saving.run import record
from fanout.cli.source import Source
from fanout.protocol import (
    Block,
    End,
    EndReason,
    Gap,
    GapState,
    Header,
    Instrument,
    Trade,
    TradeKind,
    encode_block,
    encode_event,
    frame,
)
from fanout.protocol.header import opening as header_frames
from tests.contracts.client import serving
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.protocol.test_session import GREETING, loss

MS = 1_791_382_992_838

EPOCH = replace(HEADER, epoch_ns=7, next_seq=1)
FINER_BTC = replace(BTC, price_exponent=-4, time_exponent=-6)
RENEWED = replace(EPOCH, instruments=(FINER_BTC, LIFE), next_seq=4)
LONG = Instrument(
    index=0, symbol="1000000币安人生USDT_261225", price_exponent=-7, quantity_exponent=1
)
ANEW = Header(
    epoch_ns=8,
    next_seq=1,
    venue="test",
    instruments=(LONG,),
    references=(replace(HEADER.references[0]),),
)

BEFORE = [
    Trade(BTC, 2**64 - 1, MS, 2**63 - 1, 2**64 - 1, True, TradeKind.ADL, 1, 2**64 - 1),
    Trade(LIFE, 0, MS + 1, -(2**63), 0, False, TradeKind.RPI, 2, 2**64 - 1),
    Trade(BTC, 5, MS + 2, 8_309_170, 22, False, TradeKind.MARKET, 3, 2**64 - 1),
]
AFTER = [Trade(FINER_BTC, 6, MS * 1000 + 7, 830_917_000, 23, True, TradeKind.MARKET, 4, 11)]
OTHERS = [Trade(LONG, 1, MS + 4, 1, 2, True, TradeKind.MARKET, 1, 12)]

EXPECTED = [*((each, 7) for each in (*BEFORE, *AFTER)), *((each, 8) for each in OTHERS)]
"""The trades of the stream, each with its epoch."""


def block(trades: list[Trade], header: Header) -> bytes:
    value = Block(
        first_seq=trades[0].seq, trades=trades, received_ns=trades[0].received_ns, held_ns=0
    )
    return frame(encode_block(value, header))


def opening(header: Header) -> bytes:
    return GREETING + header_frames(header)


def gap(seq: int, first_id: int, last_id: int, state: GapState) -> bytes:
    event = Gap(seq=seq, instrument=BTC, first_id=first_id, last_id=last_id, state=state)
    return frame(encode_event(event))


def goodbye(last_seq: int) -> bytes:
    """For good."""
    return frame(encode_event(End(reason=EndReason.SHUTDOWN, last_seq=last_seq, retry_ms=None)))


CONNECTIONS = (
    opening(EPOCH)
    + block(BEFORE, EPOCH)
    + header_frames(RENEWED)
    + block(AFTER, RENEWED)
    + loss(5, 11)
    + gap(12, 50, 52, GapState.OPEN)
    + gap(13, 50, 50, GapState.BACK_FILLED)
    + gap(14, 51, 51, GapState.UNRECOVERABLE),
    opening(ANEW) + block(OTHERS, ANEW) + goodbye(1),
)
"""What a service sends, twice."""

MISSING = (
    "7 records lost on the way, 1 trade id unrecoverable, 1 trade id still open, "
    "1 restart of the service"
)


def source(url: str, *, reconnect: bool = True) -> Source:
    return Source(
        address=url,
        symbols=None,
        market_only=False,
        start="live",
        reconnect=reconnect,
        token_file=None,
        tls_ca=None,
    )


def save(
    target: Path, *connections: bytes, force: bool = False, limit: int | None = None
) -> int | None:
    """Record what a service sends in these connections, `CONNECTIONS` if none is given."""
    with serving(*(connections or CONNECTIONS)) as script:
        return record(source(script.url), target, force=force, limit=limit, duration_s=None)
