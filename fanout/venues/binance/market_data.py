"""The dialogue of a connection that brings quotes and changes of order books beside trades. Pure.

    {"stream":"btcusdt@bookTicker","data":{"u":...,"s":"BTCUSDT","b":"...","B":"...",...}}
    {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate",...}}

The stream's name tells what a message is, before anything is parsed. Binance writes it first. A
message that has it elsewhere is parsed twice.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.instrument import Instrument
from fanout.venues.binance.depth import read_depth
from fanout.venues.binance.dialogue import BinanceDialogue, unexpected
from fanout.venues.binance.messages import Envelope
from fanout.venues.numbers import BROKEN
from fanout.venues.values import (
    TOO_LONG,
    DepthLost,
    Limits,
    Outcome,
    VenueItem,
    VenueQuote,
)

QUOTES: Final = "bookTicker"

_PREFIX: Final = b'{"stream":"'
_NAME: Final = len(_PREFIX)
_LONGEST_NAME: Final = 256
_USDS_MARGINED: Final = 1

_Id = Annotated[int, msgspec.Meta(ge=0)]


class _Quote(msgspec.Struct, gc=False):
    """`@bookTicker`. Spot sends neither its type nor a time."""

    u: _Id
    s: str
    b: str
    B: str
    a: str
    A: str
    T: _Id = 0
    e: str = "bookTicker"
    st: int = _USDS_MARGINED


class _Stream(msgspec.Struct, gc=False):
    stream: str = ""


_decode_quote = msgspec.json.Decoder(Envelope[_Quote]).decode
_decode_stream = msgspec.json.Decoder(_Stream).decode


class MarketDataDialogue(BinanceDialogue):
    """Put before a dialogue of trades, which takes every other message."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        streams: tuple[str, ...],
        limits: Limits,
        units: Mapping[str, Instrument],
    ) -> None:
        """`streams` are those of each symbol. `units` are looked up for each change of a book."""
        super().__init__(symbols, streams[0], limits)
        self._streams = streams
        self._units = units
        self._symbols_of: dict[bytes, str] = {}
        """The symbols of the names that have come, in the venue's spelling."""

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        end = message.find(b"@", _NAME, _LONGEST_NAME)
        mark = message[end + 1 : end + 2]
        if not message.startswith(_PREFIX):
            name, mark = _stream_of(message)
        elif mark in (b"d", b"b"):
            name = message[_NAME:end]
        if mark == b"d":
            instrument = self._instrument(name)
            try:
                out.append(read_depth(message, instrument))
            except VenueMessageError as error:
                out.append(DepthLost(instrument.symbol, instrument.index, error.kind))
                raise
        elif mark == b"b":
            out.append(_read_quote(message))
        else:
            return super().receive(message, out)  # type: ignore[safe-super]
        return None

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        end = message.find(b"@", _NAME, _LONGEST_NAME)
        if message.startswith(_PREFIX) and message[end + 1 : end + 2] == b"d":
            with suppress(VenueMessageError):  # of a symbol that is not taken
                instrument = self._instrument(message[_NAME:end])
                out.append(DepthLost(instrument.symbol, instrument.index, TOO_LONG))

    def _instrument(self, name: bytes) -> Instrument:
        """The instrument of a symbol in lower case. Raises `VenueMessageError` for one that is not
        taken."""
        symbol = self._symbols_of.get(name)
        if symbol is None:
            symbol = _symbol(name)
            if symbol in self._units:
                self._symbols_of[name] = symbol
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", symbol)
        return instrument


def _symbol(name: bytes) -> str:
    """Raises `VenueMessageError`."""
    try:
        return msgspec.json.decode(b'"%b"' % name, type=str).upper()
    except BROKEN as error:
        raise VenueMessageError("unexpected event", f"{name[:80]!r}") from error


def _stream_of(message: bytes) -> tuple[bytes, bytes]:
    """The symbol and the first letter of the stream of a message that does not begin with them;
    empty if it names none."""
    try:
        symbol, _, stream = _decode_stream(message).stream.partition("@")
    except BROKEN:
        return b"", b""
    return symbol.encode(errors="replace"), stream[:1].encode(errors="replace")


def _read_quote(message: bytes) -> VenueQuote:
    try:
        row = _decode_quote(message).data
    except BROKEN as error:
        raise VenueMessageError("quote of the wrong shape", f"{error}: {message[:80]!r}") from error
    if row.e != "bookTicker" or row.st != _USDS_MARGINED:
        raise unexpected(row.e, row.s, row.st)
    return VenueQuote(row.s, row.u, row.T, row.b, row.B, row.a, row.A)
