import errno
import os
import random
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from fanout.errors import BindError
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.protocol import End, EndReason, Loss, Request, Trade, encode_request, frame
from fanout.transports.base import CHUNK_BYTES
from fanout.transports.tcp import TcpTransport, broadcaster
from fanout.transports.tcp import transport as transport_module
from fanout.transports.tcp.config import TcpConfig
from tests.contracts.transport import TransportContract
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.stand import channels
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.subscriber import StreamSubscriber


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def connected(
    url: str, receive_buffer: int | None = None
) -> AsyncIterator[trio.SocketStream]:
    with trio.socket.socket() as sock:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(address(url))
        yield trio.SocketStream(sock)


@asynccontextmanager
async def tcp_reader(url: str) -> AsyncIterator[StreamSubscriber]:
    async with connected(url, receive_buffer=4096) as stream:
        yield StreamSubscriber(stream.receive_some)


class TestTcpTransport(TransportContract):
    def make(self) -> TcpTransport:
        return TcpTransport(TcpConfig(port=0))

    reader = staticmethod(tcp_reader)  # type: ignore[assignment]

    @asynccontextmanager
    async def reader_of(self, url: str, channel: str) -> AsyncIterator[StreamSubscriber]:
        async with connected(url) as stream:
            await stream.send_all(frame(encode_request(Request(channel=channel))))
            yield StreamSubscriber(stream.receive_some)


serving = partial(channels.serving, within_s=20)


def new_transport() -> TcpTransport:
    return TcpTransport(TcpConfig(port=0), wall_ns=lambda: 0)


async def until_clients(transport: TcpTransport, count: int) -> None:
    while transport.client_count != count:  # noqa: ASYNC110  real sockets, no event to wait for
        await trio.sleep(0.001)


async def test_the_url_names_the_port_that_was_picked() -> None:
    async with serving(new_channel(), new_transport()) as url:
        assert url.startswith("tcp://127.0.0.1:")
        assert address(url)[1] > 0


async def test_an_ipv6_address_is_written_with_brackets_in_the_url() -> None:
    transport = TcpTransport(TcpConfig(host="::1", port=0))
    async with serving(new_channel(), transport) as url:
        assert url.startswith("tcp://[::1]:")


async def test_a_block_is_sent_before_its_publisher_goes_on() -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, tcp_reader(url) as reader:
        await reader.until_header()
        for number in (1, 2):  # from then on the client stands where others would
            publish(channel, number)
            await reader.until(Trade, number)
            await trio.testing.wait_all_tasks_blocked()
        before = transport.sending.count
        publish(channel, 3)
        assert transport.sending.count == before + 1
        await reader.until(Trade, 3)
        assert reader.trade_ids == [1, 2, 3]


async def test_a_port_in_use_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        transport = TcpTransport(TcpConfig(port=port))
        with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{port}: address already"):
            await transport.run([new_channel()])


async def test_an_address_of_another_machine_is_an_error_of_one_line() -> None:
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await TcpTransport(TcpConfig(host="192.0.2.1", port=0)).run([new_channel()])


async def test_a_stuck_client_delays_nobody_and_keeps_little() -> None:
    channel, transport = new_channel(log_bytes=300_000), new_transport()
    async with (
        serving(channel, transport) as url,
        connected(url, receive_buffer=4096),
        tcp_reader(url) as reading,
    ):
        await until_clients(transport, 2)
        await reading.until_header()
        for first in range(1, 200_001, 100):
            publish(channel, first, 100)
            await reading.until(Trade, first + 99)
        assert reading.trade_ids == list(range(1, 200_001))
        assert not [each for each in reading.records if isinstance(each, Loss)]
        (stuck,) = transport.broadcasters[0].behind
        assert len(stuck._unsent) <= CHUNK_BYTES


async def test_a_client_that_closed_its_sending_side_is_served_on() -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, connected(url) as stream:
        await stream.send_eof()
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        publish(channel, 1)
        await reading.until(Trade)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"\0"])
async def test_bytes_that_a_client_sends_are_ignored(garbage: bytes) -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, connected(url) as stream:
        await stream.send_all(garbage)
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        publish(channel, 1)
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="done")
        await reading.until(End)


async def test_a_flooding_client_gets_an_end_and_the_others_are_served() -> None:
    channel, transport = new_channel(), new_transport()
    async with (
        serving(channel, transport) as url,
        tcp_reader(url) as reading,
        connected(url) as flooding,
    ):
        await until_clients(transport, 2)
        flooded = StreamSubscriber(flooding.receive_some)
        await flooded.until_header()
        with pytest.raises(trio.BrokenResourceError):
            await flooding.send_all(bytes(100_000_000))
        await until_clients(transport, 1)
        await reading.until_header()
        publish(channel, 1)
        await reading.until(Trade)


async def test_a_client_that_sends_too_much_gets_an_end_with_the_reason() -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, connected(url) as talking:
        reading = StreamSubscriber(talking.receive_some)
        await talking.send_all(frame(encode_request(Request())))
        await reading.until_header()
        await talking.send_all(bytes(70_000))
        await reading.until(End)
        end = reading.records[-1]
        assert isinstance(end, End)
        assert (end.reason, end.retry_ms) == (EndReason.BAD_REQUEST, None)
        assert end.why == "more than 65,536 bytes were sent here"


