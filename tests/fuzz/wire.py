"""Targets of the wire: what a reader is sent, and what a service is asked.

The CRC is no obstacle here. Where a target takes a body it seals it; where it takes a stream, that
is tried as it is and with every CRC made right.
"""

from collections.abc import Callable
from itertools import chain, pairwise
from math import isfinite

from msgspec.structs import replace

from fanout import protocol
from fanout.clients.subscription import Subscription
from fanout.protocol import (
    BookUpdate,
    End,
    FeatureRow,
    FrameReader,
    Gap,
    LimitExceededError,
    Loss,
    MalformedError,
    OrderUpdate,
    PeerError,
    Position,
    Quote,
    Record,
    Request,
    Snapshot,
    Start,
    Status,
    SubscriberSession,
    Trade,
    decode_block,
    decode_event,
    decode_features,
    decode_header,
    decode_opening,
    decode_request,
    encode_block,
    encode_event,
    encode_features,
    encode_header,
    encode_request,
    opening,
    with_instruments,
)
from fanout.protocol.constants import MAX_INSTRUMENTS
from fanout.protocol.framing import frame, payloads_of, seal
from fanout.protocol.rows import ROW, rows_of
from fanout.protocol.speedups import PLAIN
from fanout.protocol.wire1 import Wire1Decoder, Wire1Encoder
from fanout.transports.tcp.greeting import read_request
from tests.fuzz.target import Pieces, outcome_of, run, slices
from tests.protocol.golden import BARE_HEADER, HEADER, ROWS_HEADER


def frames(stream: bytes) -> None:
    """A stream has the same payloads however it is cut, and none that is too long."""
    payloads = _payloads([stream])
    assert payloads == _payloads(slices(stream))
    assert stream.startswith(b"".join(map(frame, payloads)))
    payloads_of(stream)


def _payloads(pieces: list[bytes]) -> list[bytes]:
    reader, found = FrameReader(), []
    for each in pieces:
        reader.feed(each)
        try:
            while (payload := reader.next_payload()) is not None:
                found.append(payload)
        except LimitExceededError:
            break
    return found


def header(body: bytes) -> None:
    """A header that can be read can be written."""
    found, count = decode_header(seal(body))
    assert 0 <= count <= MAX_INSTRUMENTS
    assert decode_header(encode_header(found)) == (found, 0)


def instruments(body: bytes) -> None:
    """Instruments that can be read can be written, and nothing else of the header changes."""
    found = with_instruments(HEADER, seal(body))
    assert decode_opening(opening(found)) == found
    assert replace(found, instruments=(), references=()) == BARE_HEADER


def block(body: bytes) -> None:
    """The compiled functions and the plain ones read a block alike, as trades and as rows, and
    what is read can be written."""
    payload = seal(body)
    found = outcome_of(decode_block, payload, HEADER)
    assert found == outcome_of(PLAIN["decode_block"], payload, HEADER)
    rows = outcome_of(rows_of, [payload, payload], HEADER)
    assert rows == outcome_of(PLAIN["rows_of"], [payload, payload], HEADER)
    block = decode_block(payload, HEADER)
    assert len(rows) == 2 * ROW.size * len(block.trades)
    again = encode_block(block, HEADER)
    assert decode_block(again, HEADER) == block
    assert again == PLAIN["encode_block"](block, HEADER)


def updates(name: str) -> Callable[[bytes], None]:
    """The compiled functions and the plain ones read a block of quotes or book updates alike, and
    what is read can be written."""
    encode, decode = f"encode_{name}", f"decode_{name}"

    def block(body: bytes) -> None:
        payload = seal(body)
        found = outcome_of(getattr(protocol, decode), payload, HEADER)
        assert found == outcome_of(PLAIN[decode], payload, HEADER)
        block = getattr(protocol, decode)(payload, HEADER)
        again = getattr(protocol, encode)(block, HEADER)
        assert PLAIN[decode](again, HEADER) == block
        assert again == PLAIN[encode](block, HEADER)

    return block


def features(body: bytes) -> None:
    """What is read of a block of rows is finite, and can be written."""
    block = decode_features(seal(body), ROWS_HEADER)
    values = [each for row in block.rows for each in row.values]
    assert all(each is None or isfinite(each) for each in values)
    assert len(values) == len(block.rows) * len(ROWS_HEADER.columns)
    assert decode_features(encode_features(block, ROWS_HEADER), ROWS_HEADER) == block


