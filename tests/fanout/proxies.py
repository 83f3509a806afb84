"""Proxies on loopback that record their requests: HTTP (CONNECT and plain), and SOCKS5."""

from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import trio

from fanout.net.addresses import authority

Serve = Callable[["PassedOn", trio.SocketStream], Awaitable[None]]


class PassedOn:
    """What a proxy was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.asked: list[str] = []
        self.logins: list[bytes] = []
        """`NAME:PASSWORD` of each request that had one."""
        self.needs_login = False
        """Whether SOCKS chooses the method with a login, if it is offered."""
        self.refusal = b""
        """Given instead of a connection."""


@asynccontextmanager
async def running_proxy(scheme: str, host: str = "127.0.0.1") -> AsyncIterator[PassedOn]:
    """A proxy, as long as the block runs."""
    serve = {"http": _serve_http, "socks5": _serve_socks}[scheme]
    passed_on = PassedOn()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await serve(passed_on, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host=host))
        passed_on.port = listeners[0].socket.getsockname()[1]
        passed_on.url = f"{scheme}://{authority(host, passed_on.port)}"
        yield passed_on
        nursery.cancel_scope.cancel()


async def _serve_http(passed_on: PassedOn, stream: trio.SocketStream) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            return
        head += data
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split()
    passed_on.asked.append(f"{method} {target}")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"proxy-authorization":
            passed_on.logins.append(b64decode(value.removeprefix(b"Basic ")))
    if passed_on.refusal:
        await stream.send_all(passed_on.refusal)
        return
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        async with await trio.open_tcp_stream(host.strip("[]"), int(port)) as there:
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await relay(stream, there)
        return
    parts = urlsplit(target)
    async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 80) as there:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        head = head.replace(target.encode(), path.encode(), 1)
        await there.send_all(head.replace(b"keep-alive", b"close"))
        await relay(stream, there)


async def _serve_socks(passed_on: PassedOn, stream: trio.SocketStream) -> None:
    methods = bytes(await stream.receive_some(262))[2:]
    if passed_on.needs_login and 2 in methods:
        await stream.send_all(b"\x05\x02")
        login = bytes(await stream.receive_some(600))
        name, password = login[2 : 2 + login[1]], login[3 + login[1] :]
        passed_on.logins.append(name + b":" + password)
        await stream.send_all(b"\x01\x00")
    else:
        await stream.send_all(b"\x05\x00")
    request = bytes(await stream.receive_some(262))
    kind, rest = request[3], request[4:]
    if kind == 4:
        host, port = str(IPv6Address(rest[:16])), rest[16:18]
    elif kind == 1:
        host, port = ".".join(map(str, rest[:4])), rest[4:6]
    else:
        host, port = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :][:2]
    number = int.from_bytes(port, "big")
    passed_on.asked.append(f"{host}:{number}")
    if passed_on.refusal:
        await stream.send_all(passed_on.refusal)
        return
    async with await trio.open_tcp_stream(host, number) as there:
        await stream.send_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await relay(stream, there)


async def relay(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Hand on what comes from either end, until one of them is done."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some():
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy, one, other)
        nursery.start_soon(copy, other, one)
