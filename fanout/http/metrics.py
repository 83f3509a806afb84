"""/metrics: the service's counters in Prometheus's words, read when they are scraped.

Names end in their unit, counters in `_total`; times are seconds. What belongs to a channel has the
label `channel`, and `fanout_channel_info` says which venue that is. A symbol has some 40 series, 24
of them its histogram. Clients come and go with a port each, so no metric has a label for them: of
clients there are counts, sums and the worst.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from fanout.http.monitor import Monitor
from fanout.protocol.constants import FeedState
from fanout.stats.histogram import BOUNDS_NS, Histogram
from fanout.stats.snapshots import (
    ChannelStats,
    FeedStats,
    InstrumentStats,
    LinkStats,
    LogStats,
    ServiceStats,
    TransportStats,
)

Channels = tuple[ChannelStats, ...]

_BUCKETS: Final = [
    (f"{each / 1e9:g}", place)
    for place, each in enumerate(BOUNDS_NS)
    if each >= 10_000 and str(each).rstrip("0") in ("1", "25", "5")
]
"""Ends of the buckets of latencies, in seconds, and their places in a histogram: 1, 2.5 and 5 in
each power of ten, from 10 us to 50 s."""

_INSTRUMENT: Final[list[tuple[str, str, Callable[[InstrumentStats], float]]]] = [
    ("trades", "Trades published.", lambda each: each.trades),
    ("trades_back_filled", "Of them, filled in over REST.", lambda each: each.back_filled),
    ("trades_duplicate", "Trades that came again.", lambda each: each.duplicates),
    ("trades_refused", "Trades whose values fit no field.", lambda each: each.refused),
    ("trade_ids_spent", "Ids that the venue used up without a trade.", lambda each: each.spent),
    ("trade_ids_missing", "Ids that did not come in their turn.", lambda each: each.missing),
    ("trade_ids_no_trade", "Of them, no trades after all.", lambda each: each.no_trade),
    ("trade_ids_lost", "Of them, lost for good.", lambda each: each.lost),
]

_LINK: Final[list[tuple[str, str, Callable[[LinkStats], float]]]] = [
    ("connection_rotations", "Connections replaced in time.", lambda each: each.rotations),
    ("connection_first_trades", "Trades it was the first to bring.", lambda each: each.won),
]

_FEED: Final[list[tuple[str, str, Callable[[FeedStats], float | None]]]] = [
    ("rest_weight", "REST weight used in this minute.", lambda feed: feed.rest_weight),
    ("rest_weight_limit", "REST weight allowed a minute.", lambda feed: feed.rest_weight_limit),
    (
        "venue_clock_offset_seconds",
        "The venue's clock less ours.",
        lambda feed: _seconds(feed.clock_offset_ns),
    ),
    (
        "venue_clock_uncertainty_seconds",
        "Give or take.",
        lambda feed: _seconds(feed.clock_uncertainty_ns),
    ),
]

_LOG: Final[list[tuple[str, str, Callable[[LogStats], float]]]] = [
    ("log_bytes", "Memory that the log takes.", lambda log: log.size_bytes),
    ("log_capacity_bytes", "Memory that the log may take.", lambda log: log.capacity_bytes),
    ("log_frames", "Frames kept for slow readers.", lambda log: log.frames),
    ("log_span_seconds", "Age of the oldest of them.", lambda log: log.span_s),
]

_PUBLISHED: Final[list[tuple[str, str, Callable[[LogStats], float]]]] = [
    ("published_trades", "Trades put into the log.", lambda log: log.trades),
    ("published_blocks", "Blocks put into the log.", lambda log: log.blocks),
    ("published_events", "Events put into the log.", lambda log: log.events),
]

_TRANSPORT: Final[list[tuple[str, str, Callable[[TransportStats], float]]]] = [
    ("consumers_accepted", "Readers let in.", lambda each: each.accepted),
    ("consumers_refused", "Readers turned away.", lambda each: each.refused),
    (
        "consumer_lost_records",
        "Trades and events that readers were told they lost.",
        lambda each: each.lost,
    ),
]

_READERS: Final[list[tuple[str, str, Callable[[TransportStats], float]]]] = [
    ("consumers", "Readers that are there.", lambda each: len(each.consumers)),
    (
        "consumer_lag_bytes_max",
        "What the slowest reader has yet to take.",
        lambda each: max((reader.lag_bytes for reader in each.consumers), default=0),
    ),
    (
        "consumer_lag_seconds_max",
        "For how long the slowest reader has been behind.",
        lambda each: max((reader.lag_ms or 0 for reader in each.consumers), default=0) / 1000,
    ),
]


class ServiceCollector(Collector):
    """Makes metrics of a monitor's snapshot when it is asked to, and does nothing between."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        stats = self._monitor.stats()
        channels = stats.all_channels
        yield InfoMetricFamily("fanout_build", "What is in use.", stats.versions)
        yield _gauge("ready", "Whether every symbol is live.", stats.is_ready)
        yield _gauge("uptime_seconds", "Since the start.", stats.uptime_s)
        yield _gauge("tasks", "Tasks of the event loop.", stats.process.tasks)
        yield from _of_channels(channels)
        yield from _of_instruments(channels)
        yield from _of_feeds(channels)
        yield from _of_links(channels)
        yield from _of_transports(stats)
        yield from self._latencies(stats)

    def _latencies(self, stats: ServiceStats) -> Iterator[Metric]:
        delay = HistogramMetricFamily(
            "fanout_exchange_to_receive_seconds",
            "The venue's time in a trade to ours, of the oldest in each read; below 0 counts as 0.",
            labels=["channel", "symbol"],
        )
        for channel in stats.all_channels:
            feed = self._monitor.feed_of(channel.name)
            for index, each in enumerate(channel.feed.instruments):
                if feed is not None:
                    _add_histogram(delay, [channel.name, each.symbol], feed.view.delay(index))
        yield delay
        sending = HistogramMetricFamily(
            "fanout_receive_to_send_seconds",
            "From the venue's socket to the readers', of the oldest of what is handed on at once.",
            labels=["transport"],
        )
        for transport, shown in zip(self._monitor.transports, stats.transports, strict=True):
            _add_histogram(sending, [shown.url], transport.sending)
        yield sending


