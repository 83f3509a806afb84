"""Clients that are slow, stuck, gone or too many. Over real sockets."""

import logging
import socket
import struct
import time
from collections.abc import Iterator

import pytest
import trio

from fanout.channel.log import Lag
from fanout.protocol import (
    End,
    EndReason,
    Loss,
    Request,
    SlowPolicy,
    Status,
    Trade,
    encode_request,
    frame,
)
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp import TcpTransport, acceptor, connection
from fanout.transports.tcp import transport as transport_module
from fanout.transports.tcp.broadcaster import Broadcaster
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.connection import SEND_BUFFER_BYTES, Connection, tune
from tests.fanout.transports.test_tcp import connected, serving, tcp_reader, until_clients
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.subscriber import StreamSubscriber


def transport(**options: object) -> TcpTransport:
    return TcpTransport(TcpConfig(port=0, **options))  # type: ignore[arg-type]


@pytest.fixture
def patient_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the service gives a client up."""
    monkeypatch.setattr(acceptor, "tune", lambda sock, **_: tune(sock, stall_timeout_s=60))


async def read_to_the_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def test_a_client_that_takes_nothing_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    channel, transport_ = new_channel(), transport(stall_timeout_s=0.2)
    async with serving(channel, transport_) as url, connected(url, receive_buffer=4096) as stuck:
        await until_clients(transport_, 1)
        publish_bulk(channel, 20_000_000)
        await until_clients(transport_, 0)
        with pytest.raises(trio.BrokenResourceError):
            await read_to_the_end(stuck)
    assert "it took nothing for 0.2 s" in caplog.text


@pytest.mark.usefixtures("patient_kernel")
async def test_a_client_that_takes_little_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes some bytes whenever the service would give it up, for as long as it has to."""
    channel, transport_ = new_channel(), transport(stall_timeout_s=0.2)
    looks = 0

    def count(sock: socket.socket) -> int:
        nonlocal looks
        looks += 1
        return 1_000_000 - looks

    monkeypatch.setattr(connection, "_unacknowledged_bytes", count)
    async with serving(channel, transport_) as url, connected(url, receive_buffer=4096) as slow:
        await until_clients(transport_, 1)
        publish_bulk(channel, 20_000_000)
        while looks < 6:  # noqa: ASYNC110  real sockets
            await trio.sleep(0.01)
        assert transport_.client_count == 1
        await StreamSubscriber(slow.receive_some).until(Status)


async def test_a_client_may_ask_to_be_disconnected_rather_than_to_skip() -> None:
    channel = new_channel(log_bytes=100_000)
    asked = frame(encode_request(Request(slow=SlowPolicy.DISCONNECT)))
    async with (
        serving(channel, transport()) as url,
        connected(url, receive_buffer=4096) as stream,
    ):
        await stream.send_all(asked)
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        publish(channel, 1)
        await reading.until(Trade)
        publish_bulk(channel, 20_000_000)
        await reading.until(End)
        end = reading.records[-1]
        assert isinstance(end, End)
        assert (end.reason, end.retry_ms) == (EndReason.SLOW, 1_000)
        assert f"{end.last_seq + 1} would have been next" in end.why
        assert not [each for each in reading.records if isinstance(each, Loss)]


def lag_of(consumer: ConsumerStats) -> tuple[int, int, int]:
    assert consumer.lag_blocks is not None
    assert consumer.lag_ms is not None
    return consumer.lag_blocks, consumer.lag_bytes, consumer.lag_ms


async def test_how_far_each_client_is_behind_can_be_seen() -> None:
    channel, transport_ = new_channel(), transport()
    async with (
        serving(channel, transport_) as url,
        connected(url, receive_buffer=4096),
        tcp_reader(url) as reading,
    ):
        await until_clients(transport_, 2)
        await reading.until_header()
        while len(transport_.stats().consumers) < 2:  # noqa: ASYNC110  both have to have begun
            await trio.sleep(0.001)
        publish(channel, 1)
        await reading.until(Trade)
        assert {lag_of(each) for each in transport_.stats().consumers} == {(0, 0, 0)}
        publish_bulk(channel, 20_000_000)
        while not transport_.broadcasters[0].behind:  # noqa: ASYNC110
            await trio.sleep(0.001)
        blocks, size, _ = max(map(lag_of, transport_.stats().consumers))
        assert blocks > 10_000
        assert size > 10_000_000


class Behind:
    """A client's place, of which only the lag is looked at."""

    def __init__(self) -> None:
        self.ms = 0
        self.lost = 0
        self.greeting = b""
        self.fell_off = ""

    def lag(self, unsent_bytes: int) -> Lag:
        return Lag(blocks=3, bytes=4_000, ms=self.ms)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[tuple[Behind, Connection]]:
    place = Behind()
    with socket.socket() as sock, caplog.at_level(logging.INFO, "fanout"):
        client = Connection(
            sock,
            "10.0.0.1:5",
            place,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            stall_timeout_s=1,
            broadcaster=Broadcaster(piece_bytes=64 * 1024),
            oddities=Anomalies(clock=time.monotonic),
        )
        yield place, client


