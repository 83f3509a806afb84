"""Frozen snapshots of a running service's counters.

`/status` answers with them, as JSON with these names.
"""

import msgspec


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of about the last minute, ns. The maximum is exact, the others to a seventh."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class LinkStats(msgspec.Struct, frozen=True, kw_only=True):
    """One place for a connection: `won` are the trades it brought before any other did. `open_s`
    is how long the connection has been open; None while there is none."""

    name: str
    open_s: float | None
    won: int
    rotations: int


class InstrumentStats(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument since the start: its trades, back-filled ones included, and what became of
    their ids.

    `last_trade_s` is the time since the last one, and `trades_per_s` the rate of about the last
    minute. `delay` is our clock when a trade came, less the venue's time in it, as they are: below
    0 where our clock is behind. It is that of the trade which waited longest in each read. None
    before the first.

    `continuity` says what the venue's numbers prove. With IDS every missing trade is known; with
    anything else nothing proves that all trades came.
    """

    symbol: str
    stream: str
    state: str
    trades: int
    trades_per_s: float
    last_trade_s: float | None
    back_filled: int
    duplicates: int
    spent: int
    refused: int
    missing: int
    lost: int
    no_trade: int
    open_gaps: int
    delay: Quantiles | None
    continuity: str = "IDS"


class FeedStats(msgspec.Struct, frozen=True, kw_only=True):
    """The upstream. `clock_offset_ns` is the venue's clock less ours, give or take
    `clock_uncertainty_ns`; None while it is not known. `rest_weight` was used in this minute, by
    whoever asks from this address, of `rest_weight_limit`."""

    state: str
    messages: int
    connections: int
    links: tuple[LinkStats, ...]
    instruments: tuple[InstrumentStats, ...]
    clock_offset_ns: int | None
    clock_uncertainty_ns: int | None
    rest_weight: int
    rest_weight_limit: int
    anomalies: dict[str, int]


class LogStats(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for readers: frames from `first_seq` on, the oldest of them `span_s` old, in
    `size_bytes` of `capacity_bytes`. `trades`, `blocks` and `events` were published since the
    start."""

    first_seq: int
    next_seq: int
    frames: int
    size_bytes: int
    capacity_bytes: int
    span_s: float
    trades: int
    blocks: int
    events: int


class ConsumerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One reader: how far it is behind, how many blocks it was sent, and how many trades and
    events it lost since it joined, because it was slow. `age_s` is the time since it joined.

    The reader of a queue does not say when it came, nor how many blocks are unread: its age is that
    of the queue, and `lag_blocks` and `lag_ms` are None. `channel` is the one that it reads.
    """

    address: str
    age_s: float
    blocks: int
    lost: int
    lag_blocks: int | None
    lag_bytes: int
    lag_ms: int | None
    channel: str = ""


class TransportStats(msgspec.Struct, frozen=True, kw_only=True):
    """One way out. `accepted` readers were let in, `refused` were not. `lost` counts the trades and
    events that were reported to readers as LOSS, also to those that have left. `send` is the time
    from the venue's socket to the reader's, or into the queue, of the oldest trade that is handed
    on at once. `anomalies` are oddities of readers, by kind. `channel` is empty for a transport
    that serves every channel."""

    url: str
    consumers: tuple[ConsumerStats, ...]
    accepted: int
    refused: int
    lost: int
    send: Quantiles | None
    anomalies: dict[str, int]
    channel: str = ""


class ProcessStats(msgspec.Struct, frozen=True, kw_only=True):
    """The process: memory resident, descriptors open and allowed, CPU time."""

    pid: int
    resident_bytes: int
    descriptors: int
    max_descriptors: int
    cpu_s: float
    tasks: int


class ChannelStats(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, its source and its log. `why` says why the source brings nothing: its venue
    refuses, limits or does not answer, or the source has ended. It is empty while a feed runs, and
    without one `feed` is DOWN and has no instruments."""

    name: str
    venue: str
    epoch_ns: int
    is_ready: bool
    why: str
    feed: FeedStats
    log: LogStats


class ServiceStats(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `versions` are those of fanout, the wire, Python; `functions` says whether the
    hot functions are compiled.

    `venue`, `epoch_ns`, `feed` and `log` are those of the first channel, which is the only one of
    most services; `channels` has all of them.
    """

    venue: str
    epoch_ns: int
    uptime_s: float
    is_ready: bool
    versions: dict[str, str]
    feed: FeedStats
    log: LogStats
    transports: tuple[TransportStats, ...]
    process: ProcessStats
    channels: tuple[ChannelStats, ...] = ()

    @property
    def all_channels(self) -> tuple[ChannelStats, ...]:
        """`channels`, also of a service from before there were any."""
        if self.channels:
            return self.channels
        first = ChannelStats(
            name=self.venue,
            venue=self.venue,
            epoch_ns=self.epoch_ns,
            is_ready=self.is_ready,
            why="",
            feed=self.feed,
            log=self.log,
        )
        return (first,)
