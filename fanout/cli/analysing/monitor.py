"""What the HTTP port of a consumer answers.

/metrics   metrics for Prometheus
/healthz   200 while the process answers at all
/readyz    200 while every input is connected, or has ended; otherwise 503, and what is wrong
/status    the figures, as JSON: `fanout.cli.analysing.figures.Figures`
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import h11
import msgspec
import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fanout.cli.analysing.figures import Counts
from fanout.cli.outcome import say
from fanout.config import HttpConfig
from fanout.http.answer import JSON, Answer
from fanout.http.serving import RouteServer

_OF_ALL = {
    "rows": "Rows made.",
    "dropped": "Rows that an output had to drop.",
}
_OF_STREAMS = {
    "records": "Records received.",
    "late": "Records that went on behind newer ones of other inputs.",
    "lost": "Records that this consumer will never get.",
    "reconnects": "Connections that were lost, or could not be made.",
}


class Monitor(RouteServer):
    """The server."""

    def __init__(
        self,
        counts: Counts,
        *,
        name: str = "analytics",
        status: Callable[[], bytes] | None = None,
    ) -> None:
        """`name` stands in the names of the metrics. `status` gives what `/status` answers, if that
        is not the figures."""
        super().__init__(
            {
                "/metrics": self._metrics,
                "/healthz": self._health,
                "/readyz": self._readiness,
                "/status": self._status,
            }
        )
        self._counts = counts
        self._said = status or (lambda: msgspec.json.encode(counts.figures()))
        self._registry = CollectorRegistry()
        self._registry.register(_Collected(counts, f"fanout_{name}"))
        ProcessCollector(registry=self._registry)

    async def _metrics(self, _: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    async def _health(self, _: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, b"ok\n")

    async def _readiness(self, _: h11.Request) -> Answer:
        troubles = self._counts.troubles()
        if troubles:
            lines = "".join(f"{each}\n" for each in troubles)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, lines.encode())
        return Answer(HTTPStatus.OK, b"ready\n")

    async def _status(self, _: h11.Request) -> Answer:
        return Answer(HTTPStatus.OK, self._said() + b"\n", JSON)


class _Collected(Collector):
    def __init__(self, counts: Counts, prefix: str) -> None:
        self._counts = counts
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        figures = self._counts.figures()
        for name, text in _OF_ALL.items():
            yield CounterMetricFamily(f"{self._prefix}_{name}", text, getattr(figures, name))
        for name, text in _OF_STREAMS.items():
            counter = CounterMetricFamily(f"{self._prefix}_{name}", text, labels=["input"])
            for each in figures.streams:
                counter.add_metric([each.address], getattr(each, name))
            yield counter
        if figures.failed_models is not None:
            yield CounterMetricFamily(
                f"{self._prefix}_failed_models",
                "Models of signals that failed, one for each signal and instrument.",
                figures.failed_models,
            )
        yield GaugeMetricFamily(
            f"{self._prefix}_waiting", "Records between inputs and processing.", figures.waiting
        )
        if figures.lag_ns is not None:
            yield GaugeMetricFamily(
                f"{self._prefix}_lag_seconds",
                "From the receipt of the newest record at the service to its rows.",
                figures.lag_ns / 1e9,
            )


@asynccontextmanager
async def answering(
    config: HttpConfig | None,
    counts: Counts,
    *,
    name: str = "analytics",
    status: Callable[[], bytes] | None = None,
) -> AsyncIterator[None]:
    """Answer over HTTP within the block, where that is asked for. `name` and `status` as in
    `Monitor`. Raises `BindError`; like every nursery, perhaps in an exception group."""
    if config is None:
        yield
        return
    monitor = Monitor(counts, name=name, status=status)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(monitor.run, config.host, config.port)
        say(f"answering {url}/status, /metrics, /healthz and /readyz")
        yield
        nursery.cancel_scope.cancel()