def test_slow_and_no_longer_slow_are_logged_once_each(
    watched: tuple[Behind, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    place, client = watched
    for place.ms in (0, 900, 1_100, 5_000, 900, 1_100, 200, 90, 0, 900, 0):
        client.look()
    place.lost = 7
    for place.ms in (1_500, 0, 1_500):
        client.look()
    place.lost = 9
    for place.ms in (50, 50):
        client.look()
    assert [each.getMessage() for each in caplog.records] == [
        "10.0.0.1:5 is slow: 3 blocks, 4,000 bytes, 1,100 ms behind",
        "10.0.0.1:5 keeps up again; it lost 0 trades and events",
        "10.0.0.1:5 is slow: 3 blocks, 4,000 bytes, 1,500 ms behind",
        "10.0.0.1:5 keeps up again; it lost 7 trades and events",
        "10.0.0.1:5 is slow: 3 blocks, 4,000 bytes, 1,500 ms behind",
        "10.0.0.1:5 keeps up again; it lost 2 trades and events",
    ]


def test_a_loss_alone_makes_a_client_slow_however_short_the_log(
    watched: tuple[Behind, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    place, client = watched
    client.look()
    place.lost = 5
    for place.ms in (40, 40, 40):
        client.look()
    assert [each.getMessage() for each in caplog.records] == [
        "10.0.0.1:5 is slow: 3 blocks, 4,000 bytes, 40 ms behind",
        "10.0.0.1:5 keeps up again; it lost 5 trades and events",
    ]


def test_a_client_that_requested_old_blocks_is_not_slow_before_it_has_caught_up(
    watched: tuple[Behind, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    place, client = watched
    for place.ms in (600_000, 300_000, 0, 2_000):
        client.look()
    assert len(caplog.records) == 1
    assert "2,000 ms behind" in caplog.text


async def test_clients_are_checked_all_the_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transport_module, "LOOK_S", 0.005)
    monkeypatch.setattr(connection, "SLOW_MS", 20)
    monkeypatch.setattr(connection, "QUICK_MS", 10)
    channel, transport_ = new_channel(), transport()
    async with serving(channel, transport_) as url, connected(url, receive_buffer=4096) as slow:
        reading = StreamSubscriber(slow.receive_some)
        await reading.until_header()
        while not any(each._has_kept_up for each in transport_.broadcasters[0].clients):  # noqa: ASYNC110
            await trio.sleep(0.001)
        publish_bulk(channel, 20_000_000)
        while "is slow" not in caplog.text:  # noqa: ASYNC110
            await trio.sleep(0.001)
        publish(channel, 1)
        await reading.until(Trade)


def test_the_sockets_buffers_and_timeouts_are_set() -> None:
    with socket.socket() as sock:
        tune(sock, stall_timeout_s=8)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * count <= 8
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES
        assert not sock.getblocking()


async def turned_away(url: str) -> End:
    """What one is told who gets nothing else."""
    async with tcp_reader(url) as reading:
        await reading.until(End)
        assert not await reading.read_once()
        (end,) = reading.records
        assert isinstance(end, End)
        return end


@pytest.mark.parametrize(
    ("options", "said", "retry_ms"),
    [
        ({"max_clients": 2}, "the service is full: at most 2 clients at once", 5_000),
        (
            {"max_per_address": 2},
            "the service is full: at most 2 clients at once from one address",
            5_000,
        ),
        ({"accept_rate": 2}, "too many new clients: at most 2 connections a second", 1_000),
    ],
)
async def test_a_refusal_has_a_reason_and_a_retry_delay(
    options: dict[str, float], said: str, retry_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    channel = new_channel()
    transport_ = TcpTransport(
        TcpConfig(port=0, **options),  # type: ignore[arg-type]
        monotonic=lambda: 0.0,
    )
    async with serving(channel, transport_) as url, connected(url), connected(url):
        await until_clients(transport_, 2)
        for _ in range(3):
            end = await turned_away(url)
            assert (end.reason, end.why, end.retry_ms) == (EndReason.FULL, said, retry_ms)
    assert caplog.text.count("client turned away") == 1


async def test_a_client_that_leaves_makes_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel, transport_ = new_channel(), transport(max_clients=1)
    async with serving(channel, transport_) as url:
        async with connected(url):
            await until_clients(transport_, 1)
            assert (await turned_away(url)).reason is EndReason.FULL
        await until_clients(transport_, 0)
        async with tcp_reader(url) as reading:
            await reading.until_header()
            publish(channel, 1)
            await reading.until(Trade)


async def test_refused_clients_have_a_limit_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor, "MAX_TURNED_AWAY", 2)
    channel, transport_ = new_channel(), transport(max_clients=1)
    async with serving(channel, transport_) as url, connected(url):
        await until_clients(transport_, 1)
        async with connected(url), connected(url):
            while transport_._acceptor.turned_away < 2:  # noqa: ASYNC110  real sockets
                await trio.sleep(0.001)
            assert (await turned_away(url)).reason is EndReason.FULL
            assert transport_._acceptor.turned_away == 2


async def test_a_reset_connection_leaves_nothing_behind() -> None:
    channel, transport_ = new_channel(), transport()
    async with serving(channel, transport_) as url:
        async with connected(url) as stream:
            await until_clients(transport_, 1)
            linger = struct.pack("ii", 1, 0)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await until_clients(transport_, 0)


def test_a_client_that_has_left_is_not_served_again(watched: tuple[Behind, Connection]) -> None:
    """Its last piece may be taken after its connection is closed: it is not to be sent the next."""
    _, client = watched
    broadcaster = Broadcaster(piece_bytes=64 * 1024)
    broadcaster.join(client)
    broadcaster.fall_behind(client)
    assert broadcaster.clients == broadcaster.behind == {client}
    broadcaster.leave(client)
    broadcaster.catch_up(client)
    assert not broadcaster.clients
