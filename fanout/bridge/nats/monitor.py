"""What the HTTP port of the bridge to NATS answers."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fanout.bridge.http import Routes
from fanout.bridge.nats.stats import LAG_LIMIT_S, BridgeState, ChannelStats
from fanout.http.answer import JSON, Answer
from fanout.stats.histogram import BOUNDS_NS

_COUNTERS = {
    "messages": "Messages with records, headers and snapshots that the stream has acknowledged.",
    "records": "Records published.",
    "bytes": "Bytes of acknowledged messages, without their headers.",
    "lost": "Records that the stream tells as lost.",
    "headers": "Headers published.",
    "snapshots": "Snapshots published.",
    "reconnects": "Attempts after an error.",
    "foreign": "How often a message of somebody else took the place of one of ours.",
}

_BUCKETS = [
    place
    for place, each in enumerate(BOUNDS_NS)
    if each >= 100_000 and str(each).rstrip("0") in ("1", "25", "5")
]
"""Of the ranges of a histogram: 1, 2.5 and 5 in each power of ten from 100 us on."""


def routes(channels: Sequence[ChannelStats]) -> Routes:
    """What answers each path, from the counts of these channels."""
    registry = CollectorRegistry()
    registry.register(_Channels(channels))
    ProcessCollector(registry=registry)

    def metrics() -> Answer:
        return Answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)

    def healthz() -> Answer:
        return Answer(HTTPStatus.OK, b"ok\n")

    def readyz() -> Answer:
        troubles = [words for each in channels if (words := trouble(each))]
        if troubles:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "".join(troubles).encode())
        return Answer(HTTPStatus.OK, b"ready\n")

    def status() -> Answer:
        figures = [each.figures() for each in channels]
        return Answer(HTTPStatus.OK, msgspec.json.encode({"channels": figures}), JSON)

    return {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/status": status}


def trouble(stats: ChannelStats) -> str:
    """Why a channel is not passed on, as a line; empty if it is."""
    if stats.waited_s > LAG_LIMIT_S:
        return f"channel {stats.channel}: no acknowledgement for {stats.waited_s:.0f} s\n"
    if stats.state not in (BridgeState.STARTING, BridgeState.RETRYING):
        return ""
    why = f": {stats.why}" if stats.why else ""
    return f"channel {stats.channel} is {stats.state}{why}\n"


class _Channels(Collector):
    def __init__(self, channels: Sequence[ChannelStats]) -> None:
        self._channels = channels

    def collect(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"fanout_bridge_{name}", text, labels=["channel"])
            for each in self._channels:
                counter.add_metric([each.channel], getattr(each, name))
            yield counter
        for name, text in (
            ("window", "Messages without an acknowledgement."),
            ("lag_s", "From the exchange's socket to the acknowledgement, of the newest records."),
            ("waited_s", "Age of the oldest message without an acknowledgement."),
            ("next_seq", "The number behind the last record that was acknowledged."),
        ):
            shown = name.removesuffix("_s") + "_seconds" if name.endswith("_s") else name
            gauge = GaugeMetricFamily(f"fanout_bridge_{shown}", text, labels=["channel"])
            for each in self._channels:
                gauge.add_metric([each.channel], getattr(each, name))
            yield gauge
        yield self._states()
        yield self._acks()

    def _states(self) -> Metric:
        gauge = GaugeMetricFamily(
            "fanout_bridge_state", "1 for the state that it is in.", labels=["channel", "state"]
        )
        for each in self._channels:
            for state in BridgeState:
                gauge.add_metric([each.channel, state.value], float(each.state is state))
        return gauge

    def _acks(self) -> Metric:
        family = HistogramMetricFamily(
            "fanout_bridge_ack_seconds",
            "From the publication of a message to its acknowledgement.",
            labels=["channel"],
        )
        for each in self._channels:
            counts = each.acks.cumulative()
            buckets = [(f"{BOUNDS_NS[place] / 1e9:g}", counts[place]) for place in _BUCKETS]
            family.add_metric(
                [each.channel], [*buckets, ("+Inf", counts[-1])], each.acks.sum_ns / 1e9
            )
        return family
