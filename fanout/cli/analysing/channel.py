"""Rows as a channel of records, served over TCP as a service serves trades.

The channel is named `features`. Its header names the columns, and its instruments are
`VENUE:SYMBOL`. They are added as their first rows come: a channel of rows has no listing.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from fanout.analytics.consumer.consumer import PlacedRow
from fanout.analytics.consumer.roster import Listed
from fanout.channel.channel import Channel
from fanout.cli.outcome import say
from fanout.errors import UsageError
from fanout.protocol.constants import (
    MAX_COLUMNS,
    MAX_INSTRUMENTS,
    MAX_SYMBOL_BYTES,
    DataKinds,
    EndReason,
)
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header, Reference
from fanout.serving import run_transport
from fanout.transports import make_transport
from fanout.transports.base import Transport
from fanout.transports.tcp.config import TcpConfig

NAME: Final = "features"
"""Of the channel, and in the place of a venue."""

LOG_BYTES: Final = 64 * 1024 * 1024
"""Memory for what slow readers have not read yet."""

MOST_UNREAD: Final = 0.5
"""How much of the log a reader may have to read before rows from a disk wait for it."""

LOOK_S: Final = 0.002

_NOTHING: Final = Reference(price=0, quantity=0, trade_id=0, time=0)


class ChannelOutput:
    """A channel of rows, and what serves it."""

    def __init__(
        self,
        channel: Channel,
        transport: Transport,
        listed: Sequence[Listed],
        failures: Sequence[Exception],
        *,
        newest_ns: Callable[[], int],
        waits: bool,
        wall_ns: Callable[[], int],
    ) -> None:
        """`newest_ns` gives the time of the newest record, which stands in the block of its rows.
        With `waits`, which is for records from a disk, rows wait for readers that are far behind.
        Those of live inputs do not: a reader that is too slow gets a LOSS, as from a service."""
        self._channel = channel
        self._transport = transport
        self._listed = listed
        self._failures = failures
        self._newest_ns = newest_ns
        self._waits = waits
        self._wall_ns = wall_ns
        self._pending: list[FeatureRow] = []
        self._known = 0
        """How many instruments the channel has."""

    def add(self, rows: Sequence[PlacedRow]) -> None:
        """See `Output.add`."""
        listed = self._listed
        self._pending += [
            FeatureRow(listed[place].instrument, row.time_ns, row.values, row.absences)
            for place, row in rows
        ]

    async def flush(self) -> None:
        """See `Output.flush`. Raises `UsageError` for more instruments than a channel holds, and
        the error with which the transport failed."""
        if self._failures:
            raise self._failures[0]
        if not self._pending:
            return
        if len(self._listed) > self._known:
            self._add_instruments()
        rows, self._pending = self._pending, []
        received_ns = self._newest_ns()
        # The age of rows counts from the service's read. Records on a disk are old anyway.
        held_ns = 0 if self._waits else max(0, self._wall_ns() - received_ns)
        self._channel.publish(rows, received_ns=received_ns, held_ns=held_ns)
        while self._waits and self._transport.unread > MOST_UNREAD:  # noqa: ASYNC110  no event
            await trio.sleep(LOOK_S)

    def _add_instruments(self) -> None:
        new = [each.instrument for each in self._listed[self._known :]]
        if len(self._listed) > MAX_INSTRUMENTS:
            raise UsageError(
                f"--tcp-port: a channel holds {MAX_INSTRUMENTS:,} instruments, and rows of "
                "more have come: divide the symbols between two consumers"
            )
        for each in new:
            if len(each.symbol.encode()) > MAX_SYMBOL_BYTES:
                raise UsageError(
                    f"--tcp-port: {each.symbol} has more than {MAX_SYMBOL_BYTES} bytes, which is "
                    "the most for a symbol of a channel"
                )
        self._channel.change(new, [_NOTHING] * len(new))
        self._known = len(self._listed)


@asynccontextmanager
async def open_channel(
    config: TcpConfig,
    columns: Sequence[str],
    listed: Sequence[Listed],
    *,
    newest_ns: Callable[[], int],
    waits: bool,
    wall_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[ChannelOutput]:
    """A channel that is served until the end of the block, and then says END. Raises `BindError`,
    and `UsageError` for too many columns; like every nursery, perhaps in an exception group."""
    if len(columns) > MAX_COLUMNS:
        raise UsageError(f"--tcp-port: {len(columns):,} columns: at most {MAX_COLUMNS}")
    channel = _channel(columns, wall_ns)
    transport = make_transport(config)
    failures: list[Exception] = []
    for words in config.warnings():
        say(words, logging.WARNING)
    async with trio.open_nursery() as nursery:
        run = partial(run_transport, transport, [channel], trio.Event(), failures)
        url: str = await nursery.start(run)
        say(f"serving rows of features on {url}")
        try:
            yield ChannelOutput(
                channel,
                transport,
                listed,
                failures,
                newest_ns=newest_ns,
                waits=waits,
                wall_ns=wall_ns,
            )
        finally:
            channel.end(EndReason.SHUTDOWN, retry_ms=None, why="the consumer has ended")


def _channel(columns: Sequence[str], wall_ns: Callable[[], int]) -> Channel:
    header = Header(
        epoch_ns=wall_ns(),
        next_seq=1,
        venue=NAME,
        instruments=(),
        references=(),
        channel=NAME,
        data=DataKinds.FEATURES,
        columns=tuple(columns),
    )
    return Channel(header, log_bytes=LOG_BYTES, wall_ns=wall_ns)
