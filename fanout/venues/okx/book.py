"""OKX's quotes (`bbo-tbt`) and changes of order books (`books`), and whole books over REST. Pure.

    {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update",
     "data":[{"asks":[["8476.98","415","0","13"]],"bids":[["8475.54","0","0","0"]],
              "ts":"1597026383085","checksum":0,"prevSeqId":123456,"seqId":123457}]}

A level is price, quantity, "0", and the count of orders. Quantities are absolute; 0 removes a
level, also one that is not there. `books` has the best 400 levels of a side, and removes each level
that falls out of them.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel

    snapshot            replaces the book; `prevSeqId` is -1
    update              follows the message whose `seqId` is its `prevSeqId`
    no levels, and
    prevSeqId == seqId  keep-alive, about once a minute
    prevSeqId > seqId   ids begin anew, after maintenance, also those of quotes

`checksum` is 0 since 2026-06-23, and is not read. OKX announced on 2026-02-12 that snapshots will
no longer come on the stream, and still sent them in 2026-09. So there is a request for a whole book
too. The documentation of 2026 has its `seqId`, and the change log of 2026-02-12 how to join it: the
first change to apply has `prevSeqId` <= the `seqId` of the whole book < its own `seqId`.

Levels are read in one pass, without an object for each: without its last two fields a level is a
pair, which `packed_levels` reads. Levels that are not in the ordinary form are read one by one.

Messages of 2022 have neither `seqId` nor `prevSeqId`. The dialogue numbers them.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import LEVEL, BookUpdate
from fanout.protocol.constants import U64_MAX, BookFlags, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.level_text import packed_levels
from fanout.venues.levels import packed_side
from fanout.venues.numbers import BROKEN
from fanout.venues.okx.rest import data_of
from fanout.venues.okx.trades import MILLIS, UNSIGNED
from fanout.venues.values import Alive, Request, VenueDepth, VenueQuote

LEVELS: Final = 400
"""Levels of a side: of `books`, and the most over REST."""

_Level = Annotated[list[str], msgspec.Meta(min_length=2)]
_Best = Annotated[list[_Level], msgspec.Meta(max_length=1)]
_NO_LEVEL: Final = ["0", "0"]
"""In place of a side that is empty, as it happens with options."""

_LAST_FIELDS: Final = re.compile(rb'","[0-9]+","[0-9]+"\]')

_NO_BOOK: Final = "whole book of the wrong shape"


class _Whole(msgspec.Struct, gc=False):
    asks: msgspec.Raw
    bids: msgspec.Raw
    ts: MILLIS
    seqId: UNSIGNED  # noqa: N815  the venue's name


class _Changes(msgspec.Struct, gc=False):
    asks: msgspec.Raw
    bids: msgspec.Raw
    ts: MILLIS
    seqId: UNSIGNED | None = None  # noqa: N815
    prevSeqId: int | None = None  # noqa: N815


class _Quote(msgspec.Struct, gc=False):
    asks: _Best
    bids: _Best
    ts: MILLIS
    seqId: UNSIGNED | None = None  # noqa: N815


class _BookMessage(msgspec.Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: Annotated[list[_Changes], msgspec.Meta(min_length=1)]


class _QuoteMessage(msgspec.Struct, gc=False):
    data: Annotated[list[_Quote], msgspec.Meta(min_length=1)]


# Not strict: some numbers come as text.
_decode_book = msgspec.json.Decoder(_BookMessage, strict=False).decode
_decode_quotes = msgspec.json.Decoder(_QuoteMessage, strict=False).decode
_decode_levels = msgspec.json.Decoder(list[_Level]).decode
_decode_wholes = msgspec.json.Decoder(tuple[_Whole], strict=False).decode


class QuoteReader:
    """Reads the quotes of one connection."""

    def __init__(self) -> None:
        self._newest: dict[str, VenueQuote] = {}

    def read(self, message: bytes, symbol: str) -> list[VenueQuote]:
        """The quotes in a message of `bbo-tbt`. Without a `seqId` the time is the update id. Raises
        `VenueMessageError`."""
        try:
            rows = _decode_quotes(message).data
        except BROKEN as error:
            detail = f"{error}: {message[:80]!r}"
            raise VenueMessageError("quote of the wrong shape", detail) from error
        return [self._quote(row, symbol) for row in rows]

    def _quote(self, row: _Quote, symbol: str) -> VenueQuote:
        bid, ask = (side[0] if side else _NO_LEVEL for side in (row.bids, row.asks))
        update_id = row.ts if row.seqId is None else row.seqId
        if update_id > U64_MAX:
            raise VenueMessageError("quote of the wrong shape", f"{symbol}, {update_id}")
        # A quote does not name the one before. A later one with a lower id begins the ids anew.
        last = self._newest.get(symbol)
        resets = last is not None and update_id < last.update_id and row.ts > last.time
        quote = VenueQuote(symbol, update_id, row.ts, bid[0], bid[1], ask[0], ask[1], resets)
        self._newest[symbol] = quote
        return quote


class BookReader:
    """Reads the changes of books of one connection."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """Messages without a `seqId`, by symbol."""

    def read(self, message: bytes, instrument: Instrument) -> list[VenueDepth | Alive]:
        """The changes in a message of `books`, which is about this instrument. Raises
        `VenueMessageError`."""
        try:
            found = _decode_book(message)
            is_whole = found.action == "snapshot"
            return [self._meaning(row, instrument, is_whole) for row in found.data]
        except BROKEN as error:
            raise _wrong(f"{error}: {message[:80]!r}") from error

    def _meaning(self, row: _Changes, instrument: Instrument, is_whole: bool) -> VenueDepth | Alive:
        symbol, last, previous = instrument.symbol, row.seqId, row.prevSeqId
        if last is None:
            previous = self._counts.get(symbol, 0)
            last = self._counts[symbol] = previous + 1
        if is_whole:
            previous = None
        elif previous is None or previous < 0:
            raise _wrong(f"{symbol}, update {last} behind {previous}")
        elif previous == last:
            if _has_levels(row.asks) or _has_levels(row.bids):
                raise _wrong(f"{symbol}, update {last} with levels behind itself")
            return Alive(symbol)
        if max(last, previous or 0) > U64_MAX:
            raise _wrong(f"{symbol}, update {last} behind {previous}")
        flags = BookFlags.WHOLE | BookFlags.TOP_ONLY if is_whole else BookFlags.NONE
        update = BookUpdate(instrument, last, row.ts, *_packed(row, instrument), flags)
        if previous is None or previous > last:
            return VenueDepth(update, last, previous, resets=previous is not None)
        return VenueDepth(update, previous + 1, previous)


def book_request(symbol: str) -> Request:
    return Request(path="/api/v5/market/books", query={"instId": symbol, "sz": str(LEVELS)})


def parse_book(body: bytes, instrument: Instrument) -> BookUpdate:
    """Raises `VenueMessageError`."""
    try:
        (row,) = _decode_wholes(data_of(body, _NO_BOOK))
        bids, asks = _packed(row, instrument)
    except BROKEN as error:
        raise VenueMessageError(_NO_BOOK, error) from error
    if row.seqId > U64_MAX:
        raise VenueMessageError(_NO_BOOK, f"update {row.seqId}")
    flags = BookFlags.WHOLE
    if max(len(bids), len(asks)) >= LEVELS * LEVEL.size:
        flags |= BookFlags.TOP_ONLY
    return BookUpdate(instrument, row.seqId, row.ts, bids, asks, flags)


def _packed(row: _Changes | _Whole, instrument: Instrument) -> tuple[bytes, bytes]:
    """The bids and the asks. Raises `VenueUnitsError`, and an error of `BROKEN`."""
    bids = _packed_side(bytes(row.bids), instrument, Side.BID)
    return bids, _packed_side(bytes(row.asks), instrument, Side.ASK)


def _packed_side(raw: bytes, instrument: Instrument, side: Side) -> bytes:
    text = _LAST_FIELDS.sub(b'"]', raw)
    found = packed_levels(text, 0, instrument.price_exponent, instrument.quantity_exponent, side)
    if found is not None and found[1] == len(text):
        return found[0]
    try:
        pairs = [(each[0], each[1]) for each in _decode_levels(raw)]
    except BROKEN as error:
        name = "bids" if side == Side.BID else "asks"
        raise msgspec.ValidationError(f"{error} of {name}") from error
    return packed_side(pairs, instrument, side)


def _has_levels(raw: msgspec.Raw) -> bool:
    return bool(_decode_levels(raw))


def _wrong(detail: str) -> VenueMessageError:
    return VenueMessageError("depth of the wrong shape", detail)
