"""Names with several addresses, of which some lead nowhere."""

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from fanout.clients.connecting import addresses_of, connect
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Trade
from tests.contracts.client import serving
from tests.protocol.test_session import block, opening

NOBODY = "127.0.0.2"


@pytest.fixture
def swallowing() -> Iterator[int]:
    """A port at 127.0.0.2 that answers no SYN: its backlog is full."""
    with socket.socket() as listener:
        listener.bind((NOBODY, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex((NOBODY, port))
        yield port
        for each in fillers:
            each.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in ("service.example", b"service.example"):
            return real(host, port, *rest, **options)
        number = int(port)
        return [
            (10, 1, 6, "", (each, number, 0, 0)) if ":" in each else (2, 1, 6, "", (each, number))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def first_of(kind: type, url: str) -> object:
    async def read() -> object:
        async with kind(url, reconnect=False, idle_timeout_s=5) as client:
            return await anext(client)

    if kind is TcpClient:
        with TcpClient(url, reconnect=False, idle_timeout_s=5) as client:
            return next(client)
    return asyncio.run(read()) if kind is AsyncioTcpClient else trio.run(read)


@pytest.mark.parametrize("kind", [TcpClient, AsyncioTcpClient, TrioTcpClient])
def test_an_address_that_swallows_everything_costs_a_moment(
    monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    with serving(opening(1) + block(1), silent=True) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.socket() as listener:
            listener.bind((NOBODY, port))
            listener.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for each in fillers:
                each.setblocking(False)
                each.connect_ex((NOBODY, port))
            resolve_to(monkeypatch, NOBODY, "127.0.0.1")
            began_s = time.monotonic()
            assert isinstance(first_of(kind, f"tcp://service.example:{port}"), Trade)
            assert time.monotonic() - began_s < 4
            for each in fillers:
                each.close()


def test_an_address_that_refuses_is_passed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        resolve_to(monkeypatch, NOBODY, "127.0.0.1")
        port = listener.getsockname()[1]
        with connect("service.example", port, timeout_s=5) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"


def test_if_all_addresses_refuse_the_error_is_that_of_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    resolve_to(monkeypatch, NOBODY, "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        connect("service.example", port, timeout_s=5)


def test_connecting_ends_in_time_or_when_the_caller_gives_up(swallowing: int) -> None:
    with pytest.raises(TimeoutError):
        connect(NOBODY, swallowing, timeout_s=0.05)
    over = threading.Event()
    threading.Timer(0.05, over.set).start()
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        connect(NOBODY, swallowing, timeout_s=30, is_over=over.is_set)
    assert time.monotonic() - began_s < 10


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "::1", "::2", "127.0.0.1")
    found = [address[0] for _, address in addresses_of("service.example", 1)]
    assert found == ["::1", "127.0.0.1", "::2"]


def test_an_address_that_fails_at_once_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def make(family: int = 2, *rest: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
        return real(family, *rest, **options)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socket", make)
        # A broadcast address is refused before any packet leaves.
        resolve_to(monkeypatch, "::1", "255.255.255.255", "127.0.0.1")
        connect("service.example", listener.getsockname()[1], timeout_s=5).close()
        resolve_to(monkeypatch, "::1")
        with pytest.raises(OSError, match="no IPv6 here"):
            connect("service.example", 1, timeout_s=5)
