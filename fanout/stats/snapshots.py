"""The state of a running service, as frozen snapshots of plain counters.

`/status` answers with them as JSON, with these names.
"""

import msgspec


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of about the last minute, in ns. The maximum is exact, the others are accurate to
    a seventh."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class LinkStats(msgspec.Struct, frozen=True, kw_only=True):
    """One of the parallel connections to the venue.

    `won` counts trades that it delivered first. `open_s` is the age of the open connection, or
    None. `rotations` counts replacements.
    """

    name: str
    open_s: float | None
    won: int
    rotations: int


class BookStats(msgspec.Struct, frozen=True, kw_only=True):
    """The order book of one instrument, with `bids` and `asks` levels. While it is not `is_whole`
    it waits for a snapshot.

    `updates` counts the changes that were published, `snapshots` the whole books, and `breaks` how
    often the book was lost. `repeats` are changes that the book had already.

    Where the stream brings whole books, each connection has a copy: `standbys` are those that could
    take over at once, and `refreshes` how often the venue was asked to send the book anew.
    """

    is_whole: bool
    bids: int
    asks: int
    updates: int
    snapshots: int
    breaks: int
    repeats: int
    standbys: int = 0
    refreshes: int = 0


class InstrumentStats(msgspec.Struct, frozen=True, kw_only=True):
    """The trades of one instrument since the start, including back-filled ones, and their ids.

    `last_trade_s` is the time since the last trade, and `trades_per_s` the rate of about the last
    minute. `delay` is our clock at arrival minus the venue's time in the trade, uncorrected. It is
    negative if our clock is behind, and None before the first trade. Each read counts with the
    trade that waited longest.

    `continuity` tells what the venue's numbers prove. With IDS the service knows every missing
    trade. With any other value, nothing proves that all trades arrived. Then `unproven_s` counts
    the seconds, by the venue's clock, in which trades may be missing: the stream was interrupted,
    and REST does not reach back to the last trade before.

    `quotes` counts the quotes that were published, and `old_quotes` those that were dropped, since
    they were not newer than the one before. `book` is None where no books are taken.
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
    unproven_s: float = 0.0
    quotes: int = 0
    old_quotes: int = 0
    book: BookStats | None = None


class FeedStats(msgspec.Struct, frozen=True, kw_only=True):
    """The feed from the venue. Without more than a state: one that takes nothing from it.

    `clock_offset_ns` is the venue's clock minus ours, give or take `clock_uncertainty_ns`. Both are
    None until measured. `rest_weight` is the weight that all programs at this address used in this
    window of the venue's limit (a minute at Binance), of `rest_weight_limit`.
    """

    state: str
    messages: int = 0
    connections: int = 0
    links: tuple[LinkStats, ...] = ()
    instruments: tuple[InstrumentStats, ...] = ()
    clock_offset_ns: int | None = None
    clock_uncertainty_ns: int | None = None
    rest_weight: int = 0
    rest_weight_limit: int = 0
    anomalies: dict[str, int] = {}


class LogStats(msgspec.Struct, frozen=True, kw_only=True):
    """The log of frames kept for slow readers.

    It begins at `first_seq`. Its oldest frame is `span_s` old. It takes `size_bytes` of
    `capacity_bytes`. `trades`, `quotes`, `book_updates`, `rows`, `blocks` and `events` count what
    was published since the start.
    """

    first_seq: int
    next_seq: int
    frames: int
    size_bytes: int
    capacity_bytes: int
    span_s: float
    trades: int
    blocks: int
    events: int
    quotes: int = 0
    book_updates: int = 0
    rows: int = 0


class ConsumerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One reader.

    `age_s` is the time since it connected, `blocks` the number of blocks sent to it. `lost` counts
    the trades and events that LOSS frames reported to it because it was slow. The `lag_` fields
    tell how far it is behind. `channel` is the channel that it reads.

    A reader of a ring is there if it may write to the ring. It was `lapped` so many times: the ring
    went round before the reader had read what it lost. `lapped` is None for other readers.

    A queue reader reports neither the time it attached nor its unread blocks. So its age is that
    of the queue, and `lag_blocks` and `lag_ms` are None. So they are for a reader of a ring, whose
    age counts from when it was first seen, and while a TCP client
    `is_replaying`: it gets records from a journal that are older than the log, at its own pace.
    """

    address: str
    age_s: float
    blocks: int
    lost: int
    lag_blocks: int | None
    lag_bytes: int
    lag_ms: int | None
    channel: str = ""
    is_replaying: bool = False
    lapped: int | None = None


