"""Reads recorded sessions. Frames name their channels by numbers, so a reader keeps the session's
subscriptions.

A recorded message becomes one of those that `frames` shares, with its digits as they were. If the
session had no times, it gets the time of the newest trade so far.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from fanout.simulator.dialects.bitfinex.channels import TIMESTAMP
from fanout.simulator.dialects.bitfinex.frames import BOOK, DEPTH_KIND, TRADES
from fanout.simulator.dialects.bitfinex.table import contract_type
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import MARKET, TRADE, Trade

BY_PRICE: Final = "P0"
EXECUTED: Final = b'"te"'

_LEVELS: Final = re.compile(rb"\A\[([01]),(\[.*\]),([0-9]+)\]\Z")

Row = list[msgspec.Raw]


class _Event(msgspec.Struct):
    event: str
    channel: str = ""
    symbol: str = ""
    chanId: int = 0  # noqa: N815  the venue's name
    flags: int = 0
    prec: str = BY_PRICE


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_row = msgspec.json.Decoder(Row).decode
_decode_rows = msgspec.json.Decoder(list[Row]).decode


class BitfinexReader(ReaderDefaults):
    """The reader of one file."""

    def __init__(self) -> None:
        self._channels: dict[int, _Event] = {}
        self._has_times = False
        self._time_ms = 0

    def read(self, frame: bytes) -> Sequence[Found]:
        try:
            return self._read(frame)
        except IndexError:
            raise ValueError("an array that is too short") from None

    def _read(self, frame: bytes) -> Sequence[Found]:
        if frame.startswith(b"{"):
            self._note(_decode_event(frame))
            return ()
        fields = _decode_row(frame)
        channel = self._channels.get(_integer(fields[0]))
        if channel is None:
            return ()
        if self._has_times:
            self._time_ms = _integer(fields[-1])
        content = bytes(fields[1])
        if channel.channel == TRADES:
            return self._trades(channel.symbol, content, fields)
        if channel.channel == BOOK and channel.prec == BY_PRICE and content.startswith(b"["):
            return (self._levels(channel.symbol, content),)
        return ()

    def levels(self, payload: bytes) -> RecordedLevels:
        found = _LEVELS.match(payload)
        if found is None:
            raise ValueError("a recorded message without levels")
        sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for price, count, amount in (row[:3] for row in _decode_rows(found[2])):
            size = _plain(amount)
            quantity = "0" if bytes(count) == b"0" else size.removeprefix("-")
            sides[size.startswith("-")].append((_plain(price), quantity))
        return RecordedLevels(0, *sides, int(found[3]), is_whole=found[1] == b"1")

    def described(self, listing: Listing) -> Listing:
        return msgspec.structs.replace(listing, contract_type=contract_type(listing.symbol))

    def _note(self, event: _Event) -> None:
        if event.event == "subscribed":
            self._channels[event.chanId] = event
        elif event.event == "conf":
            self._has_times = bool(event.flags & TIMESTAMP)

    def _trades(self, symbol: str, content: bytes, fields: Row) -> Sequence[Found]:
        if content == EXECUTED:
            trade = self._trade(symbol, _decode_row(fields[2]))
            payload = b'[0,"te",%b,%d]' % (bytes(fields[2]), self._time_ms)
            return (Recorded(trade, payload),)
        if not content.startswith(b"["):
            return ()
        rows = reversed(_decode_rows(content))
        trades = tuple(self._trade(symbol, row) for row in rows)
        return (RecordedPast(symbol, TRADE, trades, b"[1,%b,%d]" % (content, self._time_ms)),)

    def _trade(self, symbol: str, row: Row) -> Trade:
        time_ms, amount = _integer(row[1]), _plain(row[2])
        if not self._has_times:
            self._time_ms = max(self._time_ms, time_ms)
        return Trade(
            event_ms=self._time_ms,
            time_ms=time_ms,
            symbol=symbol,
            trade_id=_integer(row[0]),
            price=_plain(row[3]),
            quantity=amount.removeprefix("-"),
            kind=MARKET,
            buyer_is_maker=amount.startswith("-"),
        )

    def _levels(self, symbol: str, content: bytes) -> Found:
        is_whole = content.startswith(b"[[") or content == b"[]"
        form = b"[1,%b,%d]" if is_whole else b"[0,[%b],%d]"
        return RecordedMessage(symbol, DEPTH_KIND, form % (content, self._time_ms))


def _integer(raw: msgspec.Raw) -> int:
    return int(bytes(raw))


def _plain(raw: msgspec.Raw) -> str:
    """The digits of a number, without an exponent."""
    return f"{Decimal(bytes(raw).decode()):f}"
