"""`/metrics`: the service's counters for Prometheus, read at each scrape.

Names end in their unit, counters in `_total`. Times are in seconds. Metrics of a channel have the
label `channel`, and `fanout_channel_info` maps it to a venue. A symbol has some 40 series, 24 of
them for its histogram, so a channel with 800 symbols has 32,000. No metric has a label per client,
since every new client would add series. Metrics of clients are counts, sums and maxima.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from fanout.http.exposition import Kind, Sample, histogram_pieces, labels, pieces
from fanout.http.monitor import Monitor
from fanout.journal.recorder import State
from fanout.protocol.constants import FeedState
from fanout.stats.histogram import BOUNDS_NS, Histogram
from fanout.stats.snapshots import (
    BookStats,
    ChannelStats,
    FeedStats,
    GroupStats,
    InstrumentStats,
    JournalStats,
    LinkStats,
    LogStats,
    RingStats,
    ServiceStats,
    TransportStats,
)

Channels = tuple[ChannelStats, ...]

Family = tuple[str, Kind, str, Iterable[Sample]]
"""A metric: its name without `fanout_`, its kind, its help text, and its samples."""

_BUCKETS: Final = [
    (f"{each / 1e9:g}", place)
    for place, each in enumerate(BOUNDS_NS)
    if each >= 10_000 and str(each).rstrip("0") in ("1", "25", "5")
]
"""Upper ends of the latency buckets, in seconds, and their indices in a histogram: 1, 2.5 and 5 in
each power of ten, from 10 us to 50 s."""

_INSTRUMENT: Final[list[tuple[str, str, Callable[[InstrumentStats], float]]]] = [
    ("trades", "Trades published.", lambda each: each.trades),
    (
        "trades_back_filled",
        "Published trades that were back-filled over REST.",
        lambda each: each.back_filled,
    ),
    ("trades_duplicate", "Trades received more than once.", lambda each: each.duplicates),
    ("trades_refused", "Trades dropped: a value exceeds its field.", lambda each: each.refused),
    ("trade_ids_spent", "Ids that the venue used without a trade.", lambda each: each.spent),
    ("trade_ids_missing", "Ids that did not arrive in sequence.", lambda each: each.missing),
    ("trade_ids_no_trade", "Missing ids that were never trades.", lambda each: each.no_trade),
    ("trade_ids_lost", "Missing ids that could not be recovered.", lambda each: each.lost),
    (
        "trades_unproven_seconds",
        "Time in which trades may be missing, where ids do not tell.",
        lambda each: each.unproven_s,
    ),
]

_QUOTES: Final[list[tuple[str, str, Callable[[InstrumentStats], float]]]] = [
    ("quotes", "Quotes published.", lambda each: each.quotes),
    (
        "quotes_old",
        "Quotes dropped: not newer than the one before.",
        lambda each: each.old_quotes,
    ),
]

_BOOK: Final[list[tuple[str, str, Callable[[BookStats], float]]]] = [
    ("book_updates", "Changes of the order book published.", lambda book: book.updates),
    ("book_snapshots", "Whole order books published.", lambda book: book.snapshots),
    ("book_breaks", "How often the order book was lost.", lambda book: book.breaks),
]

_LINK: Final[list[tuple[str, str, Callable[[LinkStats], float]]]] = [
    (
        "connection_rotations",
        "Planned replacements of the connection.",
        lambda each: each.rotations,
    ),
    ("connection_first_trades", "Trades that it delivered first.", lambda each: each.won),
]

_FEED: Final[list[tuple[str, str, Callable[[FeedStats], float | None]]]] = [
    (
        "rest_weight",
        "REST weight used in the venue's current window.",
        lambda feed: feed.rest_weight,
    ),
    (
        "rest_weight_limit",
        "REST weight allowed in one window.",
        lambda feed: feed.rest_weight_limit,
    ),
    (
        "venue_clock_offset_seconds",
        "The venue's clock minus ours.",
        lambda feed: _seconds(feed.clock_offset_ns),
    ),
    (
        "venue_clock_uncertainty_seconds",
        "Uncertainty of the clock offset.",
        lambda feed: _seconds(feed.clock_uncertainty_ns),
    ),
]

_LOG: Final[list[tuple[str, str, Callable[[LogStats], float]]]] = [
    ("log_bytes", "Memory used by the log.", lambda log: log.size_bytes),
    ("log_capacity_bytes", "Memory limit of the log.", lambda log: log.capacity_bytes),
    ("log_frames", "Frames kept for slow readers.", lambda log: log.frames),
    ("log_span_seconds", "Age of the oldest frame in the log.", lambda log: log.span_s),
]

_PUBLISHED: Final[list[tuple[str, str, Callable[[LogStats], float]]]] = [
    ("published_trades", "Trades published.", lambda log: log.trades),
    ("published_blocks", "Blocks published.", lambda log: log.blocks),
    ("published_events", "Events published.", lambda log: log.events),
]

_TRANSPORT: Final[list[tuple[str, str, Callable[[TransportStats], float]]]] = [
    ("consumers_accepted", "Readers accepted.", lambda each: each.accepted),
    ("consumers_refused", "Readers refused.", lambda each: each.refused),
    (
        "consumer_lost_records",
        "Trades and events that readers lost because they were slow.",
        lambda each: each.lost,
    ),
]

_READERS: Final[list[tuple[str, str, Callable[[TransportStats], float]]]] = [
    ("consumers", "Connected readers.", lambda each: len(each.consumers)),
    (
        "consumer_lag_bytes_max",
        "Unsent bytes of the slowest reader.",
        lambda each: max((reader.lag_bytes for reader in each.consumers), default=0),
    ),
    (
        "consumer_lag_seconds_max",
        "Lag of the slowest reader.",
        lambda each: max((reader.lag_ms or 0 for reader in each.consumers), default=0) / 1000,
    ),
]

_JOURNAL: Final[list[tuple[str, str, Callable[[JournalStats], float]]]] = [
    ("journal_written_seq", "Last number in the files.", lambda each: each.written_seq),
    (
        "journal_synced_seq",
        "Last number that would outlive a power cut.",
        lambda each: each.synced_seq,
    ),
    ("journal_lag_bytes", "Bytes that wait to be written.", lambda each: each.lag_bytes),
    (
        "journal_write_p99_seconds",
        "How long one write in a hundred took, or longer, in about a minute.",
        lambda each: _seconds(each.write.p99_ns if each.write else 0) or 0,
    ),
    (
        "journal_sync_p99_seconds",
        "How long one sync in a hundred took, or longer, in about a minute.",
        lambda each: _seconds(each.sync.p99_ns if each.sync else 0) or 0,
    ),
]

_JOURNALED: Final[list[tuple[str, str, Callable[[JournalStats], float]]]] = [
    ("journal_written_bytes", "Bytes written.", lambda each: each.bytes),
    ("journal_segments", "Segments begun.", lambda each: each.segments),
    ("journal_sync_failures", "Syncs that failed.", lambda each: each.sync_failures),
    (
        "journal_lost_records",
        "Trades and events that are not in the files: the disk was too slow, or away.",
        lambda each: each.lost,
    ),
]

_GROUP: Final[list[tuple[str, str, Callable[[GroupStats], float]]]] = [
    ("multicast_packets", "Packets sent, on all lines.", lambda each: each.packets),
    ("multicast_bytes", "Bytes sent, on all lines.", lambda each: each.bytes),
    ("multicast_unsent_packets", "Packets that the system did not take.", lambda each: each.unsent),
    ("multicast_left_out_records", "Records that fit no packet.", lambda each: each.left_out),
    (
        "multicast_lost_records",
        "Trades and events that the log dropped before they were sent.",
        lambda each: each.lost,
    ),
]


_RING: Final[list[tuple[str, str, Callable[[RingStats], float | None]]]] = [
    ("rings_writer_seq", "Number of the ring's newest record.", lambda each: each.seq),
    ("rings_symbols", "Symbols of the ring.", lambda each: each.symbols),
    ("rings_symbols_live", "Symbols of the ring that are live.", lambda each: each.symbols_live),
    ("rings_waiting_trades", "Trades that wait to be written.", lambda each: each.waiting),
    (
        "rings_dedupe_size",
        "Trades of earlier starts that are left out if they come again.",
        lambda each: each.dedupe_size,
    ),
    (
        "rings_receive_to_write_avg_seconds",
        "From the socket to the ring, on average of a second.",
        lambda each: _of_ms(each.recv_to_write_ms_avg),
    ),
    (
        "rings_receive_to_write_max_seconds",
        "From the socket to the ring, the longest of a second.",
        lambda each: _of_ms(each.recv_to_write_ms_max),
    ),
    (
        "rings_exchange_to_receive_avg_seconds",
        "From the venue's trade time to our socket, on average of a second.",
        lambda each: _of_ms(each.exchange_to_recv_ms_avg),
    ),
]

_RINGED: Final[list[tuple[str, str, Callable[[RingStats], float]]]] = [
    ("rings_trades", "Trades written to the ring.", lambda each: each.trades),
    ("rings_trade_bytes", "Bytes written to the ring.", lambda each: each.bytes),
    ("rings_lost", "Records known to be missing in the ring.", lambda each: each.lost),
    (
        "rings_repeated_trades",
        "Trades left out: the ring had them from an earlier start.",
        lambda each: each.repeated,
    ),
]


class Metrics:
    """Renders the body of `/metrics`."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def content_type(self, *, is_open: bool) -> str:
        return openmetrics.CONTENT_TYPE_LATEST if is_open else CONTENT_TYPE_PLAIN_0_0_4

    def render(self, stats: ServiceStats, *, is_open: bool) -> Iterator[str]:
        """The body piece by piece, in OpenMetrics or in Prometheus's text format."""
        for name, kind, words, samples in _families(stats):
            yield from pieces(f"fanout_{name}", kind, words, samples, is_open=is_open)
        yield from self._latencies(stats)
        yield self._of_process(is_open=is_open)
        if is_open:
            yield "# EOF\n"

    def _latencies(self, stats: ServiceStats) -> Iterator[str]:
        yield from histogram_pieces(
            "fanout_exchange_to_receive_seconds",
            "From the venue's trade time to our socket, oldest trade of each read; at least 0.",
            self._delays(stats.all_channels),
        )
        yield from histogram_pieces(
            "fanout_receive_to_send_seconds",
            "From the venue's socket to the readers', oldest record of each write.",
            (
                _buckets(labels(transport=shown.url), transport.sending)
                for transport, shown in zip(self._monitor.transports, stats.transports, strict=True)
            ),
        )

    def _delays(self, channels: Channels) -> Iterator[tuple[str, list[Sample], float]]:
        for channel in channels:
            feed = self._monitor.feed_of(channel.name)
            for index, each in enumerate(channel.feed.instruments):
                if feed is not None:
                    shown = labels(channel=channel.name, symbol=each.symbol)
                    yield _buckets(shown, feed.view.delay(index))

    def _of_process(self, *, is_open: bool) -> str:
        if not is_open:
            return generate_latest(self._process).decode()
        text: bytes = openmetrics.generate_latest(self._process)  # type: ignore[no-untyped-call]
        return text.decode().removesuffix("# EOF\n")


