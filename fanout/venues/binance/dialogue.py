"""The protocol of Binance's stream connections, the same for USDⓈ-M and spot. Pure.

Note that *an acknowledgement proves nothing.* The exchange acknowledges every
well-formed subscription, also one for a symbol that does not exist, in upper case, or on the wrong
route, and then stays silent. An error answer refuses the whole request, and the exchange closes the
connection soon after, so it ends the dialogue.

    opening:  -> {"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}
              <- {"result":null,"id":1}
    then:     <- {"stream":"btcusdt@trade","data":{...}}            appended to `out`
              <- {"stream":"!serverShutdown","data":{...}}          spot: `Outcome.closes`
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec

from fanout.errors import VenueMessageError, VenueRefusalError, shown
from fanout.venues.base import DialogueDefaults
from fanout.venues.numbers import BROKEN
from fanout.venues.values import Limits, Outcome, VenueItem

NAMES_A_REQUEST: Final = 200
"""Most stream names in one SUBSCRIBE. Binance accepted this many in 2026."""

SHUTDOWN: Final = "serverShutdown"

TRADE_EVENTS: Final = frozenset({"trade", "aggTrade"})
"""Events that carry trades. An unreadable one has the wrong shape."""


class _Error(msgspec.Struct):
    code: int
    msg: str


class _Event(msgspec.Struct):
    e: str = ""


class _AnyMessage(msgspec.Struct):
    """Messages besides trades: the answer to a request, or an event."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None
    stream: str = ""
    data: _Event | None = None
    e: str = ""


_DECODE_ANY: Final = msgspec.json.Decoder(_AnyMessage)


class BinanceDialogue(DialogueDefaults, ABC):
    """Subscriptions and their answers. Subclasses parse trades.

    A subclass's `receive` passes each message that it cannot parse to `_other`. `receive` runs for
    every trade. So subclasses repeat its few lines, rather than share them through another call.
    """

    announces_shutdown = False

    def __init__(self, symbols: tuple[str, ...], stream: str, limits: Limits) -> None:
        self._symbols = symbols
        self._streams: tuple[str, ...] = (stream,)
        """The streams of each symbol."""
        self._limits = limits
        self._asked: dict[int, tuple[str, ...]] = {}
        self._last_id = 0

    @property
    def unanswered(self) -> frozenset[str]:
        return frozenset(symbol for symbols in self._asked.values() for symbol in symbols)

    def opening(self) -> tuple[str, ...]:
        return self.subscribe(self._symbols)

    @abstractmethod
    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None: ...

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._requests("SUBSCRIBE", symbols))

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for number, asked in tuple(self._asked.items()):
            self._asked[number] = tuple(each for each in asked if each not in symbols)
        return tuple(self._requests("UNSUBSCRIBE", symbols))

    def _requests(self, method: str, symbols: tuple[str, ...]) -> Iterator[str]:
        # Subscriptions go in messages instead of the URL. There symbols in UTF-8 need no escaping,
        # Binance refuses URLs of 16 KiB, and an answer distinguishes a refusal from silence.
        for run in self._runs(symbols):
            self._last_id += 1
            if method == "SUBSCRIBE":
                self._asked[self._last_id] = run
            # Binance acknowledges upper case but stays silent.
            names = [f"{symbol.lower()}@{each}" for symbol in run for each in self._streams]
            request = {"method": method, "params": names, "id": self._last_id}
            yield msgspec.json.encode(request).decode()

    def _runs(self, symbols: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Split symbols into runs that fit one request each, with all of their streams."""
        run: list[str] = []
        room = self._limits.request_bytes - 64
        count = len(self._streams)
        for symbol in symbols:
            size = count * (len(symbol.encode()) + 4) + sum(map(len, self._streams))
            if run and (size > room or (len(run) + 1) * count > NAMES_A_REQUEST):
                yield tuple(run)
                run, room = [], self._limits.request_bytes - 64
            run.append(symbol)
            room -= size
        if run:
            yield tuple(run)

    def _other(self, message: bytes, fault: Exception) -> Outcome | None:
        """Parse a message that is no trade: an answer to a request, or a shutdown notice.

        `fault` is the error of parsing it as a trade, one of `BROKEN`.
        """
        if not isinstance(fault, msgspec.ValidationError):
            raise VenueMessageError("message is not JSON", f"{fault}: {message[:80]!r}") from fault
        try:
            other = _DECODE_ANY.decode(message)
        except BROKEN:
            raise VenueMessageError("message of the wrong shape", f"{message[:80]!r}") from fault
        if other.error is not None:
            words = shown(other.error.msg)
            raise VenueRefusalError(f"the venue refuses: {words} ({other.error.code})")
        if other.id is not None:
            symbols = self._asked.pop(other.id, ())
            return Outcome(confirmed=symbols) if symbols else None
        event = other.data.e if other.data else other.e
        if event == SHUTDOWN and self.announces_shutdown:
            return Outcome(closes="the venue announced that it will close the connection")
        if event in TRADE_EVENTS:
            raise VenueMessageError("message of the wrong shape", f"{fault}: {message[:80]!r}")
        raise VenueMessageError("unexpected event", f"{event or other.stream or message[:80]!r}")


def unexpected(event: str, symbol: str, universe: int | None = None) -> VenueMessageError:
    of = "" if universe is None else f"st {universe}, "
    return VenueMessageError("unexpected event", f"{event!r}, {of}{symbol}")
