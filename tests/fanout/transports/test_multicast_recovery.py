"""How long a receiver waits for what no line brought, in round trips to the service."""

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
import trio
import trustme
from trio.testing import MockClock

from fanout.clients import multicast_client
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.protocol import Trade
from fanout.transports.multicast import MulticastConfig, MulticastTransport
from fanout.transports.multicast.sockets import Sender
from fanout.transports.tcp import TcpConfig, TcpTransport
from tests.stand import channels
from tests.stand.channels import new_channel, publish
from tests.stand.groups import LOOPBACK, free_groups

ROUND_TRIP_S: Final = 0.1
PATIENCE_S: Final = 0.01


class Distance:
    """A network to a far service: every byte arrives half a round trip later."""

    def __init__(self) -> None:
        self.connections = 0
        self.one_way_s = 0.0
        self.address = ""

    @asynccontextmanager
    async def to(self, url: str) -> AsyncIterator[None]:
        host, _, port = url.rpartition("/")[2].rpartition(":")

        async def serve(near: trio.SocketStream) -> None:
            self.connections += 1
            far = await trio.open_tcp_stream(host, int(port))
            async with far, trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, near, far)
                nursery.start_soon(self._carry, far, near)

        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
            self.address = f"{LOOPBACK}:{listener.socket.getsockname()[1]}"
            yield
            nursery.cancel_scope.cancel()

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        ahead, behind = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._arrive, behind, sink)
            with suppress(trio.BrokenResourceError), ahead:
                while data := await source.receive_some():
                    ahead.send_nowait((trio.current_time() + self.one_way_s, bytes(data)))

    async def _arrive(
        self, behind: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream
    ) -> None:
        with suppress(trio.BrokenResourceError):
            async for due_s, data in behind:
                await trio.sleep_until(due_s)
                await sink.send_all(data)
            await sink.send_eof()


@pytest.mark.parametrize(("is_tls", "round_trips"), [(False, 2), (True, 3)])
async def test_a_hole_is_filled_by_one_request_within_three_round_trips(
    is_tls: bool,
    round_trips: int,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """One for the connection, one for TLS, and one for the request and its answer."""
    monkeypatch.setattr(multicast_client, "time", SimpleNamespace(monotonic=trio.current_time))
    autojump_clock.autojump_threshold = 0.05  # the kernel carries bytes between the ends
    over_tcp, trusting = TcpConfig(port=0), None
    if is_tls:
        authority, trusting = trustme.CA(), ssl.create_default_context()
        authority.configure_trust(trusting)
        issued, files = authority.issue_cert(LOOPBACK), (tmp_path / "cert", tmp_path / "key")
        issued.cert_chain_pems[0].write_to_path(str(files[0]))
        issued.private_key_pem.write_to_path(str(files[1]))
        over_tcp = TcpConfig(port=0, tls_cert=str(files[0]), tls_key=str(files[1]))
    group, way = free_groups()[0], Distance()
    channel = new_channel()
    multicast = MulticastTransport(MulticastConfig(group=str(group), interface=LOOPBACK))
    async with (
        channels.serving(channel, TcpTransport(over_tcp)) as url,
        channels.serving(channel, multicast),
        way.to(url),
        TrioMulticastClient(
            f"multicast://{group}",
            interface=LOOPBACK,
            recovery=f"{'tls' if is_tls else 'tcp'}://{way.address}",
            tls=trusting,
            patience_s=PATIENCE_S,
        ) as client,
    ):
        await client.connect()
        publish(channel, 1)
        await _until(client, 1)
        way.one_way_s, before = ROUND_TRIP_S / 2, way.connections
        with monkeypatch.context() as lossy:
            lossy.setattr(Sender, "send", lambda *_: True)
            publish(channel, 2, 500)
            await trio.sleep(0.001)
        publish(channel, 502)
        began_s = trio.current_time()
        assert await _until(client, 502) == [*range(2, 503)]
        took_s = trio.current_time() - began_s - PATIENCE_S
        connections = way.connections - before
    assert connections == 1
    # The kernel makes a connection at once: this round trip takes no time here.
    assert connections + took_s / ROUND_TRIP_S == pytest.approx(round_trips, abs=0.1)
    assert client.statistics.lost == 0


async def _until(client: TrioMulticastClient, seq: int) -> list[int]:
    """The numbers that come, up to this one."""
    found: list[int] = []
    while seq not in found:
        each = await anext(client)
        if isinstance(each, Trade):
            found.append(each.seq)
    return found