def _families(stats: ServiceStats) -> Iterator[Family]:
    channels = stats.all_channels
    yield "build", Kind.INFO, "Versions in use.", [(labels(**stats.versions), 1)]
    yield "ready", Kind.GAUGE, "Whether every symbol is live.", [("", stats.is_ready)]
    yield "uptime_seconds", Kind.GAUGE, "Time since the start.", [("", stats.uptime_s)]
    yield "tasks", Kind.GAUGE, "Tasks of the event loop.", [("", stats.process.tasks)]
    yield from _of_channels(channels)
    yield _readers_of(channels, stats.transports)
    yield from _of_instruments(channels)
    yield from _of_feeds(channels)
    yield from _of_links(channels)
    yield from _of_transports(stats.transports)
    yield from _of_journals(stats.transports)
    yield from _of_groups(stats.transports)
    yield from _of_rings(stats.transports)


def _of_channels(channels: Channels) -> Iterator[Family]:
    venues = [(labels(channel=each.name, venue=each.venue), 1) for each in channels]
    yield "channel", Kind.INFO, "The channel's venue.", venues
    ready = [(labels(channel=each.name), each.is_ready) for each in channels]
    yield "channel_ready", Kind.GAUGE, "Whether the channel's symbols are live.", ready
    for kind, table in ((Kind.GAUGE, _LOG), (Kind.COUNTER, _PUBLISHED)):
        for name, words, value in table:
            yield (
                name,
                kind,
                words,
                [(labels(channel=each.name), value(each.log)) for each in channels],
            )