def event(body: bytes) -> None:
    """What is read of an event is what can be written."""
    found = decode_event(seal(body), HEADER)
    assert decode_event(seal(body + b"more"), HEADER) == found
    assert decode_event(encode_event(found), HEADER) == found


def request(payload: bytes) -> None:
    """What is read of a request is what can be written, and its token is not shown."""
    found = decode_request(payload)
    assert decode_request(encode_request(found)) == found
    assert found.token is None or "token=***" in repr(found)


def greeting(stream: bytes) -> None:
    """A service's first words with a client, as they come in pieces."""
    found: Request = run(_greet, Pieces(slices(stream)))
    if stream:
        assert found == decode_request(stream[4:][: int.from_bytes(stream[:4], "little")])


async def _greet(client: Pieces) -> Request:
    return await read_request(client, is_needed=False)  # type: ignore[arg-type]


def wire1(stream: bytes) -> None:
    """Wire 1: what a reader understood, an encoder in its place would have said."""
    reader, again = Wire1Decoder(), Wire1Decoder()
    head, *trades = payloads_of(stream) or [b""]
    found = reader.header(head)
    encoder = Wire1Encoder(
        symbols=found.symbols,
        reference_ms=found.reference_ms,
        prices=found.prices,
        quantities=found.quantities,
    )
    assert again.header(encoder.header()).prices == found.prices
    for each in trades:
        trade = reader.trade(each)
        said = (trade.time_ms, trade.price, trade.quantity, trade.buyer_is_maker)
        assert again.trade(encoder.trade(trade.index, *said)) == trade


def session(stream: bytes) -> None:
    """A subscriber gives the same records however the stream is cut, and accounts for every
    number."""
    for each in (stream, mended(stream)):
        for start in (Start.LIVE, Start.OLDEST, Position(epoch_ns=HEADER.epoch_ns, seq=900)):
            heard = _Heard([each], start)
            assert heard == _Heard(slices(each), start)
            heard.require_account()
    if heard.error is not None:
        raise heard.error


class _Heard:
    """What a session makes of a stream."""

    def __init__(self, pieces: list[bytes], start: Start | Position) -> None:
        self.records: list[Record] = []
        self.error: PeerError | None = None
        self.session = SubscriberSession()
        self.session.ask(start)
        try:
            for each in pieces:
                self._take(each)
        except PeerError as error:
            self.error = error

    def _take(self, piece: bytes) -> None:
        self.session.receive(piece)
        while (records := self.session.next_records()) is not None:
            self.records += records

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, _Heard)
        return self.records == other.records and str(self.error) == str(other.error)

    __hash__ = None  # type: ignore[assignment]

    def require_account(self) -> None:
        """Trades, events and losses are the numbers from the first on, each once."""
        runs = [run for each in self.records if (run := _numbers(each)) is not None]
        for (_, last), (first, _) in pairwise(runs):
            assert first == last + 1
        if runs and self.error is None:
            assert self.session.next_seq == runs[-1][1] + 1


def _numbers(record: Record) -> tuple[int, int] | None:
    match record:
        case Trade(seq=seq) | Status(seq=seq) | Gap(seq=seq):
            return seq, seq
        case Quote(seq=seq) | BookUpdate(seq=seq) | OrderUpdate(seq=seq) | FeatureRow(seq=seq):
            return (seq, seq) if seq else None  # of a snapshot
        case Loss(first_seq=first, last_seq=last):
            return first, last
        case Snapshot() | End():
            return None


def mended(stream: bytes) -> bytes:
    """A stream in which every whole frame has the CRC that it should have."""
    out, rest = [], stream
    while len(rest) >= 4:
        size = int.from_bytes(rest[:4], "little")
        payload = rest[4 : 4 + size]
        if len(payload) < size or size < 6:
            break
        out.append(frame(payload if payload == b"START" else seal(payload[:-4]))[: 4 + size])
        rest = rest[4 + size :]
    return b"".join(chain(out, (rest,)))


def subscription(stream: bytes) -> None:
    """What the clients make of a stream, over two connections that bring the same."""
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    for pieces in ([mended(stream)], slices(mended(stream))):
        try:
            subscriber.request()
            for each in [*pieces, b""]:
                subscriber.receive(each)
        except PeerError as error:
            subscriber.ready.clear()
            subscriber.disconnected(error)
        assert subscriber.state.is_over or 0 <= subscriber.state.pause_s <= 400
        position = subscriber.position
        assert position is None or encode_request(Request(start=position))
    if subscriber.header is None:
        raise MalformedError("there is no header in it")
