"""The journal as a transport: its registry entry, and `JournalTransport`.

config      options
transport   one task that reads all channels and hands what it reads to the writing threads
keeping     one channel of it: its place in the log, and its segments
"""

from typing import TYPE_CHECKING

from fanout.transports.journal.config import JournalConfig
from fanout.transports.registry import TransportEntry

if TYPE_CHECKING:
    from fanout.transports.journal.transport import JournalTransport


def _make(config: JournalConfig) -> "JournalTransport":
    from fanout.transports.journal.transport import JournalTransport

    return JournalTransport(config)


ENTRY = TransportEntry(
    name="journal",
    config=JournalConfig,
    make=_make,
    help="""Keep all channels on disk, as their readers get them.

    Example: fanout --assets BTCUSDT,ETHUSDT tcp --port 9000 journal --dir /var/lib/fanout --keep 7d
    """,
)

__all__ = ["ENTRY", "JournalConfig"]