def _readers_of(channels: Channels, transports: tuple[TransportStats, ...]) -> Family:
    counts = Counter(reader.channel for each in transports for reader in each.consumers)
    samples = [(labels(channel=each.name), counts[each.name]) for each in channels]
    return "channel_consumers", Kind.GAUGE, "Readers of the channel, over all transports.", samples


def _of_instruments(channels: Channels) -> Iterator[Family]:
    rows = [
        (each.name, row, labels(channel=each.name, symbol=row.symbol))
        for each in channels
        for row in each.feed.instruments
    ]
    now_s = time.time()
    states = (
        (labels(channel=channel, symbol=row.symbol, state=state), row.state == state)
        for channel, row, _ in rows
        for state in FeedState.__members__
    )
    yield "symbol_state", Kind.GAUGE, "1 for the symbol's current state, otherwise 0.", states
    newest = (
        (shown, now_s - row.last_trade_s) for _, row, shown in rows if row.last_trade_s is not None
    )
    yield "last_trade_timestamp_seconds", Kind.GAUGE, "Arrival of the last trade.", newest
    gaps = ((shown, row.open_gaps) for _, row, shown in rows)
    yield "open_gaps", Kind.GAUGE, "Ranges of missing ids that are being recovered.", gaps
    for name, words, value in _INSTRUMENT:
        yield name, Kind.COUNTER, words, [(shown, value(row)) for _, row, shown in rows]
    quoted = [(shown, row) for _, row, shown in rows if row.quotes or row.old_quotes]
    for name, words, value in _QUOTES:
        yield name, Kind.COUNTER, words, [(shown, value(row)) for shown, row in quoted]
    books = [(shown, row.book) for _, row, shown in rows if row.book is not None]
    whole = [(shown, book.is_whole) for shown, book in books]
    yield "book_whole", Kind.GAUGE, "Whether the order book is known.", whole
    for name, words, of_book in _BOOK:
        yield name, Kind.COUNTER, words, [(shown, of_book(book)) for shown, book in books]


