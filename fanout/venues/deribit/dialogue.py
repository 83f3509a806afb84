"""The protocol of Deribit's connections. Pure.

    opening:  -> public/set_heartbeat {"interval":10}
              -> public/auth {...}                    with credentials: see `access`
              -> public/subscribe {"channels":["trades.BTC-PERPETUAL.raw",...]}
              <- "result":["trades.BTC-PERPETUAL.raw",...]    in any order
    then:     <- "method":"subscription"              trades, books: appended to `out`
              <- "method":"heartbeat","params":{"type":"test_request"}
              -> public/test                          at once, or the venue closes the connection

*Raw channels need access.* They send each event by itself. Without credentials, or if the venue
refuses them, the connection takes the channels that collect events for 100 ms. No trade is missing
in these either. Subscriptions wait for the answer about access.

An operator who chose `--stream trade` gets no less than raw channels with his credentials: their
refusal is an error. Without credentials the channels of 100 ms are the only ones.

Access that is refused later, at a renewal, is asked for again with growing pauses. Meanwhile the
raw channels stay as they are, and new subscriptions that the venue refuses for it are repeated for
100 ms. A connection does not change back; the next one does.

*A refused subscription* is refused whole for one bad channel, without its name. So it is repeated
in halves. A channel that the venue silently leaves out of an answer is refused too. It is unknown
which of the two happens for an instrument that does not exist; one recording shows the first, one
client's notes the second.

`platform_state` announces maintenance. Deribit documents it; no recording of it was found. A
refusal of it changes nothing.
https://docs.deribit.com/subscriptions/platform/platform_state
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from fanout.errors import (
    VenueBusyError,
    VenueKeyError,
    VenueMessageError,
    VenueRefusalError,
    VenueUnitsError,
    shown,
)
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.acks import Ask, Topics
from fanout.venues.base import NEVER_S
from fanout.venues.deribit.access import Access
from fanout.venues.deribit.book import read_depth, read_quote
from fanout.venues.deribit.messages import (
    NO_VALUE,
    PASSING,
    RAW_NEEDS_ACCESS,
    TIMED_OUT,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    UNREADABLE,
    Error,
    decode_message,
    request,
)
from fanout.venues.deribit.trades import read_trades
from fanout.venues.numbers import BROKEN
from fanout.venues.values import TOO_LONG, Credentials, DepthLost, Limits, Outcome, VenueItem

RAW: Final = "raw"
BATCHED: Final = "100ms"

HEARTBEAT_S: Final = 10
"""The shortest interval that the venue accepts."""

CHANNELS_A_REQUEST: Final = 100
"""Most channels in one subscription, so that halving a refused one ends soon."""

BUSY_S: Final = 60.0
"""Pause after the venue limited this address. It closes the connection too."""

PLATFORM: Final = "platform_state"

# The ids of requests besides subscriptions, whose ids count from 1. An answer's id tells what it
# answers, so one id for each kind is enough.
_HEARTBEAT: Final = 1_000_000_001
_ACCESS: Final = 1_000_000_002
_TEST: Final = 1_000_000_003
_PLATFORM: Final = 1_000_000_004
_LEAVE: Final = 1_000_000_005
_REFRESH: Final = 1_000_000_006
_OWN: Final = {
    _HEARTBEAT: "the heartbeat",
    _TEST: "the answer to its test request",
    _PLATFORM: "news of maintenance",
    _LEAVE: "to unsubscribe",
    _REFRESH: "to send a book anew",
}

_CHANNEL: Final = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"'
_TRADES: Final = _CHANNEL + b"trades."
_BOOK: Final = _CHANNEL + b"book."
_LONGEST_SYMBOL: Final = 256
_ANY_BOOK: Final = re.compile(rb'"channel"\s*:\s*"book\.([^."]+)')
_BEGINNING: Final = 512
"""So much of a message that is too long is read, to find its channel."""
_ROOM_AROUND: Final = 128
"""Bytes of a request besides its channels."""


class _Params(msgspec.Struct):
    """The parameters of a notification: of a subscription the first two, of a heartbeat `type`."""

    channel: str = ""
    data: msgspec.Raw = NO_VALUE
    type: str = ""


class _Platform(msgspec.Struct):
    maintenance: bool | None = None
    price_index: str = ""
    locked: bool | None = None


_decode_params = msgspec.json.Decoder(_Params).decode
_decode_platform = msgspec.json.Decoder(_Platform).decode
_decode_channels = msgspec.json.Decoder(list[str]).decode


class DeribitDialogue:
    """One connection. Symbols that wait for access are in `_held`; `_intervals` has the interval
    that each of the others was subscribed with."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        *,
        data: DataKinds,
        limits: Limits,
        units: Mapping[str, Instrument],
        credentials: Credentials | None,
        is_strict: bool = False,
    ) -> None:
        """`is_strict`: refused credentials end the connection."""
        self._symbols = symbols
        self._data = data
        self._units = units
        self._topics = Topics(
            self._channels, most=CHANNELS_A_REQUEST, room=limits.request_bytes - _ROOM_AROUND
        )
        has_raw = bool(data & (DataKinds.TRADES | DataKinds.BOOK_BY_PRICE))
        self._access = Access(credentials, _ACCESS) if credentials and has_raw else None
        self._is_strict = is_strict
        self._interval = RAW if self._access else BATCHED
        self._intervals: dict[str, str] = {}
        self._held: dict[str, None] = {}
        self._is_greeted = False
        self._is_paused = False
        self._locked: set[str] = set()
        self._notice: str | None = None
        if has_raw and self._access is None:
            self._notice = "without credentials Deribit sends trades and books every 100 ms"

    @property
    def unanswered(self) -> frozenset[str]:
        return self._topics.unanswered.union(self._held)

    @property
    def due_s(self) -> float:
        return NEVER_S if self._access is None else self._access.due_s

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not symbols:
            return ()
        greeting = () if self._is_greeted else self._greeting()
        self._is_greeted = True
        if self._access is not None and not self._access.is_settled:
            self._held.update(dict.fromkeys(symbols))
            return greeting
        return greeting + self._ask(symbols)

    def _greeting(self) -> tuple[str, ...]:
        return (
            request(_HEARTBEAT, "public/set_heartbeat", {"interval": HEARTBEAT_S}),
            *(() if self._access is None else (self._access.ask(0.0),)),
            request(_PLATFORM, "public/subscribe", {"channels": [PLATFORM]}),
        )

    def _ask(self, symbols: Iterable[str]) -> tuple[str, ...]:
        symbols = tuple(symbols)
        self._intervals.update(dict.fromkeys(symbols, self._interval))
        return _subscriptions(self._topics.ask(symbols))

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        left = [symbol for symbol in symbols if symbol in self._intervals]
        asks = self._topics.leave(left)
        for symbol in symbols:
            self._held.pop(symbol, None)
            self._intervals.pop(symbol, None)
        return tuple(_leave(each.topics) for each in asks)

    def refresh(self, symbol: str) -> tuple[str, ...]:
        if symbol not in self._intervals or DataKinds.BOOK_BY_PRICE not in self._data:
            return ()
        book = [self._book(symbol)]
        return _leave(book), request(_REFRESH, "public/subscribe", {"channels": book})

    def tick(self, now_s: float) -> tuple[str, ...]:
        if self._access is None or now_s < self._access.due_s:
            return ()
        return (self._access.ask(now_s),)

    def _channels(self, symbol: str) -> tuple[str, ...]:
        """The channels of a symbol. Without its book the quotes come from a book of one level."""
        channels: tuple[str, ...] = ()
        if DataKinds.TRADES in self._data:
            channels += (f"trades.{symbol}.{self._intervals[symbol]}",)
        if DataKinds.BOOK_BY_PRICE in self._data:
            channels += (self._book(symbol),)
        elif DataKinds.QUOTES in self._data:
            channels += (f"book.{symbol}.none.1.{BATCHED}",)
        return channels

    def _book(self, symbol: str) -> str:
        return f"book.{symbol}.{self._intervals[symbol]}"

    # What comes.

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if message.startswith(_TRADES):
            out.extend(read_trades(message))
        elif message.startswith(_BOOK):
            start = len(_BOOK)
            end = message.find(b".", start, start + _LONGEST_SYMBOL)
            self._take_book(message, message[start:end].decode(errors="replace"), out)
        else:
            return self._other(message, out)
        return None

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        channel = _ANY_BOOK.search(message, 0, _BEGINNING)
        if channel is None or DataKinds.BOOK_BY_PRICE not in self._data:
            return
        symbol = channel[1].decode(errors="replace")
        if symbol in self._units:
            out.append(DepthLost(symbol, self._units[symbol].index, TOO_LONG))

    def _take_book(self, message: bytes, symbol: str, out: list[VenueItem]) -> None:
        if DataKinds.BOOK_BY_PRICE not in self._data:
            out.append(read_quote(message))
            return
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", symbol)
        try:
            out.append(read_depth(message, instrument))
        except VenueMessageError as error:
            out.append(DepthLost(symbol, instrument.index, error.kind))
            raise

    def _other(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        """A message that is none of the two, or is written in another order."""
        try:
            other = decode_message(message)
            params = _decode_params(other.params) if other.method else _Params()
        except BROKEN as error:
            raise VenueMessageError(
                "message of the wrong shape", self._quoted(error, message)
            ) from None
        if other.method == "subscription":
            return self._notified(params, message, out)
        if other.method == "heartbeat":
            is_test = params.type == "test_request"
            return Outcome(answers=(request(_TEST, "public/test", {}),)) if is_test else None
        if other.error is not None:
            return self._refused(other.id, other.error)
        if other.id is None or other.result == NO_VALUE:
            raise VenueMessageError("unexpected event", shown(other.method) or "no answer")
        return self._answered(other.id, other.result)

    def _quoted(self, fault: Exception, message: bytes) -> str:
        """The beginning of an unreadable message, unless it may hold a token."""
        return str(fault) if self._access else f"{fault}: {message[:80]!r}"

    def _notified(self, params: _Params, message: bytes, out: list[VenueItem]) -> Outcome | None:
        kind, _, rest = params.channel.partition(".")
        if kind in ("trades", "book"):
            self._take_turned(message, kind, rest.partition(".")[0], out)
        elif kind == PLATFORM:
            return self._platform(params.data)
        else:
            raise VenueMessageError("unexpected event", f"channel {shown(params.channel)}")
        return None

    def _take_turned(self, message: bytes, kind: str, symbol: str, out: list[VenueItem]) -> None:
        """Read trades or a book whose channel does not come first."""
        try:
            if kind == "trades":
                out.extend(read_trades(message))
            else:
                self._take_book(message, symbol, out)
        except VenueUnitsError:
            raise
        except VenueMessageError as error:
            if self._access is None:
                raise
            # It quotes the beginning of the message, which may hold a token.
            raise VenueMessageError(error.kind, "its members are in another order") from None

    def _platform(self, data: msgspec.Raw) -> Outcome | None:
        """News of maintenance, and of an index whose instruments stop trading."""
        try:
            state = _decode_platform(data)
        except BROKEN as error:
            raise VenueMessageError("platform state of the wrong shape", error) from error
        if state.maintenance is not None and state.maintenance != self._is_paused:
            self._is_paused = state.maintenance
            if state.maintenance:
                return Outcome(pauses="Deribit began its maintenance")
            return Outcome(closes="Deribit ended its maintenance")
        index = state.price_index
        if state.locked is None or state.locked == (index in self._locked):
            return None
        (self._locked.add if state.locked else self._locked.discard)(index)
        done = "locked" if state.locked else "unlocked"
        return Outcome(notice=f"Deribit {done} the price index {shown(index)}")

    # Answers.

    def _answered(self, number: int, result: msgspec.Raw) -> Outcome | None:
        if number == _ACCESS:
            return self._granted(result)
        if number == _HEARTBEAT and self._notice:
            notice, self._notice = self._notice, None
            return Outcome(notice=notice)
        topics = self._topics.pop(number)
        return self._subscribed(topics, result) if topics else None

    def _subscribed(self, topics: tuple[str, ...], result: msgspec.Raw) -> Outcome | None:
        """Confirm the channels that the answer names, and refuse the others."""
        try:
            found = frozenset(_decode_channels(result))
        except BROKEN as error:
            raise VenueMessageError("answer of the wrong shape", error) from error
        missing: dict[str, str] = {}
        for topic in topics:
            symbol = self._topics.symbol_of(topic)
            if symbol is not None and topic not in found:
                missing.setdefault(symbol, topic)
        rest = [
            channel
            for symbol in missing
            for channel in self._channels(symbol)
            if channel != missing[symbol]
        ]
        confirmed = self._topics.confirm(topic for topic in topics if topic in found)
        refused: dict[str, str] = {}
        for symbol, topic in missing.items():
            refused |= self._topics.refuse((symbol,), f"Deribit does not subscribe to {topic}")
            self._intervals.pop(symbol, None)
        return Outcome(
            confirmed=confirmed, refused=refused, answers=(_leave(rest),) if rest else ()
        )

    def _refused(self, number: int | None, error: Error) -> Outcome | None:
        words = error.words(self._access.hide if self._access else str)
        if error.code == TOO_MANY_REQUESTS:
            raise VenueBusyError(f"the venue limits this address: {words}", BUSY_S)
        if number == _ACCESS:
            return self._denied(error.code, words)
        if number in _OWN:
            return Outcome(notice=f"Deribit refuses {_OWN[number]}: {words}")
        if number is None or error.code in UNREADABLE:
            raise VenueRefusalError(f"the venue refuses: {words}")
        if error.code in (RAW_NEEDS_ACCESS, UNAUTHORIZED):
            return self._without_access(self._topics.pop(number), words)
        if error.code == TIMED_OUT:
            # The symbols stay unanswered, and the feed asks for them again.
            return Outcome(notice=f"Deribit did not subscribe in time: {words}")
        refused, asks = self._topics.refuse_request(number, words)
        for symbol in refused:
            self._intervals.pop(symbol, None)
        return Outcome(refused=refused, answers=_subscriptions(asks))

    def _without_access(self, topics: tuple[str, ...], words: str) -> Outcome | None:
        """Repeat a request for raw channels with those of 100 ms. Where it had none of them, the
        venue gives nothing to those without access."""
        symbols = dict.fromkeys(
            symbol
            for symbol in map(self._topics.symbol_of, topics)
            if symbol is not None and symbol in self._topics.unanswered
        )
        if not symbols:
            return None
        raw = tuple(symbol for symbol in symbols if self._intervals[symbol] == RAW)
        self._interval = BATCHED
        self._topics.leave(raw)
        refused = self._topics.refuse((each for each in symbols if each not in raw), words)
        for symbol in refused:
            self._intervals.pop(symbol, None)
        notice = f"Deribit refuses raw channels ({words}): new ones send every 100 ms"
        return Outcome(refused=refused, answers=self._ask(raw), notice=notice if raw else None)

    # Access.

    def _asked_access(self) -> Access:
        """Raises `VenueMessageError` where no access was asked for."""
        if self._access is None:
            raise VenueMessageError("unexpected event", "an answer about access")
        return self._access

    def _granted(self, result: msgspec.Raw) -> Outcome | None:
        access = self._asked_access()
        was_settled, was_granted = access.is_settled, access.is_granted
        access.grant(result)
        self._interval = RAW
        if not was_settled:
            return self._release()
        return None if was_granted else Outcome(notice="Deribit accepts the credentials again")

    def _denied(self, code: int, words: str) -> Outcome:
        access = self._asked_access()
        if access.is_settled:
            pause_s = access.refuse()
            return Outcome(
                notice=f"Deribit refuses to renew the access: {words}; {_next_try(pause_s)}"
            )
        if self._is_strict and code in PASSING:
            pause_s = access.postpone()
            return Outcome(notice=f"Deribit gives no access now: {words}; {_next_try(pause_s)}")
        if self._is_strict:
            raise VenueKeyError(f"Deribit refuses the credentials: {words}")
        access.give_up()
        self._interval = BATCHED
        notice = f"Deribit refuses the credentials ({words}): trades and books come every 100 ms"
        return self._release(notice)

    def _release(self, notice: str | None = None) -> Outcome:
        """Subscribe to the symbols that waited."""
        held, self._held = self._held, {}
        return Outcome(answers=self._ask(held), notice=notice)


def _next_try(pause_s: float) -> str:
    return f"next try in {pause_s:.0f} s"


def _subscriptions(asks: tuple[Ask, ...]) -> tuple[str, ...]:
    return tuple(
        request(each.number, "public/subscribe", {"channels": each.topics}) for each in asks
    )


def _leave(channels: Iterable[str]) -> str:
    params: dict[str, Any] = {"channels": list(channels)}
    return request(_LEAVE, "public/unsubscribe", params)
