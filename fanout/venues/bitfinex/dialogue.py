"""The protocol of Bitfinex's connections. Pure.

    opening:   <- {"event":"info","version":2,"platform":{"status":1}}
               -> {"event":"conf","flags":98304}
               -> {"event":"subscribe","channel":"trades","symbol":"tBTCUSD"}
               <- {"event":"conf","status":"OK","flags":98304}
               <- {"event":"subscribed","channel":"trades","chanId":19111,"symbol":"tBTCUSD",...}
               <- [19111,[[ID,MTS,AMOUNT,PRICE],...],1,TIME]    30 trades, the newest first
    then:      <- [19111,"te",[ID,MTS,AMOUNT,PRICE],2,TIME]     a trade
               <- [10092,[PRICE,COUNT,AMOUNT],3,TIME]           a change of a book by price
               <- [10092,[ORDER_ID,PRICE,AMOUNT],3,TIME]        or of a book by order
               <- [10092,"cs",CHECKSUM,4,TIME]                  the book's checksum
               <- [19111,"hb",5,TIME]                           every 15 s, on each channel
    each 15 s  -> {"event":"ping","cid":1}

*Numbers.* With the flag SEQ_ALL a connection numbers its arrays, from 1 in steps of one. Events are
not numbered. The count begins with the flag: both recorded sessions have 1 first. A number that
does not follow, or another one first, means that messages are lost, of any channel. If the venue
does not confirm the flags, nothing is checked, and the dialogue says so.

*Trades* come as `te` at once, and again as `tu` a moment later. A few never come as `tu` (8 of
4,473 recorded), so `te` is the one to take.

*Channels.* Heartbeats of a channel can come before its `subscribed`, and data after its
`unsubscribed`. So a message of an unknown channel is ignored.

*Maintenance.* Code 20060 announces it, and 20061 its end, after which the venue advises to
subscribe to everything again. A new connection does that. 20051 announces a restart.

The answer to a wrong subscription is an error with a code, see `_refused`. Codes beyond 10000,
10001, 10300 and 10301 are not in the documentation that was found.
https://docs.bitfinex.com/docs/ws-general
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from fanout.errors import VenueBusyError, VenueMessageError, VenueRefusalError, shown
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.acks import Ask, Topics
from fanout.venues.base import DialogueDefaults
from fanout.venues.bitfinex.book import is_whole, read_change, read_orders, read_whole
from fanout.venues.bitfinex.messages import Event, decode, event_of, request
from fanout.venues.bitfinex.trades import read_trade, unreadable
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import (
    TOO_LONG,
    Alive,
    BookChecksum,
    DepthLost,
    Limits,
    Outcome,
    VenueDepth,
    VenueItem,
    VenueOrders,
)

TRADES: Final = "trades"
BOOK: Final = "book"

VERSION: Final = 2
PING_S: Final = 15.0

TIMESTAMP: Final = 32_768
SEQ_ALL: Final = 65_536
CHECKSUMS: Final = 131_072

LEVELS: Final = 100
QUOTE_LEVELS: Final = 25
"""The levels of a book that only quotes are taken from. With one level, a side would be empty
between the removal of the best and the next one."""

NOT_READY_S: Final = 10.0

_UNKNOWN_EVENT: Final = 10000
_UNKNOWN_PAIR: Final = 10001
_INVALID: Final = 10020
_SUBSCRIPTION_FAILED: Final = 10300
_SUBSCRIBED_ALREADY: Final = 10301
_UNKNOWN_CHANNEL: Final = 10302
_TOO_MANY_CHANNELS: Final = 10305
_NOT_UNSUBSCRIBED: Final = frozenset({10400, 10401})
_NOT_READY: Final = 11000
_REFUSES: Final = frozenset(
    {_UNKNOWN_EVENT, _UNKNOWN_PAIR, _INVALID, _SUBSCRIPTION_FAILED, _UNKNOWN_CHANNEL}
)

_RESTARTS: Final = 20051
_MAINTENANCE_BEGINS: Final = 20060
_MAINTENANCE_ENDS: Final = 20061

_NO_NUMBERS: Final = "Bitfinex does not number this connection's messages: a loss is not noticed"
_IGNORED: Final = ("tu", "fte", "ftu")
"""Trades again, and those of funding."""
_MOST_DIGITS: Final = 20
_LEAST_TIME_MS: Final = 10**12
"""The year 2001. No connection has so many messages."""


class _Channel(msgspec.Struct, gc=False):
    """A subscription. `count` is the number of messages with levels since its whole book."""

    name: str
    symbol: str
    count: int = 0

    @property
    def topic(self) -> str:
        return _topic(self.name, self.symbol)


class BitfinexDialogue(DialogueDefaults):
    """One connection: its channels by number, and the number of its newest array."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        *,
        data: DataKinds,
        limits: Limits,
        units: Mapping[str, Instrument],
        checksums: bool,
    ) -> None:
        self.due_s = PING_S
        self._symbols = symbols
        self._units = units
        self._flags = TIMESTAMP | SEQ_ALL | (CHECKSUMS if checksums else 0)
        self._names: tuple[str, ...] = (TRADES,) if DataKinds.TRADES in data else ()
        if data & ~DataKinds.TRADES:
            self._names += (BOOK,)
        self._is_by_order = DataKinds.BOOK_BY_ORDER in data
        has_book = self._is_by_order or DataKinds.BOOK_BY_PRICE in data
        self._length = LEVELS if has_book else QUOTE_LEVELS
        self._topics = Topics(
            lambda symbol: tuple(_topic(name, symbol) for name in self._names),
            most=1,
            room=limits.request_bytes,
        )
        self._channels: dict[int, _Channel] = {}
        self._is_greeted = False
        self._has_numbers = self._has_times = False
        self._places = 0
        """How many numbers are at the end of an array."""
        self._number = 0
        self._lost: str | None = None
        self._pings = 0

    @property
    def unanswered(self) -> frozenset[str]:
        return self._topics.unanswered

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not symbols:
            return ()
        greeting = () if self._is_greeted else (request("conf", flags=self._flags),)
        self._is_greeted = True
        return greeting + self._subscriptions(self._topics.ask(symbols))

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return self._leave(topic for ask in self._topics.leave(symbols) for topic in ask.topics)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        topic = _topic(BOOK, symbol)
        if self._topics.symbol_of(topic) is None:
            return ()
        left = self._leave((topic,))
        return (*left, self._subscription(topic)) if left else ()

    def tick(self, now_s: float) -> tuple[str, ...]:
        if now_s < self.due_s:
            return ()
        self.due_s = now_s + PING_S
        self._pings += 1
        return (request("ping", cid=self._pings),)

    def _subscriptions(self, asks: Iterable[Ask]) -> tuple[str, ...]:
        return tuple(self._subscription(topic) for ask in asks for topic in ask.topics)

    def _subscription(self, topic: str) -> str:
        name, _, symbol = topic.partition(":")
        if name == TRADES:
            return request("subscribe", channel=TRADES, symbol=symbol)
        book = {"prec": "R0"} if self._is_by_order else {"prec": "P0", "freq": "F0"}
        return request("subscribe", channel=BOOK, symbol=symbol, **book, len=str(self._length))

    def _leave(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Forget the channels of some topics. The result unsubscribes from them."""
        left = set(topics)
        gone = [number for number, each in self._channels.items() if each.topic in left]
        for number in gone:
            del self._channels[number]
        return tuple(request("unsubscribe", chanId=number) for number in gone)

    # Arrays.

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        value = decode(message)
        if type(value) is list:
            self._take(value, out)
        elif type(value) is dict:
            outcome = self._event(event_of(value))
            if outcome is not None:
                if outcome.pauses:
                    self._lose_books(outcome.pauses, out)
                return outcome
        else:
            raise VenueMessageError("message of the wrong shape", f"{message[:80]!r}")
        return None if self._lost is None else self._loss()

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        number = message[1 : _MOST_DIGITS + 1].partition(b",")[0]
        channel = self._channels.get(int(number)) if number.isdigit() else None
        if channel is not None and channel.name == BOOK and channel.symbol in self._units:
            out.append(DepthLost(channel.symbol, self._units[channel.symbol].index, TOO_LONG))

    def _lose_books(self, why: str, out: list[VenueItem]) -> None:
        """Nobody says which changes a pause leaves out. So the books need to come whole again."""
        for channel in self._channels.values():
            if channel.count and channel.symbol in self._units:
                channel.count = 0
                out.append(DepthLost(channel.symbol, self._units[channel.symbol].index, why))

    def _loss(self) -> Outcome:
        lost, self._lost = self._lost, None
        return Outcome(lost=lost)

    def _take(self, frame: list[Any], out: list[VenueItem]) -> None:
        if len(frame) < 2 or type(frame[0]) is not int:
            raise VenueMessageError("message of the wrong shape", shown(repr(frame)[:80]))
        time = self._note(frame) if self._places else 0
        channel = self._channels.get(frame[0])
        if channel is None:
            return
        content = frame[1]
        if content == "hb":
            # A heartbeat of the book must not stand for trades that do not come.
            if channel.name == self._names[0]:
                out.append(Alive(channel.symbol))
        elif channel.name == TRADES:
            _take_trades(frame, channel.symbol, out)
        else:
            self._take_book(frame, channel, time, out)

    def _note(self, frame: list[Any]) -> int:
        """Check the number of an array, at its end. The result is its time, 0 without one.

        Clients of others read the number before the time. The documentation does not say so, and
        the other order is understood too.
        """
        places = self._places
        if len(frame) < 2 + places:
            raise VenueMessageError("message without its number", shown(repr(frame)[:80]))
        number, time = frame[-places], frame[-1] if self._has_times else 0
        if type(number) is not int or type(time) is not int or min(number, time) < 0:
            raise VenueMessageError("message without its number", shown(repr(frame)[:80]))
        if number > _LEAST_TIME_MS > time > 0:
            number, time = time, number
        if time > MAX_TIME_MS:
            raise VenueMessageError("message without its time", shown(repr(frame)[:80]))
        if self._has_numbers:
            if number != self._number + 1:
                last = f"after message {self._number:,}" if self._number else "first"
                self._lost = f"message {number:,} came {last}"
            self._number = number
        return time

    def _take_book(
        self, frame: list[Any], channel: _Channel, time: int, out: list[VenueItem]
    ) -> None:
        symbol, content = channel.symbol, frame[1]
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", symbol)
        if content == "cs":
            if channel.count:
                out.append(BookChecksum(symbol, instrument.index, _checksum(frame)))
            return
        whole = is_whole(content)
        if not whole and not channel.count:
            return  # the whole book has not come
        number = channel.count = channel.count + 1
        try:
            if self._is_by_order:
                rows = content if whole else (content,)
                orders = read_orders(rows, instrument, number, time, whole=whole)
                out.append(VenueOrders(orders, number, number - 1))
            else:
                read = read_whole if whole else read_change
                update = read(content, instrument, number, time)
                out.append(VenueDepth(update, number, number - 1))
        except VenueMessageError as error:
            out.append(DepthLost(symbol, instrument.index, error.kind))
            raise

    # Events.

    def _event(self, event: Event) -> Outcome | None:
        match event.event:
            case "subscribed":
                return self._subscribed(event)
            case "error":
                return self._refused(event)
            case "info":
                return self._info(event)
            case "conf":
                return self._configured(event)
            case "pong" | "unsubscribed":
                return None
        raise VenueMessageError("unexpected event", shown(event.event))

    def _info(self, event: Event) -> Outcome | None:
        words = event.words
        match event.code:
            case None:
                return self._welcome(event)
            case _ if event.code == _RESTARTS:
                return Outcome(closes=f"Bitfinex restarts: {words}")
            case _ if event.code == _MAINTENANCE_BEGINS:
                return Outcome(pauses=f"Bitfinex began its maintenance: {words}")
            case _ if event.code == _MAINTENANCE_ENDS:
                return Outcome(closes=f"Bitfinex ended its maintenance: {words}")
        return Outcome(notice=words)

    def _welcome(self, event: Event) -> Outcome | None:
        if event.version is not None and event.version != VERSION:
            version = shown(event.version)
            raise VenueRefusalError(f"the venue speaks version {version}, not {VERSION}")
        if type(event.platform) is dict and event.platform.get("status") == 0:
            return Outcome(pauses="Bitfinex is in maintenance")
        return None

    def _configured(self, event: Event) -> Outcome | None:
        flags = event.flags if event.status == "OK" and type(event.flags) is int else 0
        self._has_numbers = bool(flags & SEQ_ALL)
        self._has_times = bool(flags & TIMESTAMP)
        self._places = self._has_numbers + self._has_times
        self._number = 0
        return None if self._has_numbers else Outcome(notice=_NO_NUMBERS)

    def _subscribed(self, event: Event) -> Outcome | None:
        topic = _topic(event.channel, event.symbol)
        if event.chanId is None:
            raise VenueMessageError("message of the wrong shape", f"subscribed to {shown(topic)}")
        if self._topics.symbol_of(topic) is None:
            # It was left before this answer had the number to leave it with.
            return Outcome(answers=(request("unsubscribe", chanId=event.chanId),))
        self._channels[event.chanId] = _Channel(event.channel, event.symbol)
        confirmed = self._topics.confirm((topic,))
        return Outcome(confirmed=confirmed) if confirmed else None

    def _refused(self, event: Event) -> Outcome | None:
        code, words = event.code, event.words
        if code == _TOO_MANY_CHANNELS:
            raise VenueRefusalError(f"the venue refuses one more channel: {words}")
        if code == _NOT_READY:
            raise VenueBusyError(f"the venue is not ready: {words}", NOT_READY_S)
        if code in _NOT_UNSUBSCRIBED:
            return None  # the channel is gone already
        symbol = event.symbol or (f"t{event.pair}" if event.pair else "")
        topic = _topic(event.channel, symbol)
        if code == _SUBSCRIBED_ALREADY and self._is_open(topic):
            return None
        if code in _REFUSES and self._topics.symbol_of(topic) is not None:
            refused = self._topics.refuse((symbol,), words)
            if refused:
                topics = (_topic(name, symbol) for name in self._names)
                return Outcome(refused=refused, answers=self._leave(topics))
        return Outcome(notice=f"Bitfinex refuses a request: {words}")

    def _is_open(self, topic: str) -> bool:
        return any(each.topic == topic for each in self._channels.values())


def _take_trades(frame: list[Any], symbol: str, out: list[VenueItem]) -> None:
    content = frame[1]
    if content == "te":
        _take_rows((frame[2] if len(frame) > 2 else None,), symbol, out, is_past=False)
    elif type(content) is list:
        _take_rows(reversed(content), symbol, out, is_past=True)
    elif content not in _IGNORED:
        raise VenueMessageError("unexpected event", shown(repr(content)[:80]))


def _take_rows(rows: Iterable[Any], symbol: str, out: list[VenueItem], *, is_past: bool) -> None:
    """Append trades. Raises `VenueMessageError` if one is unreadable, after all of those with a
    readable id are appended."""
    fault: VenueMessageError | None = None
    for row in rows:
        try:
            out.append(read_trade(row, symbol, is_past=is_past))
        except VenueMessageError as error:
            fault = fault or error
            with suppress(VenueMessageError):
                out.append(unreadable(row, symbol, is_past=is_past))
    if fault is not None:
        raise fault


def _checksum(frame: list[Any]) -> int:
    value = frame[2] if len(frame) > 2 else None
    if type(value) is not int or not -(2**31) <= value < 2**31:
        raise VenueMessageError("checksum of the wrong shape", shown(repr(value)[:80]))
    return value


def _topic(name: str, symbol: str) -> str:
    return f"{name}:{symbol}"
