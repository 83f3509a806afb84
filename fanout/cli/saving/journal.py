"""A journal as `save` reads it: beside other tasks, as fast as they take it."""

import trio

from fanout.clients.client import AsyncClient
from fanout.clients.journal import POLL_S, JournalReader


class TrioJournalClient(JournalReader, AsyncClient):
    """A reader of a journal. Reading blocks the event loop: a piece takes less than a
    millisecond."""

    async def _step(self) -> None:
        await trio.sleep(0 if self._take() else POLL_S)
