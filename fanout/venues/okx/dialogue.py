"""The protocol of OKX's stream connections, the same at both URLs. Pure.

    opening:  -> {"op":"subscribe","args":[{"channel":"trades-all","instId":"BTC-USDT"},...]}
              <- {"event":"subscribe","arg":{"channel":...,"instId":...},"connId":"..."}
    then:     <- {"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[...]}
    each 20 s -> ping
              <- pong

There is an answer for each argument of a request, in any order. An error names its argument in
words, if at all; where it names none, the oldest request that still waits is asked for again in
halves. OKX closes a connection that brings no data for 30 s, hence the `ping`, which is bare text.

A symbol is refused with the first of its channels. The dialogue then leaves the others, those that
are subscribed at once, and one that is confirmed later on its confirmation.

On subscribing `trades` sends the newest trade, which can be hours old, as a message like any other
(18 of 23 instruments in recordings of 2022, all within a second). Nothing in it says so. So the
first message behind the answer counts as past, unless it comes later than `PING_S` to twice that.
If it was a live one, the sequence of trades begins one trade later.

No recording shows what `trades-all` sends first, and the documentation names only live trades. So
none of its trades counts as past. One that came before is dropped by its id.

OKX takes 480 requests an hour on a connection. A subscription, or a book asked for anew, is one;
pings are not counted. So after `REFRESHES_UNTIL` requests a dialogue asks for no book anew, the
connection is replaced for it, and the next one begins at 0. The other 80 are for subscriptions.

A notice of code 64008 comes 60 s before OKX closes the connection.
https://www.okx.com/docs-v5/en/#overview-websocket-subscribe

A message begins with its channel and instrument, and they are read before anything is parsed. A
message that has them elsewhere is parsed twice.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.instrument import Instrument
from fanout.venues.acks import Ask, Topics
from fanout.venues.base import DialogueDefaults
from fanout.venues.numbers import BROKEN
from fanout.venues.okx.book import BookReader, QuoteReader
from fanout.venues.okx.trades import read_trades
from fanout.venues.values import DepthLost, Limits, Outcome, VenueItem

FILLS: Final = "trades-all"
AGGREGATES: Final = "trades"
QUOTES: Final = "bbo-tbt"
BOOK: Final = "books"

ARGS_A_REQUEST: Final = 300
"""Most arguments of a request. OKX limits only its length."""

REFRESHES_UNTIL: Final = 400
"""Requests of a connection after which a new connection brings a book anew."""

PING_S: Final = 20.0
_PONG: Final = b"pong"

_CLOSES: Final = "64008"
_PASSING: Final = frozenset({"60014", "64007"})
"""Errors that say nothing of a topic: too many requests, and an internal error, which is from OKX's
list of WebSocket errors. What was asked stays unanswered."""

_HEAD: Final = re.compile(rb'\{"arg":\{"channel":"([a-z0-9-]+)","instId":"([\w.-]+)"', re.ASCII)
_NAMED: Final = re.compile(r"channel:\s*([\w-]+),\s*instId:\s*([\w.-]+)")
_AROUND: Final = len('{"channel":"","instId":""},') - len(":")
_REQUEST: Final = len('{"op":"unsubscribe","args":[]}')


class _Arg(msgspec.Struct):
    channel: str = ""
    instId: str = ""  # noqa: N815  the venue's name

    @property
    def topic(self) -> str:
        return f"{self.channel}:{self.instId}"


class _Other(msgspec.Struct):
    """An answer, a notice, or a message that does not begin with its channel."""

    event: str = ""
    code: str = ""
    msg: str = ""
    arg: _Arg | None = None


_decode_other = msgspec.json.Decoder(_Other).decode

_Read = Callable[[bytes, str, list[VenueItem]], None]


class OkxDialogue(DialogueDefaults):
    """Subscriptions and their answers, and what the channels bring."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        channels: tuple[str, ...],
        limits: Limits,
        units: Mapping[str, Instrument],
    ) -> None:
        """`channels` are those of each symbol. `units` are looked up for each change of a book."""
        self.due_s = PING_S
        self._symbols = symbols
        self._channels = channels
        self._units = units
        self._topics = Topics(
            self._topics_of,
            most=ARGS_A_REQUEST,
            room=limits.request_bytes - _REQUEST,
            around=_AROUND,
        )
        self._confirmed: set[str] = set()
        """The topics that are subscribed."""
        self._refused: set[str] = set()
        """The symbols that OKX has refused."""
        self._sent = 0
        """Requests so far."""
        self._numbers: deque[int] = deque()
        """Of the requests, oldest first."""
        self._fresh: set[str] = set()
        """Symbols whose aggregates were confirmed since the last ping, and of which none has
        come."""
        self._older: set[str] = set()
        """Symbols that were such at the last ping."""
        self._books, self._quotes = BookReader(), QuoteReader()
        readers: dict[str, _Read] = {
            FILLS: self._read_fills,
            AGGREGATES: self._read_aggregates,
            QUOTES: self._read_quotes,
            BOOK: self._read_book,
        }
        self._readers = {each.encode(): readers[each] for each in channels}

    def _topics_of(self, symbol: str) -> tuple[str, ...]:
        return tuple(f"{each}:{symbol}" for each in self._channels)

    @property
    def unanswered(self) -> frozenset[str]:
        return self._topics.unanswered

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        self._refused.difference_update(symbols)
        return tuple(self._requests(self._topics.ask(symbols)))

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        self._fresh.difference_update(symbols)
        self._older.difference_update(symbols)
        self._refused.difference_update(symbols)
        asks = self._topics.leave(symbols)
        for ask in asks:
            self._confirmed.difference_update(ask.topics)
        return tuple(self._request("unsubscribe", ask.topics) for ask in asks)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        # A second subscription brings the whole book again (recorded in 2022).
        if BOOK not in self._channels or self._sent >= REFRESHES_UNTIL:
            return ()
        return (self._request("subscribe", (f"{BOOK}:{symbol}",)),)

    def tick(self, now_s: float) -> tuple[str, ...]:
        if now_s < self.due_s:
            return ()
        self.due_s = now_s + PING_S
        self._fresh, self._older = set(), self._fresh
        return ("ping",)

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        head = _HEAD.match(message)
        if head is None:
            return self._receive_other(message, out)
        self._read(message, head[1], head[2].decode(), out)
        return None

    def _requests(self, asks: Iterable[Ask]) -> Iterator[str]:
        for ask in asks:
            self._numbers.append(ask.number)
            yield self._request("subscribe", ask.topics)

    def _request(self, op: str, topics: Iterable[str]) -> str:
        self._sent += 1
        args = [
            dict(zip(("channel", "instId"), each.split(":", 1), strict=True)) for each in topics
        ]
        return msgspec.json.encode({"op": op, "args": args}).decode()

    # What the channels bring.

    def _read(self, message: bytes, channel: bytes, symbol: str, out: list[VenueItem]) -> None:
        read = self._readers.get(channel)
        if read is None:
            raise VenueMessageError("unexpected channel", f"{channel[:80]!r}, {symbol}")
        read(message, symbol, out)

    def _read_fills(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        out += [row.meaning() for row in read_trades(message)]

    def _read_aggregates(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        rows = read_trades(message)
        is_past = self._is_past(symbol)
        for row in rows:
            out += row.fills(is_past=is_past)

    def _is_past(self, symbol: str) -> bool:
        """Whether aggregates of a symbol are the first ones. The next are not."""
        for those in (self._fresh, self._older):
            if symbol in those:
                those.remove(symbol)
                return True
        return False

    def _read_quotes(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        out += self._quotes.read(message, symbol)

    def _read_book(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", symbol)
        try:
            out += self._books.read(message, instrument)
        except VenueMessageError as error:
            out.append(DepthLost(symbol, instrument.index, error.kind))
            raise

    # Answers and notices.

    def _receive_other(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if message == _PONG:
            return None
        try:
            other = _decode_other(message)
        except msgspec.ValidationError as error:
            detail = f"{error}: {message[:80]!r}"
            raise VenueMessageError("message of the wrong shape", detail) from error
        except BROKEN as error:
            detail = f"{error}: {message[:80]!r}"
            raise VenueMessageError("message is not JSON", detail) from error
        if other.event:
            return self._take_event(other)
        if other.arg is None:
            raise VenueMessageError("message of the wrong shape", f"{message[:80]!r}")
        channel = other.arg.channel.encode(errors="replace")
        self._read(message, channel, other.arg.instId, out)
        return None

    def _take_event(self, other: _Other) -> Outcome | None:
        words = f"{shown(other.msg) or 'no reason given'} ({shown(other.code)})"
        match other.event:
            case "subscribe" if other.arg is not None:
                return self._confirm(other.arg)
            case "unsubscribe":
                return None
            case "error":
                return self._refuse(other, words)
            case "notice" if other.code == _CLOSES:
                return Outcome(closes=words)
            case "notice":
                return Outcome(notice=words)
        raise VenueMessageError("unexpected event", f"{other.event!r}, {words}")

    def _confirm(self, arg: _Arg) -> Outcome | None:
        if arg.instId in self._refused:
            return Outcome(answers=(self._request("unsubscribe", (arg.topic,)),))
        if self._topics.symbol_of(arg.topic) is not None:
            self._confirmed.add(arg.topic)
            if arg.channel == AGGREGATES:
                self._fresh.add(arg.instId)
        confirmed = self._topics.confirm((arg.topic,))
        return Outcome(confirmed=confirmed) if confirmed else None

    def _refuse(self, other: _Other, words: str) -> Outcome:
        topic = _topic_in(other)
        if other.code in _PASSING:
            return Outcome(notice=words)
        if topic is None:
            return self._refuse_oldest(words)
        symbol = self._topics.symbol_of(topic)
        refused = {} if symbol is None else self._topics.refuse((symbol,), words)
        if not refused:
            return Outcome(notice=words)
        return Outcome(refused=refused, answers=self._leave(refused))

    def _refuse_oldest(self, words: str) -> Outcome:
        while self._numbers:
            refused, asks = self._topics.refuse_request(self._numbers.popleft(), words)
            if refused or asks:
                answers = self._leave(refused) + tuple(self._requests(asks))
                return Outcome(refused=refused, answers=answers)
        return Outcome(notice=words)

    def _leave(self, refused: Iterable[str]) -> tuple[str, ...]:
        """The request that unsubscribes from what there is of refused symbols."""
        self._refused.update(refused)
        topics = [
            topic
            for symbol in refused
            for topic in self._topics_of(symbol)
            if topic in self._confirmed
        ]
        self._confirmed.difference_update(topics)
        return (self._request("unsubscribe", topics),) if topics else ()


def _topic_in(other: _Other) -> str | None:
    """The topic that an error is about; None if it names none."""
    if other.arg is not None and other.arg.instId:
        return other.arg.topic
    found = _NAMED.search(other.msg)
    return f"{found[1]}:{found[2]}" if found else None
