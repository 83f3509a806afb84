"""Wire 1 over TCP: the stream once more, for the clients of perp_signal_hft.

A task reads the log as any reader does, takes its blocks apart and writes the trades, in wire 1,
to a log of its own, from which clients are sent theirs. Wire 1 has no words for a loss, so whoever
would have to be told of one is disconnected: a client that falls off that log, and all of them if
the task falls off the other.
"""

import logging
from copy import copy

from fanout.channel.channel import Channel
from fanout.channel.log import Lag, Lapped, Log
from fanout.errors import ConfigError
from fanout.protocol.block import decode_block
from fanout.protocol.constants import START, EndReason, FrameKind
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import decode_header
from fanout.protocol.records import Header, Trade
from fanout.protocol.request import Request
from fanout.protocol.wire1 import UNIT_EXPONENT, Wire1Encoder, to_units
from fanout.transports.base import CHUNK_BYTES

_LOG = logging.getLogger("fanout")


class Wire1:
    """What all clients of wire 1 have in common: the encoder's state, and the log in wire 1."""

    is_asked = False

    def __init__(self, channel: Channel) -> None:
        """Raises `ConfigError` for an instrument with more decimals than wire 1 has."""
        header = channel.log.context
        self._source = channel.log
        self._cursor = channel.log.live()
        self._encoder = _encoder_for(header)
        self._header = header
        self.log = Log(capacity_bytes=channel.log.capacity_bytes, context=None)
        self.breaks = 0
        """How often clients had to be disconnected because trades were missing for all of them."""
        for payload in payloads_of(channel.snapshot()):
            self._encode(payload)

    async def run(self) -> None:
        """Carry trades over until the log is closed."""
        while not (self._source.closed and self._cursor.position == self._source.end):
            await self._source.wait_beyond(self._cursor.position)
            position = self._cursor.position
            piece = self._source.read(self._cursor, CHUNK_BYTES)
            if isinstance(piece, Lapped):
                self._break("trades were gone before they could be put into wire 1")
            elif piece:
                self._carry(piece, self._source.age_ns(position))
        self.log.close()

    def place(self) -> "Wire1Place":
        return Wire1Place(self)

    def greeting(self) -> bytes:
        """START, a header made from the state of this moment, and each asset's newest trade: after
        them a decoder's state is the encoder's."""
        return b"".join(map(frame, (START, self._encoder.header(), *self._encoder.newest())))

    def heartbeat(self) -> bytes:
        return b""

    def refusal(self, reason: EndReason, retry_ms: int | None, why: str) -> bytes:
        return b""

    def _carry(self, piece: bytes, age_ns: int) -> None:
        frames: list[bytes] = []
        for payload in payloads_of(piece):
            if payload[0] == FrameKind.HEADER:
                # Of what does not fit its trades will say so, instrument by instrument.
                self._header = decode_header(payload)
            elif payload[0] == FrameKind.TRADES:
                frames += self._encode(payload)
        if frames:
            self.log.append(b"".join(frames), count=len(frames), held_ns=age_ns)

    def _encode(self, payload: bytes) -> list[bytes]:
        try:
            return [self._trade(each) for each in decode_block(payload, self._header).trades]
        except NotRepresentableError as error:
            self._break(str(error))
            return []

    def _trade(self, trade: Trade) -> bytes:
        instrument = trade.instrument
        return frame(
            self._encoder.trade(
                instrument.index,
                trade.time_ms,
                to_units(trade.price, instrument.price_exponent),
                to_units(trade.quantity, instrument.quantity_exponent),
                trade.buyer_is_maker,
            )
        )

    def _break(self, why: str) -> None:
        self.breaks += 1
        _LOG.error("clients of wire 1 are disconnected, since it cannot say what is lost: %s", why)


class Wire1Place:
    """One client's place."""

    def __init__(self, wire: Wire1) -> None:
        self.log = wire.log
        self.cursor = wire.log.live()
        self.greeting = wire.greeting()
        self.is_shareable = False  # whoever was there when trades went missing has to go
        self.is_over = False
        self.lost = 0
        self.fell_off = ""
        self._wire = wire
        self._breaks = wire.breaks
        self._piece_position = self._first_position = self.cursor.position

    @property
    def blocks(self) -> int:
        """How many frames of the log it was sent."""
        return self.cursor.position - self._first_position

    def start(self, request: Request) -> bytes:
        return b""

    def next_piece(self) -> bytes:
        """What follows. Nothing, ever, for a client that would have to be told of a loss."""
        self._piece_position = self.cursor.position
        piece = self.log.read(self.cursor, CHUNK_BYTES)
        if isinstance(piece, Lapped) or self._wire.breaks != self._breaks:
            self.is_over = True
            self.fell_off = "it fell behind, and wire 1 cannot say what it lost"
            return b""
        return piece

    def part(self, piece_position: int) -> None:
        """See `Place.part`."""
        self.cursor = copy(self.cursor)
        self._piece_position = piece_position

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        """Wire 1 has no goodbye."""
        self.is_over = True
        return b""

    def lag(self, unsent_bytes: int) -> Lag:
        """How far the client is behind, which has yet to take so much of the last piece."""
        return self.log.lag(
            self.cursor, unsent_from=self._piece_position, unsent_bytes=unsent_bytes
        )


def _encoder_for(header: Header) -> Wire1Encoder:
    _require_decimals(header)
    pairs = list(zip(header.instruments, header.references, strict=True))
    return Wire1Encoder(
        symbols=[each.symbol for each in header.instruments],
        reference_ms=header.epoch_ns // 1_000_000,
        prices=[to_units(of.price, each.price_exponent) for each, of in pairs],
        quantities=[to_units(of.quantity, each.quantity_exponent) for each, of in pairs],
    )


def _require_decimals(header: Header) -> None:
    for each in header.instruments:
        finest = min(each.price_exponent, each.quantity_exponent)
        if finest < UNIT_EXPONENT:
            raise ConfigError(
                f"{each.symbol} has {-finest} decimals, and wire 1 carries {-UNIT_EXPONENT}: "
                "take --wire 2, or leave it out"
            )
