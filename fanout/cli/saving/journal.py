"""A journal as `save` reads it: beside other tasks, as fast as they take it."""

import trio

from fanout.clients.client import AsyncClient
from fanout.clients.columns.journal import RowReader
from fanout.clients.journal import POLL_S


class TrioJournalClient(RowReader, AsyncClient):
    """A reader of a journal, which hands over trades as rows. Reading blocks the event loop: a
    piece takes less than a millisecond."""

    async def _step(self) -> None:
        await trio.sleep(0 if self._take() else POLL_S)