class Metrics:
    """What /metrics answers."""

    def __init__(self, monitor: Monitor) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ServiceCollector(monitor))
        ProcessCollector(registry=self._registry)

    def render(self, *, is_open: bool) -> tuple[str, bytes]:
        """Content type and body, in OpenMetrics or in Prometheus's own text format."""
        if is_open:
            return openmetrics.CONTENT_TYPE_LATEST, _open_metrics(self._registry)
        return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)


def _open_metrics(registry: CollectorRegistry) -> bytes:
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


def _of_channels(channels: Channels) -> Iterator[Metric]:
    info = InfoMetricFamily("fanout_channel", "The channel's venue.", labels=["channel", "venue"])
    for each in channels:
        info.add_metric([each.name, each.venue], {})
    yield info
    yield _each(channels, "channel_ready", "Whether its symbols are live.", lambda it: it.is_ready)
    for name, words, value in _LOG:
        yield _each(channels, name, words, _of_log(value))
    for name, words, value in _PUBLISHED:
        yield _count_each(channels, name, words, _of_log(value))


def _of_instruments(channels: Channels) -> Iterator[Metric]:
    rows = [([each.name, row.symbol], row) for each in channels for row in each.feed.instruments]
    labels = ["channel", "symbol"]
    state = GaugeMetricFamily(
        "fanout_symbol_state", "1 for the state that it is in.", labels=[*labels, "state"]
    )
    newest = GaugeMetricFamily(
        "fanout_last_trade_timestamp_seconds", "When the last one came.", labels=labels
    )
    gaps = GaugeMetricFamily(
        "fanout_open_gaps", "Ranges of ids that are missing and looked for.", labels=labels
    )
    now_s = time.time()
    for key, each in rows:
        for name in FeedState.__members__:
            state.add_metric([*key, name], each.state == name)
        if each.last_trade_s is not None:
            newest.add_metric(key, now_s - each.last_trade_s)
        gaps.add_metric(key, each.open_gaps)
    yield from (state, newest, gaps)
    for name, words, value in _INSTRUMENT:
        counter = CounterMetricFamily(f"fanout_{name}", words, labels=labels)
        for key, each in rows:
            counter.add_metric(key, value(each))
        yield counter


