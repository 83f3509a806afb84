"""Data messages: as all connections share them, and as one connection gets them.

Shared, a message has 0 in place of the channel's number, or 1 if it answers a subscription, and
ends with its time:

    [0,"te",[401597395,1574694478808,0.005,7245.3],1574694478810]
    [0,[[7254.7,0,1],[7254.8,1,-1.25]],1574694478811]
    [1,[[7254.7,1,3.3],[7254.8,1,-1.25]],1574694478811]

`split` makes of it what the venue sends: a trade comes again as `tu`, and each change of a book is
a message. `personal` puts in the channel's number, the message's own, and the time if it is wanted:

    [205046,"te",[401597395,1574694478808,0.005,7245.3],739,1574694478810]

Removals go before other changes of the same transaction, so the book never crosses in between.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain, zip_longest
from typing import Final
from zlib import crc32

from fanout.simulator.dialects.base import Market, Pulse, Session
from fanout.simulator.dialects.bitfinex.channels import (
    CHECKSUMS,
    SEQ_ALL,
    TIMESTAMP,
    Own,
    own_of,
)
from fanout.simulator.dialects.bitfinex.numbers import spelled
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import Depth, Tick, Trade, depth_kind, stream_of

TRADES: Final = "trades"
BOOK: Final = "book"
RAW: Final = "raw"
DEPTH_KIND: Final = depth_kind(0)

HEARTBEAT: Final = "hb"
CHECKSUM: Final = "cs"
HEARTBEAT_S: Final = 15.0
CHECKSUM_S: Final = 5.0

PAST_TRADES: Final = 30
CHECKED_LEVELS: Final = 25
ID_PLACES: Final = 12
"""The id of an order is its price with so many decimals, twice, and one more for an ask."""

_HEAD: Final = re.compile(rb"\A\[[0-9]+,")
_TAIL: Final = re.compile(rb",([0-9]+)\]\Z")
_CHANGES: Final = re.compile(rb"\A(\[0,)\[(\[.*\])\](,[0-9]+\])\Z")
_TRADE: Final = re.compile(rb'\A\[0,"te",\[.*\],[0-9]+\]\Z')
_LEVEL: Final = re.compile(rb"\[([^\[\],]+),([0-9]+),([^\[\],]+)\]")

Rows = Iterable[tuple[str, str]]


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        row = tick.trade
        return b'[0,"te",%b,%d]' % (trade_row(row), row.event_ms)
    assert tick.depth is not None, "there are no streams of quotes or aggregates"
    return _depth(tick.depth)


def trade_row(trade: Trade) -> bytes:
    sign = "-" if trade.buyer_is_maker else ""
    values = trade.trade_id, trade.time_ms, sign + spelled(trade.quantity), spelled(trade.price)
    return "[{},{},{},{}]".format(*values).encode()


def _depth(depth: Depth) -> bytes:
    rows = sorted([*_levels(depth.bids, ""), *_levels(depth.asks, "-")], key=_stays)
    return b"[0,[%b],%d]" % (",".join(rows).encode(), depth.event_ms)


def _levels(rows: Rows, sign: str) -> Iterator[str]:
    for price, quantity in rows:
        if quantity.strip("0."):
            yield f"[{spelled(price)},1,{sign}{spelled(quantity)}]"
        else:
            yield f"[{spelled(price)},0,{sign}1]"


def _stays(row: str) -> bool:
    return row.split(",")[1] != "0"


def _whole(rows: Iterable[str], time_ms: int) -> bytes:
    return b"[1,[%b],%d]" % (",".join(rows).encode(), time_ms)


def split(message: bytes) -> list[bytes]:
    """Anything else, such as a message that a fault has cut, stays as it is."""
    if _TRADE.match(message):
        return [message, message.replace(b'"te"', b'"tu"', 1)]
    found = _CHANGES.match(message)
    if found is None:
        return [message]
    return [found[1] + row[0] + found[3] for row in _LEVEL.finditer(found[2])]


def personal(message: bytes, name: str | None, session: Session, count: int) -> tuple[bytes, int]:
    """Events are objects, and have no number."""
    if not message.startswith(b"["):
        return message, count
    own, count = own_of(session), count + 1
    if name is not None:
        message = _HEAD.sub(b"[%d," % (own.number_of(name) or 0), message)
        if name.startswith(RAW):
            message = _LEVEL.sub(_order, message)
    return _TAIL.sub(lambda found: _tail(own, count, found[1]), message), count


def _tail(own: Own, count: int, time_ms: bytes) -> bytes:
    number = b",%d" % count if own.flags & SEQ_ALL else b""
    time = b",%b" % time_ms if own.flags & TIMESTAMP else b""
    return number + time + b"]"


def _order(level: re.Match[bytes]) -> bytes:
    price, count, amount = level.groups()
    is_ask = amount.startswith(b"-")
    number = 2 * int(Decimal(price.decode()).scaleb(ID_PLACES)) + is_ask
    return b"[%d,%b,%b]" % (number, b"0" if count == b"0" else price, amount)


# Greetings and clocks.


def greeting(name: str, stream: str, market: Market) -> list[bytes]:
    """The newest trades, newest first, or the whole book."""
    channel, _, symbol = name.partition(":")
    if channel == TRADES:
        trades = market.newest(symbol, PAST_TRADES)
        rows = [trade_row(each).decode() for each in reversed(trades)]
        return [_whole(rows, trades[-1].event_ms if trades else 0)]
    book = market.whole(stream)
    if book is None:
        return []
    rows = [*_levels(book.bids, ""), *_levels(book.asks, "-")]
    return [_whole(rows, book.time_ms)]


def pulses(session: Session) -> tuple[Pulse, ...]:
    own = own_of(session)
    if not own.channels:
        return ()
    heartbeat = Pulse(HEARTBEAT, HEARTBEAT_S)
    return (heartbeat, Pulse(CHECKSUM, CHECKSUM_S)) if own.flags & CHECKSUMS else (heartbeat,)


def pulse(name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
    """Heartbeats of all channels leave together, also of those that had data."""
    own = own_of(session)
    if name == HEARTBEAT:
        return [b'[%d,"hb",%d]' % (each.number, now_ms) for each in own.channels]
    found: list[bytes] = []
    for each in own.channels:
        stream = stream_of(each.symbol, DEPTH_KIND)
        messages = checksums(each.name, stream, market, session, right=True)
        found += [_HEAD.sub(b"[%d," % each.number, message) for message in messages]
    return found


def checksums(
    name: str, stream: str, market: Market, session: Session, *, right: bool
) -> list[bytes]:
    """The checksum of a book by price, if the connection gets them."""
    book = market.whole(stream)
    is_wanted = own_of(session).flags & CHECKSUMS and name.startswith(BOOK)
    if book is None or not is_wanted:
        return []
    value = checksum(book) ^ (0 if right else 1)
    return [b'[0,"cs",%d,%d]' % (value, book.time_ms)]


def checksum(book: Snapshot) -> int:
    """CRC-32 of the best 25 levels of each side in turns, as a signed number."""
    bids, asks = book.bids[:CHECKED_LEVELS], book.asks[:CHECKED_LEVELS]
    texts = zip_longest(_spelled_levels(bids, ""), _spelled_levels(asks, "-"))
    value = crc32(":".join(filter(None, chain(*texts))).encode())
    return value - 2**32 if value >> 31 else value


def _spelled_levels(rows: Rows, sign: str) -> Iterator[str]:
    return (f"{spelled(price)}:{sign}{spelled(quantity)}" for price, quantity in rows)
