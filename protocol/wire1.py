"""Wire 1, the format of perp_signal_hft, for existing clients of that program.

    header:  u8   version = 1
             u8   n, 1 to 127
             n x  u8 length, then the name
             u64  reference time, ms
             n x  f64 price
             n x  f64 quantity

    trade:   u8   asset index | 0x80 if the buyer is the maker
             varint zigzag(time - previous time), ms
             varint zigzag(price - previous price), in units of 1e-5
             varint quantity, in units of 1e-5

Little-endian. *Previous* is the asset's preceding trade on the same connection. Before its first
trade it is the header's price at the reference time.

All readers get the same bytes of a trade. So a reader that joins needs the encoder's state:
`header()` has the current prices, and `newest()` moves each asset that has traded from the
reference time to its newest trade. All other assets are still at the reference time for every
reader. Therefore the reference time never changes.

perp_signal_hft has two faults that this encoder avoids. It sends every reader the header of the
start, so late readers have wrong prices. And its deltas are truncated floats, while the encoder
keeps the exact price, so all readers drift. Here the state is integers, a delta is exactly what a
reader adds, and a value that does not fit raises an error.

Wire 1 cannot express ids, gaps, losses or a checksum. Its original reader keeps the header's f64,
adds delta / 1e5 to it, and counts time in an i64: src/format.rs of
https://github.com/DieHard073055/PerpSignalHFT.
"""

import math
from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

from fanout.protocol.constants import I64_MAX, MAKER_BIT, MAX_TEXT_BYTES, U64_MAX
from fanout.protocol.errors import (
    FanoutError,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
)
from fanout.protocol.text import fitting, pack_text, unpack_text
from fanout.protocol.varint import append_varint, read_varint, unzigzag, zigzag

WIRE1_VERSION: Final = 1
"""First byte of a wire-1 header."""

MAX_ASSETS: Final = 127
"""Limit of a wire-1 header's assets: an index shares its byte with the maker bit."""

UNIT_EXPONENT: Final = -5
"""Prices and quantities of every asset are integers of 10**-5."""

PRICE_UNITS: Final = range(-(2**50), 2**50 + 1)
"""Allowed prices, up to 11 billion, also negative. Beyond, doubles are too sparse for
`_to_double`."""

_ONE: Final = 1e5
_MAX_DOUBLE: Final = U64_MAX / _ONE
"""Largest f64 in a header: the largest quantity of a trade."""


class Wire1Header(msgspec.Struct, frozen=True, kw_only=True):
    """The starting state of a reader: name, price and quantity of each asset, in units of 1e-5."""

    symbols: tuple[str, ...]
    reference_ms: int
    prices: tuple[int, ...]
    quantities: tuple[int, ...]


class Wire1Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade: unix ms, price and quantity in units of 1e-5."""

    index: int
    symbol: str
    time_ms: int
    price: int
    quantity: int
    buyer_is_maker: bool


def to_units(value: int, exponent: int) -> int:
    """Convert value * 10**exponent to units of 1e-5, exactly.

    Raises `NotRepresentableError` for an exponent below -5, even if the value would fit: so an
    instrument fits always or never.
    """
    if exponent < UNIT_EXPONENT:
        raise NotRepresentableError(f"10**{exponent} is below 10**{UNIT_EXPONENT}, wire 1's unit")
    return value * int(10 ** (exponent - UNIT_EXPONENT))


class Wire1Encoder:
    """The state that all readers of one stream share. A refused trade does not change it."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        reference_ms: int,
        prices: Sequence[int],
        quantities: Sequence[int],
    ) -> None:
        """Raises `NotRepresentableError` with the value that does not fit."""
        count = len(symbols)
        if not 1 <= count <= MAX_ASSETS:
            raise NotRepresentableError(f"{count} assets: 1 to {MAX_ASSETS} fit a header")
        if not count == len(prices) == len(quantities):
            raise NotRepresentableError(
                f"{len(prices)} prices and {len(quantities)} quantities for {count} assets"
            )
        names = (pack_text(each, MAX_TEXT_BYTES, "name") for each in symbols)
        self._prefix = bytes((WIRE1_VERSION, count)) + b"".join(names)
        start = Wire1Header(
            symbols=tuple(symbols),
            reference_ms=reference_ms,
            prices=tuple(prices),
            quantities=tuple(quantities),
        )
        self._reference_ms = reference_ms
        self._state = _start_of(start, NotRepresentableError)
        self._traded: set[int] = set()

    def header(self) -> bytes:
        """The header for a reader that joins now. `newest()` must follow before any trade."""
        return self._prefix + _numbers(len(self._state)).pack(
            self._reference_ms,
            *(_to_double(each.price) for each in self._state),
            *(_to_double(each.quantity) for each in self._state),
        )

    def newest(self) -> list[bytes]:
        """The newest trade of each asset that has traded, encoded against `header()`.

        After these a reader that joins has the encoder's state.
        """
        trades = (self._state[index] for index in sorted(self._traded))
        return [_encode(each, self._reference_ms, each.price) for each in trades]

    def trade(
        self, index: int, time_ms: int, price: int, quantity: int, buyer_is_maker: bool
    ) -> bytes:
        """Encode the next trade for all readers. Raises `NotRepresentableError`."""
        if not 0 <= index < len(self._state):
            raise NotRepresentableError(f"asset index {index} is not in the header")
        before = self._state[index]
        trade = Wire1Trade(index, before.symbol, time_ms, price, quantity, buyer_is_maker)
        _check(trade, NotRepresentableError)
        self._state[index] = trade
        self._traded.add(index)
        return _encode(trade, before.time_ms, before.price)