def _of_feeds(channels: Channels) -> Iterator[Metric]:
    yield _count_each(
        channels, "feed_messages", "WebSocket messages.", lambda each: each.feed.messages
    )
    yield _count_each(
        channels, "feed_connections", "Connections that opened.", lambda each: each.feed.connections
    )
    for name, words, value in _FEED:
        yield _each(channels, name, words, _of_feed(value))
    odd = CounterMetricFamily(
        "fanout_feed_anomalies", "What was odd, by kind.", labels=["channel", "kind"]
    )
    for each in channels:
        for kind, times in each.feed.anomalies.items():
            odd.add_metric([each.name, kind], times)
    yield odd


def _of_links(channels: Channels) -> Iterator[Metric]:
    rows = [([each.name, link.name], link) for each in channels for link in each.feed.links]
    is_open = GaugeMetricFamily(
        "fanout_connection_open", "Whether it has a connection.", labels=["channel", "link"]
    )
    for key, link in rows:
        is_open.add_metric(key, link.open_s is not None)
    yield is_open
    for name, words, count in _LINK:
        counter = CounterMetricFamily(f"fanout_{name}", words, labels=["channel", "link"])
        for key, link in rows:
            counter.add_metric(key, count(link))
        yield counter


def _of_transports(stats: ServiceStats) -> Iterator[Metric]:
    for name, words, value in _TRANSPORT:
        counter = CounterMetricFamily(f"fanout_{name}", words, labels=["transport"])
        for each in stats.transports:
            counter.add_metric([each.url], value(each))
        yield counter
    for name, words, value in _READERS:
        gauge = GaugeMetricFamily(f"fanout_{name}", words, labels=["transport"])
        for each in stats.transports:
            gauge.add_metric([each.url], value(each))
        yield gauge
    odd = CounterMetricFamily(
        "fanout_consumer_anomalies", "What was odd about readers.", labels=["transport", "kind"]
    )
    for each in stats.transports:
        for kind, times in each.anomalies.items():
            odd.add_metric([each.url, kind], times)
    yield odd


def _of_log(value: Callable[[LogStats], float]) -> Callable[[ChannelStats], float]:
    return lambda channel: value(channel.log)


def _of_feed(value: Callable[[FeedStats], float | None]) -> Callable[[ChannelStats], float | None]:
    return lambda channel: value(channel.feed)


def _each(
    channels: Channels, name: str, words: str, value: Callable[[ChannelStats], float | None]
) -> Metric:
    """A gauge of each channel that has a value."""
    gauge = GaugeMetricFamily(f"fanout_{name}", words, labels=["channel"])
    for each in channels:
        if (known := value(each)) is not None:
            gauge.add_metric([each.name], known)
    return gauge


def _count_each(
    channels: Channels, name: str, words: str, value: Callable[[ChannelStats], float]
) -> Metric:
    counter = CounterMetricFamily(f"fanout_{name}", words, labels=["channel"])
    for each in channels:
        counter.add_metric([each.name], value(each))
    return counter


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fanout_{name}", words, value=value)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    counts = histogram.cumulative()
    buckets: list[tuple[str, float]] = [(name, counts[place]) for name, place in _BUCKETS]
    buckets.append(("+Inf", histogram.count))
    family.add_metric(labels, buckets, sum_value=histogram.sum_ns / 1e9)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9
