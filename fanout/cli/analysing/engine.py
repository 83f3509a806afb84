"""Moves records from the inputs through a consumer, such as the features, to the outputs.

A task for each input reads, and one processes. What one read of an input brought is processed in
one go, up to `batch_records`, and the outputs are flushed once for it. So no record costs a switch
of tasks. Between reading and processing stands the merger, whose queues have a limit. An input
whose queue is full is not read any more until there is room: nothing is dropped here. A slow
output holds up the processing, and with it the inputs.
"""

import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from fanout.analytics.consumer.merge import Merger
from fanout.cli.analysing.figures import Counts
from fanout.cli.analysing.output import Output, Taker
from fanout.cli.inputs import Batches
from fanout.cli.outcome import say
from fanout.cli.source import told
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.protocol.errors import PeerError
from fanout.protocol.records import Header, Loss

_NEWS = (Disconnected, Restarted, Loss)
"""Records that say something of the stream itself."""


Row = TypeVar("Row")


class Engine(Generic[Row]):
    """One run of a consumer."""

    def __init__(
        self,
        consumer: Taker[Row],
        merger: Merger,
        streams: Sequence[Batches],
        outputs: Sequence[Output[Row]],
        counts: Counts,
        *,
        batch_records: int,
        limit: int | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """The engine ends after `limit` rows. `wall_ns` gives unix ns, for the lag."""
        self.failure: Exception | None = None
        """The first error with which an input gave up."""
        self._consumer = consumer
        self._merger = merger
        self._streams = tuple(streams)
        self._outputs = tuple(outputs)
        self._counts = counts
        self._batch_records = batch_records
        self._left = limit
        self._wall_ns = wall_ns
        self._arrived = trio.Event()
        """Set when there is something to process."""
        self._room = trio.Event()
        """Set, and replaced, when records have left the queues."""

    async def run(self) -> None:
        """Process until all inputs have ended, or the limit is reached. Raises what the outputs
        raise, and `ConsumerConfigError`; like every nursery, perhaps in an exception group."""
        for each in self._outputs:
            await each.flush()  # a line with the names of columns may be due
        async with trio.open_nursery() as nursery:
            for index in range(len(self._streams)):
                nursery.start_soon(self._read, index)
            await self._process()
            nursery.cancel_scope.cancel()

    async def _read(self, index: int) -> None:
        state = self._counts.states[index]
        try:
            await self._receive(index)
            state.why = "it has ended"
        except (DisconnectedError, UnknownSymbolError, PeerError) as error:
            if not state.venue and isinstance(error, RefusedError | UnknownSymbolError):
                raise  # the operator named what is not there: no other input makes up for it
            self.failure = self.failure or error
            state.why = str(error)
            if len(self._streams) > 1:
                say(f"{state.address} is over: {error}")
        state.is_connected, state.has_ended = False, True
        self._merger.end(index)
        self._arrived.set()

    async def _receive(self, index: int) -> None:
        stream, state, merger = self._streams[index], self._counts.states[index], self._merger
        header: Header | None = None
        now_ns = 0
        is_first = True  # of what one read brought
        async for record in stream:
            if is_first:
                is_first, now_ns = False, _now_ns()
                if stream.header is not header:
                    header = self._begin(index, stream.header)
            if isinstance(record, _NEWS):
                self._note(index, record)
            merger.put(index, record, now_ns)
            state.records += 1
            if merger.is_full(index):
                await self._until_room(index)
                is_first = True
            elif not stream.is_any_ready:
                self._arrived.set()
                is_first = True

    def _begin(self, index: int, header: Header | None) -> Header | None:
        if header is not None:
            state = self._counts.states[index]
            self._consumer.begin(index, header)
            state.channel, state.venue, state.is_connected = header.channel, header.venue, True
        return header

    def _note(self, index: int, record: Received) -> None:
        state = self._counts.states[index]
        match record:
            case Loss():
                state.lost += record.count
            case Disconnected(why=why):
                state.is_connected, state.why = False, why
                state.reconnects += 1
        if isinstance(record, Disconnected | Restarted):
            say(told(state.address, record))

    async def _until_room(self, index: int) -> None:
        while self._merger.is_full(index):
            self._arrived.set()
            await self._room.wait()

    async def _process(self) -> None:
        merger = self._merger
        while True:
            self._mark()
            merged = merger.take(_now_ns(), self._batch_records)
            if merged:
                self._let_in()
                if await self._hand_on(self._consumer.take(merged)):
                    return
            elif merger.has_ended:
                return
            else:
                await self._until_arrived()

    def _mark(self) -> None:
        """Note the heartbeats of streams that have nothing else: nobody waits for these."""
        if len(self._streams) > 1:
            for index, each in enumerate(self._streams):
                if not each.is_any_ready:
                    self._merger.mark(index, each.heartbeat_ns)

    def _let_in(self) -> None:
        self._room.set()
        self._room = trio.Event()

    async def _hand_on(self, rows: Sequence[Row]) -> bool:
        """Give rows to the outputs. Whether those were the last ones."""
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
        newest_ns = self._consumer.newest_ns
        if newest_ns and any(not each.is_kept for each in self._counts.states):
            self._counts.lag_ns = max(0, self._wall_ns() - newest_ns)
        if rows:
            for each in self._outputs:
                each.add(rows)
                await each.flush()
        await trio.lowlevel.checkpoint()
        return self._left == 0

    async def _until_arrived(self) -> None:
        """Wait for the next record, or until one that waits for other inputs is due."""
        due_ns = self._merger.due_ns()
        deadline_s = float("inf") if due_ns is None else due_ns / 1e9
        with trio.move_on_at(deadline_s):
            await self._arrived.wait()
        self._arrived = trio.Event()


def _now_ns() -> int:
    return int(trio.current_time() * 1e9)
