"""The client of a journal for asyncio: `fanout.clients.journal` with `await`.

    async with AsyncioJournalClient("journal:///var/lib/fanout/binance", follow=True) as client:
        async for record in client:
            ...

Reading blocks the event loop for as long as the disk takes.
"""

import asyncio

from fanout.clients.client import AsyncClient
from fanout.clients.journal import POLL_S, JournalReader

__all__ = ["AsyncioJournalClient"]


class AsyncioJournalClient(JournalReader, AsyncClient):
    """A reader of a journal.

    See `fanout.clients.journal.JournalReader` for parameters and errors.
    """

    async def _step(self) -> None:
        # Sleep in every step, if only for 0 s, so that other tasks run.
        await asyncio.sleep(0 if self._take() else POLL_S)