def _of_feeds(channels: Channels) -> Iterator[Family]:
    feeds = [(labels(channel=each.name), each.feed) for each in channels]
    messages = [(shown, feed.messages) for shown, feed in feeds]
    yield "feed_messages", Kind.COUNTER, "WebSocket messages received.", messages
    opened = [(shown, feed.connections) for shown, feed in feeds]
    yield "feed_connections", Kind.COUNTER, "Connections opened.", opened
    for name, words, value in _FEED:
        known = [(shown, value(feed)) for shown, feed in feeds]
        yield name, Kind.GAUGE, words, [(shown, it) for shown, it in known if it is not None]
    odd = [
        (labels(channel=each.name, kind=kind), times)
        for each in channels
        for kind, times in each.feed.anomalies.items()
    ]
    yield "feed_anomalies", Kind.COUNTER, "Anomalies of the feed, by kind.", odd


def _of_links(channels: Channels) -> Iterator[Family]:
    links = [
        (labels(channel=each.name, link=link.name), link)
        for each in channels
        for link in each.feed.links
    ]
    is_open = [(shown, link.open_s is not None) for shown, link in links]
    yield "connection_open", Kind.GAUGE, "Whether the connection is open.", is_open
    for name, words, count in _LINK:
        yield name, Kind.COUNTER, words, [(shown, count(link)) for shown, link in links]


def _of_transports(transports: tuple[TransportStats, ...]) -> Iterator[Family]:
    for kind, table in ((Kind.COUNTER, _TRANSPORT), (Kind.GAUGE, _READERS)):
        for name, words, value in table:
            yield (
                name,
                kind,
                words,
                [(labels(transport=each.url), value(each)) for each in transports],
            )
    odd = [
        (labels(transport=each.url, kind=kind), times)
        for each in transports
        for kind, times in each.anomalies.items()
    ]
    yield "consumer_anomalies", Kind.COUNTER, "Anomalies of readers, by kind.", odd


def _of_journals(transports: tuple[TransportStats, ...]) -> Iterator[Family]:
    kept = [(labels(channel=row.channel), row) for each in transports for row in each.journal]
    states = [
        (labels(channel=row.channel, state=state), row.state == state)
        for _, row in kept
        for state in State.__members__
    ]
    yield "journal_state", Kind.GAUGE, "1 for the journal's current state, otherwise 0.", states
    rooms = [(shown, row.free_bytes) for shown, row in kept if row.free_bytes is not None]
    yield "journal_free_bytes", Kind.GAUGE, "Room on the journal's disk.", rooms
    for kind, table in ((Kind.GAUGE, _JOURNAL), (Kind.COUNTER, _JOURNALED)):
        for name, words, value in table:
            yield name, kind, words, [(shown, value(row)) for shown, row in kept]


def _of_groups(transports: tuple[TransportStats, ...]) -> Iterator[Family]:
    sent = [
        (labels(channel=row.channel, groups=" ".join(row.groups)), row)
        for each in transports
        for row in each.groups
    ]
    for name, words, value in _GROUP:
        yield name, Kind.COUNTER, words, [(shown, value(row)) for shown, row in sent]


def _of_rings(transports: tuple[TransportStats, ...]) -> Iterator[Family]:
    rings = [
        (labels(channel=row.channel, ring=row.name), row)
        for each in transports
        for row in each.rings
    ]
    written = [(shown, not row.why) for shown, row in rings]
    yield "rings_written", Kind.GAUGE, "Whether the ring can be written.", written
    for name, words, value in _RING:
        known = [(shown, value(row)) for shown, row in rings]
        yield name, Kind.GAUGE, words, [(shown, it) for shown, it in known if it is not None]
    for name, words, count in _RINGED:
        yield name, Kind.COUNTER, words, [(shown, count(row)) for shown, row in rings]


def _buckets(shown: str, histogram: Histogram) -> tuple[str, list[Sample], float]:
    counts = histogram.cumulative()
    buckets: list[Sample] = [(name, counts[place]) for name, place in _BUCKETS]
    buckets.append(("+Inf", histogram.count))
    return shown, buckets, histogram.sum_ns / 1e9


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _of_ms(ms: float | None) -> float | None:
    return None if ms is None else ms / 1e3