class JournalStats(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of the journal.

    `state` is WRITING, FULL (no room), AWAY (the disk fails) or ENDED. `why` says what failed, and
    is empty while the channel is being kept.

    `written_seq` is the last number in the files, and `synced_seq` the last one that would outlive
    a power cut. `lag_bytes` were published and are not written yet. `bytes` and `segments` count
    what was written since the start. `free_bytes` is the room left on the disk, None until known.

    `write` and `sync` tell how long the disk took for each. `lost` counts the trades and events
    that LOSS frames in the files report.
    """

    channel: str
    state: str
    why: str
    epoch_ns: int
    written_seq: int
    synced_seq: int
    lag_bytes: int
    bytes: int
    segments: int
    free_bytes: int | None
    write: Quantiles | None
    sync: Quantiles | None
    sync_failures: int
    lost: int


class RingStats(msgspec.Struct, frozen=True, kw_only=True):
    """One ring of a consolidator, with the trades of a chunk of symbols.

    `why` says why it is not written, and is empty while it is. Of its `symbols`, `symbols_live` are
    LIVE. `seq` is the number of the newest record. `trades` and `bytes` were written since the
    start, and `waiting` trades are still to be. `lost` records are known to be missing: those that
    the log dropped before they were written, which count for each ring of the channel, and ids that
    the venue does not have any more. `repeated` trades were left out since the ring had them from
    an earlier start, of which it knows the newest `dedupe_size`.

    The times are those of the last second, None without a trade in it. `exchange_to_recv_ms_avg` is
    our clock at arrival minus the venue's time.
    """

    name: str
    channel: str
    why: str
    symbols: int
    symbols_live: int
    seq: int
    data_bytes: int
    index_slots: int
    trades: int
    bytes: int
    waiting: int
    lost: int
    repeated: int
    dedupe_size: int
    recv_to_write_ms_avg: float | None
    recv_to_write_ms_max: float | None
    exchange_to_recv_ms_avg: float | None


class GroupStats(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of a multicast transport, and its group on each line.

    `packets` and `bytes` were sent, on all lines together. `unsent` counts packets that the system
    did not take. `left_out` counts records that fit no packet, and `lost` those that the log
    dropped before they were sent: receivers lack both. `snapshots` were sent for receivers that
    join.
    """

    channel: str
    groups: tuple[str, ...]
    packets: int
    bytes: int
    unsent: int
    left_out: int
    lost: int
    snapshots: int


class TransportStats(msgspec.Struct, frozen=True, kw_only=True):
    """One transport.

    It accepted `accepted` readers and refused `refused`. `lost` counts the trades and events that
    LOSS frames reported to all readers, including those that have left. `send` is the time from
    the venue's socket to the reader's socket or the queue, of the oldest record in each write.
    `anomalies` counts the faults of readers by kind. `channel` is empty if the transport serves
    every channel. `journal` describes the channels of a journal, `groups` those of multicast, whose
    receivers are not known. `rings` describes those that a consolidator keeps on disk.
    """

    url: str
    consumers: tuple[ConsumerStats, ...] = ()
    accepted: int = 0
    refused: int = 0
    lost: int = 0
    send: Quantiles | None = None
    anomalies: dict[str, int] = {}
    channel: str = ""
    journal: tuple[JournalStats, ...] = ()
    groups: tuple[GroupStats, ...] = ()
    rings: tuple[RingStats, ...] = ()


class ProcessStats(msgspec.Struct, frozen=True, kw_only=True):
    """The process: resident memory, open and allowed descriptors, CPU time, tasks."""

    pid: int
    resident_bytes: int
    descriptors: int
    max_descriptors: int
    cpu_s: float
    tasks: int


class ChannelStats(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, its source and its log.

    `why` is the reason if no feed runs: the venue refuses, limits or does not answer, or the
    source has ended. Then `feed` is DOWN and has no instruments. `why` is empty while a feed runs.
    """

    name: str
    venue: str
    epoch_ns: int
    is_ready: bool
    why: str
    feed: FeedStats
    log: LogStats


class ServiceStats(msgspec.Struct, frozen=True, kw_only=True):
    """The whole service.

    `versions` holds the versions of fanout, the wire and Python. Its key `functions` tells whether
    the hot functions are compiled. `venue`, `epoch_ns`, `feed` and `log` describe the first
    channel, since most services have only one. `channels` has all of them.
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
        """`channels`, or the only channel of an older service, whose status has no list."""
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
