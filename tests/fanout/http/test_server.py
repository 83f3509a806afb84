"""The HTTP server of a running service, over real sockets, in the test's own process."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio
from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import DEFAULT_LOG_BYTES, HttpConfig
from fanout.errors import BindError
from fanout.http import server, serving
from fanout.http.monitor import Monitor
from fanout.protocol import Trade
from fanout.protocol.framing import frame
from fanout.protocol.request import Request, encode_request
from fanout.service import run_service
from fanout.simulator.faults import Drop, Http, Skip, Spend
from fanout.stats.pieces import Pieces, at_once
from fanout.stats.snapshots import JournalStats, ServiceStats
from fanout.transports.journal.config import JournalConfig
from fanout.transports.multicast.config import MulticastConfig
from fanout.transports.shm.config import ShmConfig
from fanout.transports.tcp.config import TcpConfig
from tests.fanout.http.watched import Watched, until_ready, watched, watched_pair
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.inside import Running, config_for, one_source

Parse = Callable[[str], Iterable[Metric]]


@pytest.fixture(autouse=True)
def new_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEPT_S", 0)


async def read_trades(client: TrioTcpClient, count: int) -> None:
    async for record in client:
        count -= isinstance(record, Trade)
        if not count:
            return


async def test_status_reports_symbols_log_consumers_and_process() -> None:
    async with watched() as service, TrioTcpClient(service.tcp_url) as client:
        await read_trades(client, 50)
        stats = await service.stats()
        assert stats.is_ready
        assert stats.versions["wire"] == "2"
        assert [each.symbol for each in stats.feed.instruments] == ["BTCUSDT", "ETHUSDT"]
        for each in stats.feed.instruments:
            assert (each.state, each.stream) == ("LIVE", "trade")
            assert each.last_trade_s is not None
            assert 0 <= each.last_trade_s < 10
            assert each.trades_per_s > 10
            assert each.delay is not None
            assert each.delay.p50_ns <= each.delay.p99_ns <= each.delay.max_ns
        (link,) = stats.feed.links
        assert link.open_s is not None
        assert link.won >= 50
        assert stats.log.trades == sum(each.trades for each in stats.feed.instruments)
        assert stats.log.next_seq == 1 + stats.log.trades + stats.log.events
        assert (stats.log.first_seq, stats.log.span_s > 0) == (1, True)
        (transport,) = stats.transports
        assert transport.url == service.tcp_url
        (consumer,) = transport.consumers
        assert consumer.address.startswith("127.0.0.1:")
        assert 1 <= consumer.blocks <= stats.log.frames
        assert (consumer.lost, transport.accepted, transport.refused) == (0, 1, 0)
        assert transport.send is not None
        assert 0 < transport.send.p50_ns < 5_000_000_000
        assert stats.process.resident_bytes > 10_000_000
        assert 5 < stats.process.descriptors < stats.process.max_descriptors
        assert stats.process.tasks > 5


async def test_readyz_is_200_only_while_every_symbol_is_live_and_healthz_always() -> None:
    async with watched() as service:
        await until_ready(service)
        assert (await service.stats()).is_ready
        service.simulator.faults.inject(Drop())
        answer = await service.get("/readyz")
        while answer.status_code == 200:
            answer = await service.get("/readyz")
        assert answer.status_code == 503
        assert "BTCUSDT is " in answer.text
        assert (await service.get("/healthz")).text == "ok\n"
        await until_ready(service)


@pytest.mark.parametrize(
    ("accepts", "parse"),
    [
        ("text/plain", parse_text),
        ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
    ],
)
async def test_prometheus_can_parse_a_scrape(accepts: str, parse: Parse) -> None:
    async with watched() as service, TrioTcpClient(service.tcp_url) as client:
        await read_trades(client, 50)
        answer = await service.get("/metrics", accept=accepts)
        assert answer.headers["content-type"].startswith(accepts.partition(";")[0])
        families = {each.name: each for each in parse(answer.text)}
        stats = await service.stats()

    def value(family: str, sample: str, **labels: str) -> float:
        (found,) = [
            each.value
            for each in families[family].samples
            if each.name == sample and labels.items() <= each.labels.items()
        ]
        return float(found)

    name = service.tcp_url
    trades = value("fanout_trades", "fanout_trades_total", symbol="BTCUSDT")
    assert 1 <= trades <= stats.feed.instruments[0].trades
    assert value("fanout_symbol_state", "fanout_symbol_state", symbol="BTCUSDT", state="LIVE") == 1
    assert value("fanout_symbol_state", "fanout_symbol_state", symbol="BTCUSDT", state="DOWN") == 0
    assert value("fanout_consumers", "fanout_consumers", transport=name) == 1
    assert value("fanout_consumer_lost_records", "fanout_consumer_lost_records_total") == 0
    newest_s = value(
        "fanout_last_trade_timestamp_seconds",
        "fanout_last_trade_timestamp_seconds",
        symbol="BTCUSDT",
    )
    assert abs(time.time() - newest_s) < 10
    sending = "fanout_receive_to_send_seconds"
    buckets = [each for each in families[sending].samples if each.name.endswith("_bucket")]
    counts = [each.value for each in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == value(sending, f"{sending}_count") > 0
    assert value(sending, f"{sending}_sum") > 0
    assert "process_resident_memory_bytes" in families


async def journal_of(service: Watched) -> JournalStats:
    (stats,) = next(each.journal for each in (await service.stats()).transports if each.journal)
    return stats


async def test_multicast_has_metrics_for_each_channel() -> None:
    group = str(free_groups()[0])
    sent = MulticastConfig(group=group, interface=LOOPBACK)
    async with watched(transports=(TcpConfig(port=0), sent)) as service:
        await until_ready(service)
        text = (await service.get("/metrics")).text
        (stats,) = (await service.stats()).transports[1].groups
    found = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("fanout_multicast_")
    }
    label = f'{{channel="{stats.channel}",groups="{group}"}}'
    assert 0 < found[f"fanout_multicast_packets_total{label}"] <= stats.packets
    assert 0 < found[f"fanout_multicast_bytes_total{label}"] <= stats.bytes
    for name in ("unsent_packets", "left_out_records", "lost_records"):
        assert found[f"fanout_multicast_{name}_total{label}"] == 0


async def test_a_journal_has_metrics_for_each_channel(tmp_path: Path) -> None:
    transports = (TcpConfig(port=0), JournalConfig(dir=str(tmp_path), sync="always"))
    async with watched(transports=transports) as service:
        await until_ready(service)
        while not (stats := await journal_of(service)).synced_seq:  # noqa: ASYNC110  a thread
            await trio.sleep(0.01)
        text = (await service.get("/metrics")).text
        stats = await journal_of(service)
    found = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("fanout_journal_")
    }
    label = f'{{channel="{stats.channel}"}}'
    state = f'fanout_journal_state{{channel="{stats.channel}",state='
    assert {name: found[f'{state}"{name}"}}'] for name in ("WRITING", "FULL", "AWAY", "ENDED")} == {
        "WRITING": 1,
        "FULL": 0,
        "AWAY": 0,
        "ENDED": 0,
    }
    assert 0 < found[f"fanout_journal_synced_seq{label}"] <= stats.synced_seq
    assert found[f"fanout_journal_written_bytes_total{label}"] > 0
    assert found[f"fanout_journal_segments_total{label}"] == 1
    assert found[f"fanout_journal_lost_records_total{label}"] == 0
    assert 0 < found[f"fanout_journal_sync_p99_seconds{label}"] < 30


async def test_quotes_and_books_have_metrics_where_they_are_taken() -> None:
    async with watched(data=("trades", "quotes", "book")) as service:
        await until_ready(service)
        (symbol, _) = (await service.stats()).feed.instruments
        while symbol.book is None or not (symbol.book.updates and symbol.quotes):
            await trio.sleep(0.02)
            (symbol, _) = (await service.stats()).feed.instruments
        text = (await service.get("/metrics")).text
        (symbol, _) = (await service.stats()).feed.instruments
    assert symbol.book is not None
    assert symbol.book.is_whole
    values = {
        each.name: each.value
        for family in parse_text(text)
        for each in family.samples
        if each.labels.get("symbol") == "BTCUSDT"
    }
    assert values["fanout_book_whole"] == 1
    assert values["fanout_book_snapshots_total"] >= 1
    assert values["fanout_book_breaks_total"] == 0
    assert 0 < values["fanout_book_updates_total"] <= symbol.book.updates
    assert 0 < values["fanout_quotes_total"] <= symbol.quotes
    async with watched() as service:
        await until_ready(service)
        samples = (await service.get("/metrics")).text.splitlines()
    assert not [each for each in samples if each.startswith(("fanout_book", "fanout_quote"))]


async def test_metric_names_have_units_and_no_label_per_client() -> None:
    async with watched() as service:
        text = (await service.get("/metrics")).text
        async with TrioTcpClient(service.tcp_url) as client:
            await read_trades(client, 5)
            with_a_client = (await service.get("/metrics")).text
    series = {each.rsplit(" ", 1)[0] for each in text.splitlines() if not each.startswith("#")}
    again = {
        each.rsplit(" ", 1)[0] for each in with_a_client.splitlines() if not each.startswith("#")
    }
    assert not {each for each in again - series if "127.0.0.1" in each.partition("transport=")[0]}
    assert {each for each in again if not each.startswith(("fanout_", "process_"))} == set()
    for each in parse_text(text):
        assert each.documentation
        assert "_ms" not in each.name
        assert "_ns" not in each.name


async def test_an_invalid_request_gets_an_error_status_and_a_reason() -> None:
    async with watched() as service:
        missing = await service.get("/metric")
        assert (missing.status_code, missing.text) == (
            404,
            "unknown path; known: /metrics, /healthz, /readyz, /status\n",
        )
        assert (await service.get("/status", "POST")).status_code == 405
        head = await service.get("/status", "HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert (await service.get("/healthz?verbose=1")).status_code == 200
        assert b"HTTP/1.1 400 Bad Request" in await service.stream(b"\x16\x03\x01 hello\r\n\r\n")
        long = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"
        assert b"431 " in (await service.stream(long)).split(b"\r\n")[0]
        broken = b"HEAD / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnone\r\n"
        assert (await service.stream(broken)).startswith(b"HTTP/1.1 400 ")
        body = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n" + b"y" * 70_000
        assert b"413 " in (await service.stream(body)).split(b"\r\n")[0]
        assert (await service.get("/healthz")).status_code == 200


async def test_an_expensive_answer_is_cached_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "KEPT_S", 3600)
    made = []
    pieces = Monitor.pieces
    monkeypatch.setattr(Monitor, "pieces", lambda self: made.append(1) or pieces(self))
    async with watched() as service:
        answers = {(await service.get("/status")).content for _ in range(5)}
        assert len(answers) == 1
        for _ in range(5):
            await service.get("/metrics", accept=f"text/plain;version={len(made)}")
        await service.get("/metrics", accept="application/openmetrics-text;version=abc")
        assert len(made) == 3


@pytest.mark.parametrize("path", ["/status", "/metrics"])
async def test_other_tasks_run_between_the_pieces_of_a_snapshot(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0
    seen = []

    async def run_beside() -> None:
        nonlocal passes
        while True:
            passes += 1
            await trio.lowlevel.checkpoint()

    def in_ten(self: Monitor) -> Pieces[ServiceStats]:
        for _ in range(10):
            seen.append(passes)
            yield
        return self.stats()

    monkeypatch.setattr(Monitor, "stats", lambda self: at_once(pieces(self)))
    pieces = Monitor.pieces
    monkeypatch.setattr(Monitor, "pieces", in_ten)
    async with watched() as service, trio.open_nursery() as nursery:
        nursery.start_soon(run_beside)
        assert (await service.get(path)).status_code == 200
        nursery.cancel_scope.cancel()
    assert len(seen) == 10
    assert seen[-1] - seen[0] >= 8, "once in each pass, before or behind the answer"


async def test_an_internal_error_is_answered_with_500_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Monitor) -> Pieces[ServiceStats]:
        raise ZeroDivisionError

    monkeypatch.setattr(Monitor, "pieces", fail)
    async with watched() as service, TrioTcpClient(service.tcp_url) as client:
        assert (await service.get("/status")).status_code == 500
        assert (await service.get("/metrics")).status_code == 500
        assert (await service.get("/healthz")).status_code == 200
        await read_trades(client, 5)


async def test_healthz_answers_before_the_exchange_does() -> None:
    stop = trio.Event()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = silent.socket.getsockname()[1]
            config = one_source(
                assets=("BTCUSDT",),
                transports=(TcpConfig(port=0),),
                ws_url=f"ws://127.0.0.1:{port}",
                rest_url=f"http://127.0.0.1:{port}",
                http=HttpConfig(),
            )
            running = Running(stop)
            nursery.start_soon(partial(run_service, config, stop=stop, announce=running.announce))
            await running.up.wait()
            async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
                assert (await client.get(f"{running.url}/healthz")).status_code == 200
                for path in ("readyz", "status", "metrics"):
                    answer = await client.get(f"{running.url}/{path}")
                    assert answer.status_code == 503
                    assert "has not answered yet" in answer.text
            stop.set()
            await silent.aclose()


async def test_the_number_of_open_connections_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(serving, "REQUEST_S", 2.0)
    async with watched() as service:
        host, port = service.url.removeprefix("http://").split(":")
        streams = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
        with pytest.raises(httpx2.HTTPError):
            await service.get("/healthz")
        for each in streams:  # who says nothing is let go
            assert await each.receive_some() == b""
            await each.aclose()
        assert (await service.get("/healthz")).status_code == 200


async def test_a_queue_counts_as_a_consumer_once_a_reader_attaches(tmp_path: Path) -> None:
    queue = ShmConfig(name="q", directory=str(tmp_path))
    async with watched(transports=(TcpConfig(port=0), queue)) as service:
        (_, before) = (await service.stats()).transports
        assert (before.url, before.consumers, before.accepted) == ("shm://q", (), 0)
        async with TrioShmClient("shm://q", directory=str(tmp_path)) as client:
            async for record in client:
                if isinstance(record, Trade):
                    break
            (_, after) = (await service.stats()).transports
        (consumer,) = after.consumers
        assert (after.accepted, consumer.lost, consumer.lag_ms) == (1, 0, None)
        assert consumer.blocks > 0
        assert after.send is not None


async def test_a_port_in_use_ends_the_start_before_any_client_is_served() -> None:
    async with watched() as service:
        port = int(service.url.rpartition(":")[2])
        config = replace(config_for(service.simulator), http=HttpConfig(port=port))
        running = Running(trio.Event())
        with pytest.RaisesGroup(BindError, flatten_subgroups=True):
            await run_service(config, stop=running.stop, announce=running.announce)
        assert running.urls == []


async def test_each_channel_has_a_status_and_the_first_keeps_the_old_fields() -> None:
    async with watched_pair() as service:
        await until_ready(service)
        stats = await service.stats()
    first, second = stats.channels
    assert [each.name for each in stats.channels] == ["first", "second"]
    assert [each.symbol for each in first.feed.instruments] == ["BTCUSDT"]
    assert [each.symbol for each in second.feed.instruments] == ["ETHUSDT"]
    assert (stats.venue, stats.epoch_ns) == (first.venue, first.epoch_ns)
    assert (stats.feed, stats.log) == (first.feed, first.log)
    assert first.log.capacity_bytes == second.log.capacity_bytes == DEFAULT_LOG_BYTES // 2
    for each in (first, second):
        assert (each.is_ready, each.why) == (True, "")
        assert each.log.trades == sum(row.trades for row in each.feed.instruments) > 0


async def test_sources_at_one_address_share_a_rest_budget_and_others_do_not() -> None:
    async with watched_pair(is_one_venue=True) as service:
        await until_ready(service)
        first, second = (await service.stats()).channels
        assert first.feed.rest_weight == second.feed.rest_weight >= 12
    async with watched_pair() as service:
        await until_ready(service)
        service.simulator.faults.inject(Spend(1_000))
        service.simulator.faults.inject(Skip("ETHUSDT", count=2))
        while (await service.stats()).channels[1].feed.rest_weight < 1_000:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert (await service.stats()).channels[0].feed.rest_weight < 1_000


async def test_readyz_can_ask_about_one_channel() -> None:
    async with watched_pair() as service:
        await until_ready(service)
        service.simulator.faults.inject(Http(status=451, path="/public", requests=None))
        service.simulator.faults.inject(Drop())
        while (await service.get("/readyz")).status_code == 200:
            pass
        everything = await service.get("/readyz")
        assert "second: ETHUSDT is " in everything.text
        assert "first" not in everything.text
        assert (await service.get("/readyz?channel=first")).text == "ready\n"
        assert (await service.get("/readyz?channel=second")).status_code == 503
        unknown = await service.get("/readyz?channel=third")
        assert unknown.status_code == 404
        assert unknown.text == "unknown channel; known: first, second\n"


@pytest.mark.parametrize("accepts", ["text/plain", "application/openmetrics-text"])
async def test_metrics_are_labelled_with_their_channel(accepts: str) -> None:
    async with watched_pair() as service:
        host, port = service.tcp_url.removeprefix("tcp://").split(":")
        reader = await trio.open_tcp_stream(host, int(port))
        await reader.send_all(frame(encode_request(Request(channel="second"))))
        assert await reader.receive_some()
        await until_ready(service)
        text = (await service.get("/metrics", accept=accepts)).text
        await reader.aclose()
    parse: Parse = parse_text if accepts == "text/plain" else parse_openmetrics
    samples = [each for family in parse(text) for each in family.samples]
    channels = {each.labels["channel"] for each in samples if "channel" in each.labels}
    assert channels == {"first", "second"}
    of_symbols = [each for each in samples if "symbol" in each.labels]
    assert {(each.labels["channel"], each.labels["symbol"]) for each in of_symbols} == {
        ("first", "BTCUSDT"),
        ("second", "ETHUSDT"),
    }
    of_all = [each.name for each in samples if "channel" not in each.labels]
    assert not [each for each in of_all if "feed" in each or "log" in each or "link" in each]
    venues = [each.labels["venue"] for each in samples if each.name == "fanout_channel_info"]
    assert venues == ["binance-usdm"] * 2
    readers = {
        each.labels["channel"]: each.value
        for each in samples
        if each.name == "fanout_channel_consumers"
    }
    assert readers == {"first": 0, "second": 1}
