import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from fanout.clients.client import Client
from fanout.clients.outcomes import AddressError, UnknownChannelError
from fanout.clients.tcp import DisconnectedError, TcpClient
from fanout.clients.tcp_client import channel_in, parse_address
from fanout.protocol import End, EndReason, Trade, encode_event, frame
from tests.contracts.client import ClientContract, Collected, serving
from tests.protocol.test_session import block, end, heartbeat, opening


class TestTcpClient(ClientContract):
    def collect(
        self, url: str, until: Callable[[Collected], bool], **options: object
    ) -> tuple[Collected, Client]:
        records: Collected = []
        with TcpClient(url, **options) as client:  # type: ignore[arg-type]
            for record in client:
                records.append(record)
                if until(records):
                    break
            return records, client


def test_closing_from_another_thread_ends_the_iteration() -> None:
    with serving(opening(1) + block(1), silent=True) as service:
        client = TcpClient(service.url)
        assert isinstance(next(client), Trade)
        closing = threading.Timer(0.05, client.close)
        closing.start()
        assert list(client) == []
        closing.join()


def test_a_connection_that_takes_too_long_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as others:
        for _ in range(3):  # the kernel drops what comes once its queue is full
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        url = f"tcp://127.0.0.1:{full.getsockname()[1]}"
        client = others.enter_context(TcpClient(url, reconnect=False, idle_timeout_s=0.2))
        with pytest.raises(DisconnectedError, match=r"within 0\.2 s"):
            next(client)


def test_closing_amid_the_tls_handshake_ends_the_iteration() -> None:
    with serving(b"", silent=True) as service:
        client = TcpClient(service.url.replace("tcp://", "tls://"))
        closing = threading.Timer(0.05, client.close)
        closing.start()
        assert list(client) == []
        closing.join()


def test_closing_while_it_waits_to_reconnect_ends_the_iteration() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    client = TcpClient(url)
    next(client)
    closing = threading.Timer(0.05, client.close)
    closing.start()
    assert all(type(each).__name__ == "Disconnected" for each in client)
    closing.join()


def test_what_is_ready_and_the_time_of_a_heartbeat_are_known() -> None:
    stream = opening(1) + block(1, 2) + heartbeat(3)
    with serving(stream, silent=True) as service, TcpClient(service.url) as client:
        assert (client.is_any_ready, client.heartbeat_ns) == (False, 0)
        assert isinstance(next(client), Trade)
        assert client.is_any_ready
        assert isinstance(next(client), Trade)
        assert (client.is_any_ready, client.heartbeat_ns) == (False, 1)


def test_connect_waits_for_the_header_and_keeps_the_records() -> None:
    with (
        serving(opening(1) + block(1, 2) + end(2)) as service,
        TcpClient(service.url, reconnect=False) as client,
    ):
        assert client.connect().venue == "binance-usdm"
        assert sum(isinstance(each, Trade) for each in client) == 2
        statistics = client.statistics
    assert (statistics.trades, statistics.connections, statistics.lost) == (2, 1, 0)


def test_connect_without_a_header_is_an_error() -> None:
    with (
        serving(b"") as service,
        TcpClient(service.url, reconnect=False) as client,
        pytest.raises(DisconnectedError),
    ):
        client.connect()


def test_a_service_that_does_not_answer_the_tls_handshake_is_an_error() -> None:
    with serving(b"", silent=True) as service:
        url = service.url.replace("tcp://", "tls://")
        client = TcpClient(url, reconnect=False, idle_timeout_s=0.1)
        with client, pytest.raises(DisconnectedError, match="did not answer the TLS handshake"):
            next(client)


def test_time_that_the_program_is_busy_does_not_count_for_a_frame() -> None:
    """What counts is how long reads waited, not what the program did between them."""
    with serving(opening(1) + block(1)[:9], silent=True) as service:
        client = TcpClient(service.url, idle_timeout_s=0.2)
        client._connect()
        while not client.statistics.frames:
            client._step()
        time.sleep(3 * 0.2)
        client._receive(block(1)[9:10], waited_s=0.01)
        client._receive(block(1)[10:], waited_s=0.01)
        assert isinstance(next(client), Trade)
        client.close()


def test_a_frame_that_never_ends_is_not_waited_for() -> None:
    with serving(opening(1) + block(1)[:9], silent=True) as service:
        client = TcpClient(service.url, idle_timeout_s=5)
        client._connect()
        while not client.statistics.frames:
            client._step()
        rest = iter(block(1)[9:])
        for _ in range(2):
            client._receive(bytes([next(rest)]), waited_s=4.9)
        with pytest.raises(DisconnectedError, match="no whole frame in 15 s"):
            client._receive(bytes([next(rest)]), waited_s=4.9)
        client.close()


def test_a_service_that_sends_another_channel_is_refused() -> None:
    with serving(opening(1) + block(1)) as service:
        client = TcpClient(f"{service.url}/books")
        with pytest.raises(
            UnknownChannelError, match="channel books was asked for, and the service sends"
        ):
            list(client)
        assert client.header is None


def test_an_unknown_channel_ends_the_client_with_the_services_words() -> None:
    why = "no channel books: this service has binance, spot"
    refusal = End(reason=EndReason.BAD_REQUEST, last_seq=0, retry_ms=None, why=why)
    with (
        serving(opening(1) + frame(encode_event(refusal))) as service,
        pytest.raises(UnknownChannelError, match=why),
        TcpClient(f"{service.url}/books") as client,
    ):
        client.connect()


@pytest.mark.parametrize("path", ["Books", "a/b", "-a", "a" * 33, "a?b"])
def test_a_malformed_channel_name_is_refused(path: str) -> None:
    with pytest.raises(
        AddressError, match=r"does not end with a channel name: .*: 1 to 32 characters of a-z"
    ):
        TcpClient(f"tcp://127.0.0.1:1/{path}")


@pytest.mark.parametrize(
    ("path", "channel"), [("", ""), ("/", ""), ("/a", "a"), ("/a.b-c_1/", "a.b-c_1")]
)
def test_an_address_may_name_a_channel(path: str, channel: str) -> None:
    assert channel_in(f"tcp://[::1]:9000{path}") == channel
    assert parse_address(f"tls://[::1]:9000{path}") == ("::1", 9000, True)