@pytest.mark.parametrize("linger", [True, False], ids=["reset", "closed"])
async def test_a_client_that_leaves_is_forgotten(linger: bool) -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url:
        async with connected(url) as stream:
            await until_clients(transport, 1)
            if linger:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        while transport.client_count:
            publish(channel, 1)
            await trio.sleep(0.001)


async def test_heartbeats_are_sent_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcaster, "HEARTBEAT_S", 0.01)
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, tcp_reader(url) as reading:
        await reading.until_header()
        for _ in range(3):
            assert await reading.read_once()
        assert reading.records == []


async def test_a_lapped_reader_gets_the_header_that_is_valid_where_it_resumes() -> None:
    channel, transport = new_channel(log_bytes=100_000), new_transport()
    async with serving(channel, transport) as url, connected(url, receive_buffer=4096) as stream:
        await until_clients(transport, 1)
        publish(channel, 1)
        finer = replace(BTC, price_exponent=-4)
        channel.change((finer, LIFE), HEADER.references)
        # More than any socket buffers: the log has forgotten the new header by now.
        publish_bulk(channel, 40_000_000)
        reading = StreamSubscriber(stream.receive_some)
        await reading.until(Loss)
        publish(channel, 5)
        await reading.until(Trade)
        assert reading.header is not None
        assert reading.header.instruments == (finer, LIFE)


async def test_a_client_that_does_not_take_the_end_does_not_delay_the_services_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_module, "GOODBYE_S", 0.05)
    channel, transport = new_channel(), new_transport()
    with trio.socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with serving(channel, transport) as url:
            await stuck.connect(address(url))
            await until_clients(transport, 1)
            publish_bulk(channel, 40_000_000)
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="the client reads nothing")
        assert transport.client_count == 0


async def test_a_full_service_refuses_a_client_with_a_retry_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    descriptors = RESERVED_DESCRIPTORS + 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, 0))
    channel, transport = new_channel(), new_transport()
    publish(channel, 1)
    async with serving(channel, transport) as url, connected(url), connected(url):
        await until_clients(transport, 2)
        async with tcp_reader(url) as third:
            await third.until(End)
            end = third.records[-1]
            assert isinstance(end, End)
            assert (end.reason, end.retry_ms, end.last_seq) == (EndReason.FULL, 5_000, 1)


async def test_clients_that_come_and_go_at_random_leave_nothing_behind() -> None:
    channel, transport = new_channel(), new_transport()
    chance = random.Random(5)

    async def visit(url: str, reads: int) -> None:
        async with connected(url) as stream:
            for _ in range(reads):
                await stream.receive_some(chance.randint(1, 200))

    async with serving(channel, transport) as url:
        async with trio.open_nursery() as visitors:
            for place in range(150):
                visitors.start_soon(partial(visit, url, place % 4))
                publish(channel, place + 1)
                await trio.lowlevel.checkpoint()
        while transport.client_count:
            publish(channel, 1)
            await trio.sleep(0.001)
    assert transport.arrived == 150


async def test_several_channels_wait_for_the_request_and_one_does_not() -> None:
    first, second = new_channel(name="first"), new_channel(name="second")
    transport = new_transport()
    async with serving([first, second], transport) as url, connected(url) as stream:
        begun_s = trio.current_time()
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        assert trio.current_time() - begun_s >= 0.09  # nothing was asked for
        publish(first, 1)
        await reading.until(Trade)


async def test_an_unknown_channel_is_refused_with_the_names_there_are() -> None:
    first, second = new_channel(name="first"), new_channel(name="second")
    transport = new_transport()
    async with serving([first, second], transport) as url:
        async with connected(url) as stream:
            await stream.send_all(frame(encode_request(Request(channel="third"))))
            reading = StreamSubscriber(stream.receive_some)
            await reading.until(End)
        end = reading.records[-1]
        assert isinstance(end, End)
        assert (end.reason, end.retry_ms) == (EndReason.BAD_REQUEST, None)
        assert end.why == "no channel third: this service has first, second"


async def test_the_statistics_name_each_clients_channel() -> None:
    first, second = new_channel(name="first"), new_channel(name="second")
    transport = new_transport()
    async with (
        serving([first, second], transport) as url,
        connected(url) as stream,
        connected(url),
    ):
        await stream.send_all(frame(encode_request(Request(channel="second"))))
        while len(transport.stats().consumers) < 2:  # noqa: ASYNC110  real sockets
            await trio.sleep(0.001)
        assert {each.channel for each in transport.stats().consumers} == {"first", "second"}


@contextmanager
def forked() -> Iterator[None]:
    """A child process that holds copies of all sockets, and does nothing."""
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


async def test_a_fork_keeps_neither_the_port_nor_a_connection() -> None:
    channel, transport = new_channel(), new_transport()
    async with serving(channel, transport) as url, connected(url) as stream:
        await until_clients(transport, 1)
        with forked():
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
            reading = StreamSubscriber(stream.receive_some)
            await reading.until(End)
            while await reading.read_once():
                pass
            await until_clients(transport, 0)
            with socket.socket() as late:
                assert late.connect_ex(address(url)) == errno.ECONNREFUSED
