"""The protocol of connections with the Exchange feed. Pure.

    opening:  -> {"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]}
              <- {"type":"last_match",...}                                    appended to `out`
              <- {"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]},
                  {"name":"heartbeat","product_ids":["BTC-USD"]}]}
    then:     <- {"type":"match",...}, {"type":"heartbeat",...}               appended to `out`

The venue closes a connection without a request in its first five seconds. Data may come before the
answer to its subscription. Messages of unknown types are ignored, as the documentation asks.
https://docs.cdp.coinbase.com/exchange/websocket-feed/overview

The venue cuts those who read too slowly, with an error whose reason begins with `ErrSlow`.

Users of the exchange saw answers that name the book's channel `level2_50`, and one recording has
`level2`. So each name that begins with `level2` counts as the channel that was asked for.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import DialogueDefaults
from fanout.venues.coinbase.books import CountedBooks
from fanout.venues.coinbase.exchange_messages import (
    read_heartbeat,
    read_match,
    read_snapshot,
    read_update,
)
from fanout.venues.coinbase.subscriptions import Subscriptions
from fanout.venues.numbers import BROKEN
from fanout.venues.values import TOO_LONG, Alive, Limits, NewestId, Outcome, VenueItem

TRADES: Final = "matches"
HEARTBEAT: Final = "heartbeat"
BOOK: Final = "level2_batch"
"""The messages of `level2`, collected for 50 ms. `level2` itself needs an account."""

PRODUCTS_A_REQUEST: Final = 50

_MATCH: Final = b'{"type":"match",'
_UPDATE: Final = b'{"type":"l2update","product_id":"'
_SLOW: Final = "ErrSlow"
_BOOK_HEAD: Final = re.compile(rb'\{"type":"(?:snapshot|l2update)","product_id":"([^"]{1,80})"')


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] = []


class _Other(msgspec.Struct):
    type: str
    product_id: str = ""
    channels: list[_Channel] = []
    message: str = ""
    reason: str = ""


_decode_other = msgspec.json.Decoder(_Other).decode


def channels_of(data: DataKinds) -> tuple[str, ...]:
    """The channels of a symbol. Quotes are taken from its book."""
    trades = (TRADES,) if DataKinds.TRADES in data else ()
    book = (BOOK,) if data & (DataKinds.BOOK_BY_PRICE | DataKinds.QUOTES) else ()
    return (*trades, HEARTBEAT, *book)


class ExchangeDialogue(DialogueDefaults):
    """Subscriptions and their answers, and what the channels bring."""

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
            (self._channels,),
            _request,
            most=PRODUCTS_A_REQUEST,
            request_bytes=limits.request_bytes,
        )
        self._books = CountedBooks(units)

    @property
    def unanswered(self) -> frozenset[str]:
        return self._subscriptions.unanswered

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return self._subscriptions.subscribe(symbols)

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return self._subscriptions.unsubscribe(symbols)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        if BOOK not in self._channels:
            return ()
        return tuple(_request(each, (symbol,), (BOOK,)) for each in ("unsubscribe", "subscribe"))

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        head = _BOOK_HEAD.match(message)
        if head:
            self._books.lose(head[1].decode(errors="replace"), TOO_LONG, out)

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if message.startswith(_MATCH):
            out.append(read_match(message))
        elif message.startswith(_UPDATE):
            symbol = message[len(_UPDATE) : message.find(b'"', len(_UPDATE))]
            self._take_update(message, symbol.decode(errors="replace"), out)
        else:
            return self._other(message, out)
        return None

    def _take_update(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        self._books.take(symbol, lambda instrument: read_update(message, instrument), out)

    def _other(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        """A rarer message, or one that is written in another order."""
        try:
            other = _decode_other(message)
        except msgspec.ValidationError as error:
            detail = f"{error}: {message[:80]!r}"
            raise VenueMessageError("message of the wrong shape", detail) from error
        except BROKEN as error:
            raise VenueMessageError("message is not JSON", f"{error}: {message[:80]!r}") from error
        match other.type:
            case "heartbeat":
                self._beat(message, out)
            case "match" | "last_match":
                out.append(read_match(message))
            case "l2update":
                self._take_update(message, other.product_id, out)
            case "snapshot":
                self._books.take(other.product_id, lambda each: read_snapshot(message, each), out)
            case "subscriptions":
                return self._listed(other.channels)
            case "error":
                return self._refused(other)
        return None

    def _beat(self, message: bytes, out: list[VenueItem]) -> None:
        beat = read_heartbeat(message)
        has_trades = TRADES in self._channels and beat.last_trade_id > 0
        out.append(
            NewestId(beat.product_id, beat.last_trade_id) if has_trades else Alive(beat.product_id)
        )

    def _listed(self, channels: list[_Channel]) -> Outcome | None:
        listed = {
            BOOK if each.name.startswith("level2") else each.name: each.product_ids
            for each in channels
        }
        return self._subscriptions.confirm(listed)

    def _refused(self, error: _Other) -> Outcome:
        words = ": ".join(shown(each) for each in (error.message, error.reason) if each)
        if _SLOW in words:
            return Outcome(closes=words)
        return self._subscriptions.refuse(words or "no reason given")


def _request(kind: str, products: tuple[str, ...], channels: tuple[str, ...]) -> str:
    words = {"type": kind, "product_ids": products, "channels": channels}
    return msgspec.json.encode(words).decode()
