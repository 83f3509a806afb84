"""Updates of an order book: bytes on the wire, encoding and decoding.

Workload: the 6,551 frames of `@depth@0ms` in `btcusdt_20240808.gz`, in the order in which they were
received, with 443,521 levels. Each becomes an update in a block of its own, its levels sorted from
the best outwards; and the 66,089 frames of `@bookTicker` become quotes likewise. Without the
recording the stage takes a synthetic book of the same shape.

The sizes count every byte of the frames that carry the updates: length prefix, block header,
levels, CRC. JSON is the text of each frame as recorded, with its envelope, without the WebSocket's
framing. The header's reference is made from the first update: its update id and time, and its best
bid price. Every block states a hold time of 100 µs.

The times are the thread's CPU time a level, in passes over all updates, as in the stage codec. A
decoded update holds its levels packed. For comparison, msgspec decodes the JSON as recorded to
lists of price and quantity, which are still text.

Goals: the wire takes at most a fifth of the JSON; the compiled functions take less time than
msgspec takes for the JSON.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, Final

import msgspec

from fanout.protocol import (
    BookBlock,
    BookUpdate,
    Header,
    Instrument,
    Quote,
    QuoteBlock,
    Reference,
    decode_book,
    encode_book,
    encode_quotes,
    frame,
    from_text,
    pack_levels,
)
from fanout.protocol.speedups import IS_COMPILED, PLAIN
from tests.bench.market import book_lines
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure

SMALL_UPDATES: Final = 200
ROUNDS: Final = 15
HELD_NS: Final = 100_000

BTCUSDT: Final = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)

COMPILED: Final = "fanout, compiled"
JSON: Final = "JSON, by msgspec"


class _Depth(msgspec.Struct):
    u: int
    T: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Ticker(msgspec.Struct):
    u: int
    T: int
    b: str
    B: str
    a: str
    A: str


class _DepthFrame(msgspec.Struct):
    data: _Depth


class _TickerFrame(msgspec.Struct):
    data: _Ticker


_decode_depth: Final = msgspec.json.Decoder(_DepthFrame).decode
_decode_ticker: Final = msgspec.json.Decoder(_TickerFrame).decode


class Received(msgspec.Struct, frozen=True):
    """An update or a quote in a block of its own, and the frame that brought it."""

    block: Any
    text: bytes


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    most = SMALL_UPDATES if small else None
    books = list(islice(update_blocks(), most))
    quotes = list(islice(quote_blocks(), most))
    header = header_of(books[0].block.updates[0])
    rows: list[Row | Absent] = [*_sizes(books, quotes, header)]
    rows += _times(books, header, 1 if small else ROUNDS)
    if not IS_COMPILED:
        rows.append(Absent(COMPILED, "fanout.protocol._speedups is not built, or switched off"))
    return rows


def update_blocks() -> Iterator[Received]:
    for seq, (received_ns, text) in enumerate(_frames("depth@0ms"), 1):
        data = _decode_depth(text).data
        bids, asks = sorted(map(_level, data.b), reverse=True), sorted(map(_level, data.a))
        update = BookUpdate(BTCUSDT, data.u, data.T, pack_levels(bids), pack_levels(asks))
        block = BookBlock(first_seq=seq, updates=[update], received_ns=received_ns, held_ns=HELD_NS)
        yield Received(block, text)


def quote_blocks() -> Iterator[Received]:
    for seq, (received_ns, text) in enumerate(_frames("bookTicker"), 1):
        data = _decode_ticker(text).data
        quote = Quote(BTCUSDT, data.u, data.T, *_level((data.b, data.B)), *_level((data.a, data.A)))
        block = QuoteBlock(first_seq=seq, quotes=[quote], received_ns=received_ns, held_ns=HELD_NS)
        yield Received(block, text)


def _frames(stream: str) -> Iterator[tuple[int, bytes]]:
    """The frames of one stream and when they were received. Raises `Unavailable` as `book_lines`
    does."""
    begin = b'{"stream":"btcusdt@%b"' % stream.encode()
    return ((received_ns, text) for received_ns, text in book_lines() if text.startswith(begin))


def _level(texts: tuple[str, str]) -> tuple[int, int]:
    price, quantity = texts
    return (
        from_text(price, BTCUSDT.price_exponent),
        from_text(quantity, BTCUSDT.quantity_exponent),
    )


def header_of(first: BookUpdate) -> Header:
    reference = Reference(
        price=first.bids[0].price,
        quantity=0,
        trade_id=0,
        time=first.time,
        update_id=first.update_id,
    )
    return Header(
        epoch_ns=1,
        next_seq=1,
        venue="binance-usdm",
        instruments=(BTCUSDT,),
        references=(reference,),
    )


def levels_in(books: Sequence[Received]) -> int:
    updates = chain.from_iterable(each.block.updates for each in books)
    return sum(len(each.bids) + len(each.asks) for each in updates)


def _sizes(books: Sequence[Received], quotes: Sequence[Received], header: Header) -> Iterator[Row]:
    of_books = sum(len(frame(encode_book(each.block, header))) for each in books)
    of_quotes = sum(len(frame(encode_quotes(each.block, header))) for each in quotes)
    of_json, of_tickers = (sum(len(each.text) for each in many) for many in (books, quotes))
    levels = levels_in(books)
    yield Row(name="fanout, a block an update", value=of_books / levels, unit="bytes/level")
    yield Row(name="JSON as received", value=of_json / levels, unit="bytes/level")
    share = of_books / of_json
    yield Row(name="fanout / JSON as received", value=share, unit="times", at_most=0.2)
    yield Row(name="fanout, a block a quote", value=of_quotes / len(quotes), unit="bytes/quote")
    yield Row(name="JSON of a quote", value=of_tickers / len(quotes), unit="bytes/quote")


def _times(books: Sequence[Received], header: Header, rounds: int) -> Iterator[Row]:
    blocks, levels = [each.block for each in books], levels_in(books)
    payloads = [encode_book(each, header) for each in blocks]
    _require_same(blocks, payloads, header)
    ways: dict[str, tuple[Callable[..., object], Sequence[Any]]] = {
        "encode: fanout, plain": (PLAIN["encode_book"], blocks),
        "decode: fanout, plain": (PLAIN["decode_book"], payloads),
    }
    if IS_COMPILED:
        ways |= {
            f"encode: {COMPILED}": (encode_book, blocks),
            f"decode: {COMPILED}": (decode_book, payloads),
        }
    passes = {
        name: partial(_pass_ns, function, inputs, header)
        for name, (function, inputs) in ways.items()
    }
    passes[f"decode: {JSON}"] = partial(_pass_ns, _decode_depth, [each.text for each in books])
    samples = {
        name: [each / levels for each in times] for name, times in in_rounds(passes, rounds).items()
    }
    for name, ns in samples.items():
        yield figure(name, ns, "ns/level")
    if IS_COMPILED:
        for direction in ("encode", "decode"):
            against = ratios(samples[f"decode: {JSON}"], samples[f"{direction}: {COMPILED}"])
            name = f"{JSON} / {direction}: {COMPILED}"
            yield figure(name, against, "times", at_least=1)


def _require_same(blocks: Sequence[BookBlock], payloads: Sequence[bytes], header: Header) -> None:
    for block, payload in zip(blocks, payloads, strict=True):
        (sent,), (got,) = block.updates, decode_book(payload, header).updates
        if (sent.packed_bids, sent.packed_asks) != (got.packed_bids, got.packed_asks):
            raise ValueError(f"update {sent.update_id} has changed")


def _pass_ns(function: Callable[..., object], inputs: Sequence[Any], *beside: object) -> float:
    calls = map(function, inputs, *map(repeat, beside))
    started_ns = time.thread_time_ns()
    deque(calls, maxlen=0)
    return time.thread_time_ns() - started_ns
