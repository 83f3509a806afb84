"""Wire 1 over TCP: the first channel, for the clients of perp_signal_hft.

A task reads the channel like any reader, decodes its blocks, and writes their trades in wire 1 to a
log of its own. Clients are sent that log. Wire 1 cannot report a loss, so a client that lost trades
is disconnected. That is a client that falls off the log of wire 1. If the task falls off the
channel's log, it is every client.
"""

import logging
from copy import copy

from fanout.channel.channel import Channel
from fanout.channel.log import Lag, Lapped, Log
from fanout.channel.reader import CHUNK_BYTES, Reader, Run
from fanout.errors import ConfigError
from fanout.protocol.block import decode_block
from fanout.protocol.constants import LENGTH_BYTES, START, EndReason, FrameKind
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.records import Header, Trade
from fanout.protocol.request import Request
from fanout.protocol.wire1 import UNIT_EXPONENT, Wire1Encoder, to_units

_LOG = logging.getLogger("fanout")


class Wire1:
    """What all clients of wire 1 share: the encoder's state, and the log in wire 1."""

    is_asked = False
    has_past = False

    def __init__(self, channel: Channel) -> None:
        """Raises `ConfigError` for instruments that wire 1 cannot carry: more decimals than it
        has, or too many of them."""
        header = channel.header
        self.name = channel.name
        self._reader = Reader(channel)
        self._encoder = _encoder_for(header)
        self._known = len(header.instruments)
        self._has_left_out = False
        self._header = header
        self.log = Log(capacity_bytes=channel.log.capacity_bytes, context=None)
        self.breaks = 0
        """How often clients had to be disconnected because trades were missing for all of them."""
        for payload in payloads_of(channel.snapshot()):
            if payload[0] == FrameKind.TRADES:
                self._encode(payload)

    async def run(self) -> None:
        """Convert trades until the channel's log is closed."""
        source = self._reader.log
        while not (source.closed and self._reader.has_everything):
            position, lost = self._reader.cursor.position, self._reader.lost
            await source.wait_beyond(position)
            run = self._reader.next_run()
            if self._reader.lost != lost:
                self._break("trades were gone before they could be put into wire 1")
                self._reader.told_loss()
            if run is not None:
                self._carry(run, source.age_ns(position))
        self.log.close()

    def reader(self) -> "Wire1Reader":
        return Wire1Reader(self)

    async def replay(self, request: Request) -> None:
        """Nothing: a client of wire 1 always begins live."""

    def greeting(self) -> bytes:
        """START, a header of the current state, and each asset's newest trade. They bring a
        decoder to the encoder's state."""
        return b"".join(map(frame, (START, self._encoder.header(), *self._encoder.newest())))

    def heartbeat(self) -> bytes:
        return b""

    def refusal(self, reason: EndReason, retry_ms: int | None, why: str) -> bytes:
        return b""

    def _carry(self, run: Run, age_ns: int) -> None:
        self._header = run.header
        frames: list[bytes] = []
        for each in self._reader.frames_of(run):
            if each.new_header is not None:
                # An instrument that wire 1 cannot carry is reported with its first trade.
                self._header = each.new_header
            elif each.data[LENGTH_BYTES] == FrameKind.TRADES:
                frames += self._encode(each.data[LENGTH_BYTES:])
            elif each.data[LENGTH_BYTES] == FrameKind.LOSS:
                self._break("trades are missing in the journal that is replayed")
        if frames:
            self.log.append(b"".join(frames), count=len(frames), held_ns=age_ns)
            self.log.hand_on()

    def _encode(self, payload: bytes) -> list[bytes]:
        trades = decode_block(payload, self._header).trades
        known = [each for each in trades if each.instrument.index < self._known]
        if len(known) != len(trades) and not self._has_left_out:
            self._has_left_out = True
            _LOG.warning(
                "wire 1 leaves out instruments that joined after the start, since its header "
                "cannot change: restart to include them"
            )
        try:
            return [self._trade(each) for each in known]
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
        _LOG.error("disconnecting clients of wire 1, since it cannot say what is lost: %s", why)


class Wire1Reader:
    """One client's position in the log of wire 1."""

    def __init__(self, wire: Wire1) -> None:
        self.log = wire.log
        self.cursor = wire.log.live()
        self.greeting = wire.greeting()
        self.is_over = False
        self.channel = wire.name
        self.lost = 0
        self.fell_off = ""
        self._wire = wire
        self._breaks = wire.breaks
        self._piece_position = self._first_position = self.cursor.position

    @property
    def blocks(self) -> int:
        """How many frames of the log the client was sent."""
        return self.cursor.position - self._first_position

    @property
    def is_shareable(self) -> bool:
        return False  # each client checks for itself whether it lost trades

    @property
    def has_everything(self) -> bool:
        """Whether the client was sent all of the log."""
        return self.cursor.position == self.log.end

    def start(self, request: Request) -> bytes:
        return b""

    def next_piece(self) -> bytes:
        """The bytes that follow. For a client that lost trades there are none, and it is over."""
        self._piece_position = self.cursor.position
        piece = self.log.read(self.cursor, CHUNK_BYTES)
        if isinstance(piece, Lapped) or self._wire.breaks != self._breaks:
            self.is_over = True
            self.fell_off = "it fell behind, and wire 1 cannot say what it lost"
            return b""
        return piece

    def part(self, piece_position: int) -> None:
        """See `Reader.part`."""
        self.cursor = copy(self.cursor)
        self._piece_position = piece_position

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        """Nothing: wire 1 has no END."""
        self.is_over = True
        return b""

    def lag(self, unsent_bytes: int) -> Lag:
        """How far the client is behind, with `unsent_bytes` of the last piece unsent."""
        return self.log.lag(
            self.cursor, unsent_from=self._piece_position, unsent_bytes=unsent_bytes
        )


def _encoder_for(header: Header) -> Wire1Encoder:
    """Raises `ConfigError`."""
    _require_decimals(header)
    try:
        return _encoder_of(header)
    except NotRepresentableError as error:
        raise ConfigError(f"wire 1 cannot carry this: {error}; take --wire 2") from error


def _encoder_of(header: Header) -> Wire1Encoder:
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
