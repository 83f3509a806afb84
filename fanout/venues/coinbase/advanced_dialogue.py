"""The protocol of connections with Advanced Trade. Pure.

    opening:  -> {"type":"subscribe","channel":"heartbeats"}
              -> {"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}
              <- {"channel":"subscriptions",...,"sequence_num":0,"events":[
                  {"subscriptions":{"heartbeats":["heartbeats"],"market_trades":["BTC-USD"]}}]}
    then:     <- {"channel":"market_trades",...}, {"channel":"l2_data",...}   appended to `out`
    1 s:      <- {"channel":"heartbeats",...}

The venue closes a connection without a request in its first five seconds, and one whose channels
are all quiet for some 60 to 90 seconds. The heartbeats prevent that. A request has one channel.
Data may come before the answer to its subscription.

`sequence_num` counts all messages of a connection, whatever their channel. A number that does not
follow the one before it means that messages are lost. Errors have no number.

Heartbeats prove the connection, and not that a product is subscribed. So they are no sign of life
of an instrument.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import DialogueDefaults
from fanout.venues.coinbase.advanced_messages import depth_events, read_depth, read_trades
from fanout.venues.coinbase.books import CountedBooks
from fanout.venues.coinbase.subscriptions import Subscriptions
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import ABSENT
from fanout.venues.values import TOO_LONG, Limits, Outcome, VenueItem

TRADES: Final = "market_trades"
BOOK: Final = "level2"
"""What the book's channel is called in requests and answers."""
HEARTBEATS: Final = '{"type":"subscribe","channel":"heartbeats"}'

PRODUCTS_A_REQUEST: Final = 25
"""A user was refused level2 of some 100 products in one request; the limit is undocumented."""

_LONGEST_HEAD: Final = 400
"""How far into a message its number and its first product may be, if it is too long to parse."""
_NUMBER: Final = re.compile(rb'"sequence_num":([0-9]{1,18})[,}]')
_BOOK_HEAD: Final = re.compile(rb'"channel":"l2_data"')
_PRODUCT: Final = re.compile(rb'"product_id":"([^"]{1,80})"')


class _Message(msgspec.Struct):
    """What all messages have. Errors have only `type` and `message`."""

    channel: str = ""
    sequence_num: int | None = None
    events: msgspec.Raw = ABSENT
    type: str = ""
    message: str = ""


class _Listed(msgspec.Struct):
    subscriptions: dict[str, list[str]]


_decode = msgspec.json.Decoder(_Message).decode
_decode_listed = msgspec.json.Decoder(list[_Listed]).decode


def channels_of(data: DataKinds) -> tuple[str, ...]:
    """The channels of a symbol. Quotes are taken from its book."""
    trades = (TRADES,) if DataKinds.TRADES in data else ()
    book = (BOOK,) if data & (DataKinds.BOOK_BY_PRICE | DataKinds.QUOTES) else ()
    return trades + book


