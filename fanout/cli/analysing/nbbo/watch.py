"""Follows the best prices of assets at several services, and shows them.

    find     ask each address for its channels and their instruments
    choose   of each venue one instrument of an asset: of a channel with books, else with quotes
    read     a client for each channel that was chosen, of the chosen symbols alone

An address that does not answer is tried again, while the others are shown. Another task moves time
on: the newest time of the records, and what has passed since on this machine's clock. So a venue
becomes stale although nothing comes from anywhere.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Final

import trio
from msgspec.structs import replace

from fanout.analytics.nbbo.assets import AssetName
from fanout.analytics.nbbo.nbbos import BestPricesOf, Changed
from fanout.cli.analysing.nbbo.channels import Channels, Chosen, Offer
from fanout.cli.analysing.nbbo.journals import play
from fanout.cli.analysing.nbbo.view import Lines, Once, Screen, View
from fanout.cli.analysing.passing import Passing
from fanout.cli.inputs import TrioJournal, scheme_of
from fanout.cli.outcome import is_terminal
from fanout.cli.saving.signals import Signals
from fanout.cli.source import Source, told, trio_nats_client
from fanout.clients.client import AsyncClient
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_client import channel_in
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config.assets import typed_symbols
from fanout.errors import UsageError, shown
from fanout.protocol.errors import FanoutError, PeerError, reason
from fanout.protocol.records import Header, Loss

REDRAW_S: Final = 0.1
RETRY_S: Final = 2.0
"""Between two attempts at an address that did not answer."""
PATIENCE_S: Final = 5.0
"""So long a ring, a queue, a group or a stream may take until its header is there."""
ONCE_S: Final = 2.0
"""After so long the table is printed, if it is printed once, although a venue is missing."""

_NETWORK: Final = ("tcp", "tls")


def watch(
    names: Sequence[AssetName],
    sources: Sequence[Source],
    *,
    max_stale_ms: int,
    as_json: bool,
    limit: int | None,
) -> int | None:
    """Show best prices until a signal, the limit, or the end of all streams.

    Returns the number of the signal, or None. Raises `UsageError`, and the errors of the clients,
    alone or in a group.
    """
    are_journals = [each.is_journal for each in sources]
    if any(are_journals) and not all(are_journals):
        raise UsageError("journal:// has the past: read journals alone, or services alone")
    view: View = Lines() if as_json else Once(at_end=all(are_journals))
    if not as_json and is_terminal(sys.stdout) and not all(are_journals):
        view = Screen()
    with Signals() as signals, view if isinstance(view, Screen) else nullcontext():
        if all(are_journals):
            play(
                names,
                sources,
                view,
                max_stale_ms=max_stale_ms,
                limit=limit,
                is_stopped=lambda: signals.first is not None,
            )
        else:
            trio.run(Watch(names, sources, view, max_stale_ms, limit).run, signals)
    return signals.first


class Watch:
    """Services, the best prices among them, and the view of these."""

    def __init__(
        self,
        names: Sequence[AssetName],
        sources: Sequence[Source],
        view: View,
        max_stale_ms: int,
        limit: int | None,
    ) -> None:
        self._names = names
        self._sources = sources
        self._view = view
        self._limit = limit
        self._prices = BestPricesOf(names, max_stale_ms=max_stale_ms)
        self._channels = Channels(self._prices, typed_symbols(sources[0].symbols or ()))
        self._passing = Passing()
        self._changes = 0
        self._open = 0
        """Streams that are read, and addresses that are tried."""
        self._nursery: trio.Nursery | None = None

    async def run(self, signals: Signals) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with signals.cancelling(nursery.cancel_scope):
                nursery.start_soon(self._move_on)
                await self._begin()
                await trio.Event().wait()  # until it is cancelled
        self._view.redraw(self._prices)

    async def _begin(self) -> None:
        """Find all addresses, and read what is wanted of them."""
        found: dict[int, list[Offer]] = {}
        failed: dict[int, PeerError] = {}

        async def find(rank: int) -> None:
            try:
                found[rank] = await _find(rank, self._sources[rank])
            except RefusedError:
                raise
            except PeerError as error:
                failed[rank] = error

        async with trio.open_nursery() as nursery:
            for rank in range(len(self._sources)):
                nursery.start_soon(find, rank)
        if failed and (not found or not self._sources[0].reconnect):
            raise failed[min(failed)]
        self._read_all([offer for rank in sorted(found) for offer in found[rank]])
        for rank in sorted(failed):
            self._view.tell(_retold(failed[rank]))
            self._start(self._retry, rank)
        self._channels.require(self._names, is_all=not failed)

    def _read_all(self, offers: Sequence[Offer]) -> None:
        chosen = self._channels.choose(offers)
        for each in chosen:
            self._start(self._read, each)

    def _start(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        assert self._nursery is not None, "it runs"
        self._open += 1
        self._nursery.start_soon(task, *arguments)

    async def _retry(self, rank: int) -> None:
        """Try an address until it answers."""
        source = self._sources[rank]
        while True:
            await trio.sleep(RETRY_S)
            try:
                self._read_all(await _find(rank, source))
                self._end(None)
                return
            except (RefusedError, UsageError) as error:
                self._end(error)
                return
            except PeerError as error:
                self._view.tell(_retold(error))

    async def _read(self, chosen: Chosen) -> None:
        """Follow a channel to its end."""
        offer, stream, failure = chosen.offer, chosen.stream, None
        client = offer.client or _client_of(replace(offer.source, symbols=chosen.symbols))
        header = offer.header
        try:
            async with client:
                async for record in client:
                    if client.header is not header and client.header is not None:
                        header = client.header
                        stream.meet(header)
                    self._note(client.url, record)
                    self._passing.note(getattr(record, "received_ns", 0), _here_ns())
                    self._show(stream.take(record))
        except (PeerError, UnknownSymbolError) as error:
            failure = error
        self._show(stream.take(Disconnected(why="ended", pause_s=0)))
        self._end(failure)

    def _end(self, failure: FanoutError | None) -> None:
        """A task has come to its end. With the last one all is over."""
        self._open -= 1
        if failure is not None and not self._open:
            raise failure
        if failure is not None:
            self._view.tell(shown(reason(failure)))
        if not self._open:
            self._finish()

    def _finish(self) -> None:
        assert self._nursery is not None, "it runs"
        self._nursery.cancel_scope.cancel()

    def _note(self, url: str, record: Received) -> None:
        match record:
            case Disconnected() | Restarted():
                self._view.tell(told(url, record))
            case Loss():
                self._view.tell(f"{url}: {record.count:,} records were lost: {record.reason.name}")

    def _show(self, changed: Changed) -> None:
        for each in changed:
            if self._changes == self._limit:
                return
            self._view.change(each, self._prices.now_ns)
            self._changes += 1
        if changed and self._changes == self._limit:
            self._finish()

    async def _move_on(self) -> None:
        """Have time pass, and draw."""
        began_s = trio.current_time()
        while True:
            await trio.sleep(REDRAW_S)
            self._show(self._prices.advance(self._passing.now_ns(_here_ns())))
            self._view.redraw(self._prices)
            if isinstance(self._view, Once):
                if trio.current_time() - began_s > ONCE_S and self._prices.assets:
                    self._view.print(self._prices)
                if self._view.is_done:
                    self._finish()


async def _find(rank: int, source: Source) -> list[Offer]:
    """The channels of an address. Raises `PeerError` if it does not answer."""
    if scheme_of(source.address) not in _NETWORK:
        client = _client_of(replace(source, symbols=None))
        with trio.move_on_after(PATIENCE_S):
            header = await client.connect()
            return [Offer(rank=rank, source=source, header=header, client=client)]
        async with client:  # closes it
            raise DisconnectedError(f"{client.url}: no header within {PATIENCE_S:g} s")
    first = await _header_of(source)
    offers = [Offer(rank=rank, source=source, header=first)]
    if not channel_in(source.address):
        base = source.address.rstrip("/")
        for name in first.channels:
            other = replace(source, address=f"{base}/{name}")
            offers.append(Offer(rank=rank, source=other, header=await _header_of(other)))
    return offers


async def _header_of(source: Source) -> Header:
    client = _client_of(replace(source, symbols=None, reconnect=False))
    async with client:
        header = await client.connect()
    if not header.instruments:
        raise DisconnectedError("the service does not know its instruments yet")
    return header


def _client_of(source: Source) -> AsyncClient:
    return source.client(
        TrioTcpClient,
        TrioShmClient,
        TrioRingClient,
        TrioMulticastClient,
        TrioJournal,
        trio_nats_client,
    )


def _retold(error: PeerError) -> str:
    return f"{shown(reason(error))}; trying again"


def _here_ns() -> int:
    return int(trio.current_time() * 1e9)
