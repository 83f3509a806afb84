"""The protocol of Bybit's public connections, the same for linear contracts and spot. Pure.

    opening:  -> {"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT"]}
              <- {"success":true,"ret_msg":"","conn_id":"...","req_id":"1","op":"subscribe"}
    then:     <- {"topic":"publicTrade.BTCUSDT",...}                appended to `out`
    20 s:     -> {"req_id":"ping","op":"ping"}
              <- {"success":true,"ret_msg":"pong","conn_id":"...","req_id":"ping","op":"ping"}
https://bybit-exchange.github.io/docs/v5/ws/connect

Data may come before the answer to its subscription. One bad topic fails its whole request:

    {"success":false,"ret_msg":"Invalid symbol :[NOTACOINUSDT]",...,"op":"subscribe"}
    {"success":false,"ret_msg":"error:handler not found,topic:publicTrade.NOPE",...}
    {"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.BTCUSDT",...}

The first form is in the docs, without `req_id`. The others were seen by users of the exchange
(https://github.com/ccxt/ccxt/issues/30284). It is not documented whether the good topics of such a
request are subscribed. So the dialogue asks for them again, and takes "already subscribed" as a
confirmation. That one fails a whole request too. Where it names no topic, a request with one symbol
confirms it.

An answer without `req_id` counts for the oldest request without an answer. A refusal counts for the
oldest one with a topic or symbol that it names, if there is one.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.instrument import Instrument
from fanout.venues.acks import Ask, Topics
from fanout.venues.base import DialogueDefaults
from fanout.venues.bybit.book import read_depth, read_quote
from fanout.venues.bybit.trades import read_trades
from fanout.venues.numbers import BROKEN
from fanout.venues.values import TOO_LONG, Alive, DepthLost, Limits, Outcome, VenueItem

TRADES: Final = "publicTrade."
QUOTES: Final = "orderbook.1."
BOOK: Final = "orderbook.200."
"""What stands before the symbol in a topic. Depth 50 has more messages, and 1000 fewer."""

PING_S: Final = 20.0
"""How often the docs want a ping. Without one a connection is closed after ten minutes."""

_PING: Final = '{"req_id":"ping","op":"ping"}'
_REFRESH: Final = "refresh"
"""The `req_id` of a request for a snapshot. It is none of those that wait for an answer."""

_START: Final = b'{"topic":"'
_TRADES: Final = _START + TRADES.encode()
_QUOTES: Final = _START + QUOTES.encode()
_BOOK: Final = _START + BOOK.encode()
_LONGEST_NAME: Final = 256
_WORD: Final = re.compile(r"[^\s,:\[\]]+")
_REPEATED: Final = "already subscribed"


class _AnyMessage(msgspec.Struct):
    """The topic of data, or the answer to a request."""

    topic: str = ""
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


_decode_any = msgspec.json.Decoder(_AnyMessage).decode


class BybitDialogue(DialogueDefaults):
    """Subscriptions, their answers, and pings."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        prefixes: tuple[str, ...],
        limits: Limits,
        most: int,
        units: Mapping[str, Instrument],
    ) -> None:
        """Each symbol has a topic for each of `prefixes`. A request has up to `most` topics.
        `units` are looked up for each change of a book."""
        self._symbols = symbols
        self._prefixes = prefixes
        self._units = units
        self._topics = Topics(self._topics_of, most=most, room=limits.request_bytes - 64)
        self._open: dict[int, tuple[str, ...]] = {}
        """Topics of the requests without an answer, by number, oldest first."""
        self._quoted: dict[str, int] = {}
        """By symbol, the id of the last quote."""
        self.due_s = PING_S

    def _topics_of(self, symbol: str) -> tuple[str, ...]:
        return tuple(prefix + symbol for prefix in self._prefixes)

    @property
    def unanswered(self) -> frozenset[str]:
        return self._topics.unanswered

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            self._quoted.pop(symbol, None)
        return self._subscriptions(self._topics.ask(symbols))

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return _requests("unsubscribe", self._topics.leave(symbols))

    def _subscriptions(self, asks: tuple[Ask, ...]) -> tuple[str, ...]:
        self._open.update((each.number, each.topics) for each in asks)
        return _requests("subscribe", asks)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        if BOOK not in self._prefixes:
            return ()
        topics = (BOOK + symbol,)
        return (_request("unsubscribe", _REFRESH, topics), _request("subscribe", _REFRESH, topics))

    def tick(self, now_s: float) -> tuple[str, ...]:
        if now_s < self.due_s:
            return ()
        self.due_s = now_s + PING_S
        return (_PING,)

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if message.startswith(_TRADES):
            read_trades(message, out)
        elif message.startswith(_BOOK):
            self._read_depth(message, _symbol_of_book(message), out)
        elif message.startswith(_QUOTES):
            self._read_quote(message, out)
        else:
            return self._other(message, out)
        return None

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        if not message.startswith(_BOOK):
            return
        instrument = self._units.get(_symbol_of_book(message))
        if instrument is not None:
            out.append(DepthLost(instrument.symbol, instrument.index, TOO_LONG))

    def _read_depth(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", repr(symbol))
        try:
            out.append(read_depth(message, instrument))
        except VenueMessageError as error:
            out.append(DepthLost(instrument.symbol, instrument.index, error.kind))
            raise

    def _read_quote(self, message: bytes, out: list[VenueItem]) -> None:
        quote = read_quote(message)
        if self._quoted.get(quote.symbol) == quote.update_id:
            out.append(Alive(quote.symbol))
            return
        self._quoted[quote.symbol] = quote.update_id
        out.append(quote)

    def _other(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        """Parse an answer, or data whose topic does not come first."""
        try:
            other = _decode_any(message)
        except msgspec.ValidationError as error:
            raise VenueMessageError("message of the wrong shape", f"{message[:80]!r}") from error
        except BROKEN as error:
            raise VenueMessageError("message is not JSON", f"{error}: {message[:80]!r}") from error
        if not other.topic:
            return self._answer(other, message)
        if other.topic.startswith(TRADES):
            read_trades(message, out)
        elif other.topic.startswith(BOOK):
            self._read_depth(message, other.topic.removeprefix(BOOK), out)
        elif other.topic.startswith(QUOTES):
            self._read_quote(message, out)
        else:
            raise VenueMessageError("unexpected topic", repr(other.topic[:80]))
        return None

    def _answer(self, answer: _AnyMessage, message: bytes) -> Outcome | None:
        if answer.op == "pong":  # the answer on private connections, which has no `success`
            return None
        if answer.success is None or (answer.success and answer.op not in _OPERATIONS):
            raise VenueMessageError("unexpected message", f"{message[:80]!r}")
        is_counted = not answer.req_id or _is_number(answer.req_id)
        if answer.op != "subscribe" or not is_counted:
            return None if answer.success else _notice(answer)
        words = () if answer.success else tuple(_WORD.findall(answer.ret_msg))
        number = int(answer.req_id) if answer.req_id else self._oldest(words)
        topics = self._open.pop(number, ())
        if not answer.success:
            return self._refused(number, topics, words, answer)
        symbols = self._topics.confirm(self._topics.pop(number))
        return Outcome(confirmed=symbols) if symbols else None

    def _oldest(self, words: tuple[str, ...]) -> int:
        """The number of the oldest request with a topic or symbol among these words, or of the
        oldest one; 0 if none is open."""
        named = {topic for word in words for topic in (word, *self._topics_of(word))}
        oldest = min(self._open, default=0)
        return next((each for each in self._open if named.intersection(self._open[each])), oldest)

    def _live(self, topics: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
        """The topics that are subscribed already: those that a refusal names, or all of a request
        with one symbol. If one of the latter is not, the feed notices that it is silent."""
        is_nameless = not set(words).intersection(topics)
        is_alone = len(set(map(self._topics.symbol_of, topics))) == 1
        return words + topics if is_nameless and is_alone else words

    def _refused(
        self, number: int, topics: tuple[str, ...], words: tuple[str, ...], answer: _AnyMessage
    ) -> Outcome:
        why = shown(answer.ret_msg) or "refused without a reason"
        confirmed: tuple[str, ...] = ()
        if _REPEATED in answer.ret_msg:
            live = self._live(topics, words)
            confirmed = self._topics.confirm(live)
            refused, again = self._topics.refuse_request(number, why, live=live)
        else:
            named = {self._topics.symbol_of(word) or word for word in words}
            refused, again = self._topics.refuse_request(number, why, named=named)
        if not (confirmed or refused or again):
            return _notice(answer)
        answers = self._subscriptions(again)
        return Outcome(answers=answers, confirmed=confirmed, refused=refused)


_OPERATIONS: Final = ("subscribe", "unsubscribe", "ping")


def _symbol_of_book(message: bytes) -> str:
    """The symbol in the topic of a message that begins with it."""
    end = message.find(b'"', len(_BOOK), _LONGEST_NAME)
    return message[len(_BOOK) : end].decode(errors="replace")


def _notice(answer: _AnyMessage) -> Outcome:
    operation = shown(answer.op) or "a request"
    return Outcome(notice=f"the venue refuses {operation}: {shown(answer.ret_msg)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _requests(operation: str, asks: tuple[Ask, ...]) -> tuple[str, ...]:
    return tuple(_request(operation, str(each.number), each.topics) for each in asks)


def _request(operation: str, number: str, topics: tuple[str, ...]) -> str:
    return msgspec.json.encode({"req_id": number, "op": operation, "args": topics}).decode()