class _Sequence:
    """The numbers of a connection's messages. It may begin with any number."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._lost: str | None = None

    def take(self, number: int) -> None:
        if self._last is not None and number != self._last + 1:
            self._lost = f"sequence_num {number} came after {self._last}"
        self._last = number

    def miss(self) -> None:
        """The last message cannot be read, so it is as good as lost."""
        self._lost = f"sequence_num {self._last} cannot be read"

    def pop_lost(self) -> str | None:
        """Words for a hole that was not reported yet. It waits for a message that is readable."""
        lost, self._lost = self._lost, None
        return lost


class AdvancedDialogue(DialogueDefaults):
    """Subscriptions and their answers, the numbers of messages, and what the channels bring."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        data: DataKinds,
        limits: Limits,
        units: Mapping[str, Instrument],
    ) -> None:
        self._symbols = symbols
        self._channels = channels_of(data)
        self._subscriptions = Subscriptions(
            [(channel,) for channel in self._channels],
            _request,
            most=PRODUCTS_A_REQUEST,
            request_bytes=limits.request_bytes,
        )
        self._books = CountedBooks(units)
        self._sequence = _Sequence()
        self._has_heartbeats = False

    @property
    def unanswered(self) -> frozenset[str]:
        return self._subscriptions.unanswered

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not symbols:
            return ()
        first = () if self._has_heartbeats else (HEARTBEATS,)
        self._has_heartbeats = True
        return first + self._subscriptions.subscribe(symbols)

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return self._subscriptions.unsubscribe(symbols)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        if BOOK not in self._channels:
            return ()
        return tuple(_request(each, (symbol,), (BOOK,)) for each in ("unsubscribe", "subscribe"))

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        """Only a message of a book that is lost here counts as received. After any other one the
        next message shows a hole, so trades of it are missed."""
        head = message[:_LONGEST_HEAD]
        number, product = _NUMBER.search(head), _PRODUCT.search(head)
        if number and product and _BOOK_HEAD.search(head):
            self._sequence.take(int(number[1]))
            self._books.lose(product[1].decode(errors="replace"), TOO_LONG, out)

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        try:
            row = _decode(message)
        except msgspec.ValidationError as error:
            detail = f"{error}: {message[:80]!r}"
            raise VenueMessageError("message of the wrong shape", detail) from error
        except BROKEN as error:
            raise VenueMessageError("message is not JSON", f"{error}: {message[:80]!r}") from error
        if row.type == "error":
            return self._subscriptions.refuse(shown(row.message) or "no reason given")
        if row.sequence_num is None:
            raise VenueMessageError("message without a number", f"{message[:80]!r}")
        self._sequence.take(row.sequence_num)
        outcome = self._take(row.channel, row.events, out)
        lost = self._sequence.pop_lost()
        return replace(outcome or Outcome(), lost=lost) if lost else outcome

    def _take(self, channel: str, events: msgspec.Raw, out: list[VenueItem]) -> Outcome | None:
        """Append the items of a message, or return the outcome of an answer."""
        match channel:
            case "market_trades":
                self._take_trades(events, out)
            case "l2_data":
                self._take_depth(events, out)
            case "subscriptions":
                return self._listed(events)
            case "heartbeats":
                pass
            case _:
                raise VenueMessageError("unexpected channel", repr(channel[:80]))
        return None

    def _take_trades(self, events: msgspec.Raw, out: list[VenueItem]) -> None:
        before = len(out)
        try:
            read_trades(events, out)
        except VenueMessageError:
            if len(out) == before:
                self._sequence.miss()
            raise

    def _take_depth(self, events: msgspec.Raw, out: list[VenueItem]) -> None:
        """If the change of one book is unreadable, the others in the message still count."""
        fault: VenueMessageError | None = None
        try:
            changes = depth_events(events)
        except VenueMessageError:
            self._sequence.miss()
            raise
        for symbol, raw in changes:
            try:
                self._take_change(symbol, raw, out)
            except VenueMessageError as error:
                fault = fault or error
        if fault is not None:
            raise fault

    def _take_change(self, symbol: str, raw: msgspec.Raw, out: list[VenueItem]) -> None:
        self._books.take(symbol, lambda instrument: read_depth(raw, instrument), out)

    def _listed(self, events: msgspec.Raw) -> Outcome | None:
        try:
            rows = _decode_listed(events)
        except BROKEN as error:
            raise VenueMessageError("answer of the wrong shape", error) from error
        listed: dict[str, list[str]] = {}
        for row in rows:
            for channel, products in row.subscriptions.items():
                listed.setdefault(channel, []).extend(products)
        return self._subscriptions.confirm(listed)


def _request(kind: str, products: tuple[str, ...], channels: tuple[str, ...]) -> str:
    (channel,) = channels
    words = {"type": kind, "product_ids": products, "channel": channel}
    return msgspec.json.encode(words).decode()
