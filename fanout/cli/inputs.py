"""Streams by their addresses, beside other tasks: the clients for trio of what `fanout.cli.source`
has, and which options are for which kind of address."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, cast

import msgspec
import trio

from fanout.cli.source import Source, trio_nats_client
from fanout.clients.client import AsyncClient
from fanout.clients.journal import POLL_S, JournalReader
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import Received
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.errors import UsageError
from fanout.protocol.records import Header
from fanout.protocol.request import Position

_FITTING: Final = {
    "token_file": ("tcp", "tls", "multicast"),
    "tls_ca": ("tls", "multicast", "nats+tls"),
    "recovery": ("multicast",),
    "group_b": ("multicast",),
    "interface": ("multicast",),
    "creds": ("nats", "nats+tls"),
    "prefix": ("nats", "nats+tls"),
}
"""Options by the addresses that they are for. With several addresses, each is for some of them."""

_FROM_ENVIRONMENT: Final = ("token_file", "tls_ca", "creds")
"""Options that may stand in the environment, for other commands."""


class Stream(Protocol):
    """Records from one address, as a client for trio hands them over."""

    url: str

    @property
    def header(self) -> Header | None: ...

    async def connect(self) -> Header: ...

    def __aiter__(self) -> AsyncIterator[Received]: ...


class Batches(Stream, Protocol):
    """A stream that tells what one read brought, and how far the service is."""

    @property
    def position(self) -> Position | None: ...

    @property
    def is_any_ready(self) -> bool: ...

    @property
    def heartbeat_ns(self) -> int: ...


class TrioJournal(JournalReader, AsyncClient):
    """A reader of a journal, beside other tasks. Reading blocks the event loop: a piece takes less
    than a millisecond."""

    async def _step(self) -> None:
        await trio.sleep(0 if self._take() else POLL_S)


@asynccontextmanager
async def trio_client(source: Source, *, follow: bool) -> AsyncIterator[Batches]:
    """The client of an address, closed at the end. `follow` is for a journal. Raises as
    `Source.client`."""
    client = source.client(
        TrioTcpClient,
        TrioShmClient,
        TrioRingClient,
        TrioMulticastClient,
        TrioJournal,
        trio_nats_client,
        follow=follow,
    )
    async with client:
        yield cast(Batches, client)


def scheme_of(address: str) -> str:
    """What stands in front of `://`."""
    return address.partition("://")[0]


def fitting(source: Source, addresses: Sequence[str]) -> Source:
    """A source with the options that are for its kind of address. Raises `UsageError` for one that
    is for none of them."""
    schemes = [scheme_of(each) for each in addresses]
    unfit: dict[str, str | None] = {}
    for option, kinds in _FITTING.items():
        if not getattr(source, option):
            continue
        if option not in _FROM_ENVIRONMENT and not set(kinds) & set(schemes):
            flag = "--" + option.replace("_", "-")
            raise UsageError(f"{flag} is for {kinds[0]}://: no address is one")
        if scheme_of(source.address) not in kinds:
            unfit[option] = "" if option == "interface" else None
    is_asked = source.recovery is not None or scheme_of(source.address) != "multicast"
    if not is_asked:
        unfit |= {"token_file": None, "tls_ca": None}
    return msgspec.structs.replace(source, **unfit)
