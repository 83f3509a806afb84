"""What a bridge counts, and how it tells."""

import time
from enum import StrEnum
from typing import Final

import msgspec

from fanout.protocol.request import Position
from fanout.stats.histogram import SLICE_S, Histogram
from fanout.stats.snapshots import Quantiles

LAG_LIMIT_S: Final = 5.0
"""A channel is ready while its oldest message without an acknowledgement is younger than this."""


class BridgeState(StrEnum):
    STARTING = "starting"
    WAITING = "waiting for records"
    PUBLISHING = "publishing"
    STANDING_BY = "standing by"
    RETRYING = "retrying"


class ChannelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What `/status` has of a channel."""

    channel: str
    state: BridgeState
    why: str
    """Why it does not publish; empty while it does."""
    stream: str
    epoch_ns: int
    next_seq: int
    """Behind the last record that was acknowledged."""
    messages: int
    records: int
    bytes: int
    lost: int
    """Numbers that are told as lost in the stream, by this bridge or by the service."""
    headers: int
    snapshots: int
    reconnects: int
    foreign: int
    """How often a message of somebody else took the place of one of ours."""
    window: int
    """Messages without an acknowledgement."""
    waited_s: float
    """The age of the oldest of them."""
    lag_s: float
    """From the read of the exchange's socket to the acknowledgement, of the newest records."""
    ack_ns: Quantiles | None
    """How long acknowledgements took in the last minute."""


class ChannelStats:
    """The counts of one channel."""

    def __init__(self, channel: str, stream: str) -> None:
        self.channel = channel
        self.stream = stream
        self.state = BridgeState.STARTING
        self.why = ""
        self.epoch_ns = 0
        self.next_seq = 0
        self.messages = self.records = self.bytes = self.lost = 0
        self.headers = self.snapshots = self.reconnects = self.foreign = 0
        self.window = 0
        self.waiting_since_s: float | None = None
        """When the oldest message without an acknowledgement was sent, in monotonic time."""
        self.lag_s = 0.0
        self.acks = Histogram()
        self._turned_s = time.monotonic()

    def becomes(self, state: BridgeState, why: str = "") -> None:
        self.state, self.why = state, why

    def acknowledged(
        self,
        *,
        size: int,
        took_s: float,
        received_ns: int = 0,
        behind: Position | None = None,
        records: int = 0,
        lost: int = 0,
    ) -> None:
        """A message stands in the stream."""
        if self.state is not BridgeState.PUBLISHING:
            self.becomes(BridgeState.PUBLISHING)
        self.messages += 1
        self.bytes += size
        self.records += records
        self.lost += lost
        if behind is not None:
            self.epoch_ns, self.next_seq = behind.epoch_ns, behind.seq
        if received_ns:
            self.lag_s = time.time() - received_ns / 1e9
        now_s = time.monotonic()
        if now_s - self._turned_s >= SLICE_S:
            self._turned_s = now_s
            self.acks.turn()
        self.acks.add(int(took_s * 1e9))

    @property
    def waited_s(self) -> float:
        """The age of the oldest message without an acknowledgement."""
        since_s = self.waiting_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def figures(self) -> ChannelFigures:
        return ChannelFigures(
            channel=self.channel,
            state=self.state,
            why=self.why,
            stream=self.stream,
            epoch_ns=self.epoch_ns,
            next_seq=self.next_seq,
            messages=self.messages,
            records=self.records,
            bytes=self.bytes,
            lost=self.lost,
            headers=self.headers,
            snapshots=self.snapshots,
            reconnects=self.reconnects,
            foreign=self.foreign,
            window=self.window,
            waited_s=self.waited_s,
            lag_s=self.lag_s,
            ack_ns=self.acks.quantiles(),
        )