class Wire1Decoder:
    """Decodes the payloads of one connection.

    Raises `PeerError` for invalid payloads, which do not change the state.
    """

    def __init__(self) -> None:
        self._state: list[Wire1Trade] = []

    def header(self, payload: bytes) -> Wire1Header:
        """Decode the connection's header. Its f64s are rounded to the nearest unit."""
        header = _decode_header(payload)
        self._state = _start_of(header, MalformedError)
        return header

    def trade(self, payload: bytes) -> Wire1Trade:
        """Decode the next trade. Raises `MalformedError` before the header."""
        if not payload:
            raise MalformedError("trade of 0 bytes")
        index = payload[0] & ~MAKER_BIT
        if index >= len(self._state):
            raise MalformedError(f"asset index {index}: the header has named {len(self._state)}")
        time_delta, offset = read_varint(payload, 1)
        price_delta, offset = read_varint(payload, offset)
        quantity, offset = read_varint(payload, offset)
        if offset != len(payload):
            raise MalformedError(f"trade of {offset} bytes in a payload of {len(payload):,}")
        before = self._state[index]
        trade = Wire1Trade(
            index,
            before.symbol,
            before.time_ms + unzigzag(time_delta),
            before.price + unzigzag(price_delta),
            quantity,
            payload[0] >= MAKER_BIT,
        )
        _check(trade, MalformedError)
        self._state[index] = trade
        return trade


def _start_of(header: Wire1Header, error: type[FanoutError]) -> list[Wire1Trade]:
    """The start of each asset, as the trade that its first trade is encoded against."""
    numbers = zip(header.symbols, header.prices, header.quantities, strict=True)
    state = [
        Wire1Trade(index, symbol, header.reference_ms, price, quantity, False)
        for index, (symbol, price, quantity) in enumerate(numbers)
    ]
    for each in state:
        _check(each, error)
    return state


def _check(trade: Wire1Trade, error: type[FanoutError]) -> None:
    """Raise `error` for a value out of range. Within the limits every delta fits an i64."""
    if not 0 <= trade.time_ms <= I64_MAX:
        raise error(f"{_named(trade)}: time {trade.time_ms} is not within 0 to {I64_MAX}")
    if trade.price not in PRICE_UNITS:
        raise error(f"{_named(trade)}: price {trade.price} exceeds {PRICE_UNITS[-1]} units")
    if not 0 <= trade.quantity <= U64_MAX:
        raise error(f"{_named(trade)}: quantity {trade.quantity} is not within 0 to {U64_MAX}")


def _named(trade: Wire1Trade) -> str:
    """The asset's name, made safe for a terminal. Wire 1 allows any text as a name."""
    return fitting(repr(trade.symbol)[1:-1], 80)


def _encode(trade: Wire1Trade, previous_ms: int, previous_price: int) -> bytes:
    out = bytearray((trade.index | (MAKER_BIT if trade.buyer_is_maker else 0),))
    append_varint(out, zigzag(trade.time_ms - previous_ms))
    append_varint(out, zigzag(trade.price - previous_price))
    append_varint(out, trade.quantity)
    return bytes(out)


def _decode_header(payload: bytes) -> Wire1Header:
    if len(payload) < 2:
        raise MalformedError(f"header of {len(payload)} bytes is cut short")
    version, count = payload[:2]
    if version != WIRE1_VERSION:
        raise MalformedError(f"wire version {version}: this reader speaks {WIRE1_VERSION}")
    if not 1 <= count <= MAX_ASSETS:
        raise LimitExceededError(f"{count} assets: 1 to {MAX_ASSETS} allowed")
    symbols, offset = [], 2
    for _ in range(count):
        symbol, offset = unpack_text(payload, offset, MAX_TEXT_BYTES, "name")
        symbols.append(symbol)
    numbers = _numbers(count)
    if len(payload) != offset + numbers.size:
        raise MalformedError(f"header of {len(payload):,} bytes, not {offset + numbers.size:,}")
    reference_ms, *doubles = numbers.unpack_from(payload, offset)
    units = tuple(_from_double(each) for each in doubles)
    return Wire1Header(
        symbols=tuple(symbols),
        reference_ms=reference_ms,
        prices=units[:count],
        quantities=units[count:],
    )


def _numbers(count: int) -> Struct:
    """The last part of a header of `count` assets: reference time, prices, quantities."""
    return Struct(f"<Q{2 * count}d")


def _to_double(units: int) -> float:
    """The double for `units` from which truncating and rounding readers get the same unit.

    That is the nearest double. If its product with 1e5 falls short, as that of 0.29 does
    (28,999.999999999996), it is the next double away from 0. A quantity above 2**50 gets the
    nearest double, since no reader adds to a quantity.
    """
    nearest = units / _ONE
    if int(nearest * _ONE) == units or units not in PRICE_UNITS:
        return nearest
    return math.nextafter(nearest, math.copysign(math.inf, units))


def _from_double(value: float) -> int:
    if not abs(value) <= _MAX_DOUBLE:  # this form also catches NaN
        raise MalformedError(f"{value} in a header is not a price or a quantity")
    # The double nearest to the last u64s is 2**64.
    return min(round(value * _ONE), U64_MAX)
