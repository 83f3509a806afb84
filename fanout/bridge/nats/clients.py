"""The clients that a bridge reads by: those for asyncio, with whole frames."""

from fanout.clients.journal_asyncio import AsyncioJournalClient
from fanout.clients.multicast_asyncio import AsyncioMulticastClient
from fanout.clients.relay import Relaying
from fanout.clients.ring_asyncio import AsyncioRingClient
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient


class TcpRelay(Relaying, AsyncioTcpClient):
    """Over TCP."""


class ShmRelay(Relaying, AsyncioShmClient):
    """Of a queue."""


class RingRelay(Relaying, AsyncioRingClient):
    """Of a ring."""


class MulticastRelay(Relaying, AsyncioMulticastClient):
    """Of a multicast group."""


class JournalRelay(Relaying, AsyncioJournalClient):
    """Of a journal."""
