"""Best prices from journals: their records by time, as fast as they can be read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from operator import itemgetter
from typing import NoReturn

from fanout.analytics.nbbo.assets import AssetName
from fanout.analytics.nbbo.nbbos import BestPricesOf
from fanout.cli.analysing.nbbo.channels import Channels, Offer
from fanout.cli.analysing.nbbo.view import Once, View
from fanout.cli.source import Source
from fanout.clients.journal import JournalClient
from fanout.clients.outcomes import Received
from fanout.config.assets import typed_symbols
from fanout.errors import UsageError
from fanout.protocol.records import Header

_Timed = tuple[int, int, Received, Header]
"""Time, place of the journal, record, and the header that it belongs to."""


def play(
    names: Sequence[AssetName],
    sources: Sequence[Source],
    view: View,
    *,
    max_stale_ms: int,
    limit: int | None,
    is_stopped: Callable[[], bool],
) -> None:
    """Show the best prices of journals until their end, the limit, or `is_stopped`. Raises
    `UsageError` and `JournalError`."""
    prices = BestPricesOf(names, max_stale_ms=max_stale_ms)
    channels = Channels(prices, typed_symbols(sources[0].symbols or ()))
    changes = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(_client_of(each)) for each in sources]
        chosen = channels.choose(
            Offer(rank=rank, source=source, header=client.connect())
            for rank, (source, client) in enumerate(zip(sources, clients, strict=True))
        )
        channels.require(names, is_all=True)
        streams = {each.offer.rank: each.stream for each in chosen}
        headers = {each.offer.rank: each.offer.header for each in chosen}
        read = [_timed(rank, clients[rank]) for rank in streams]
        for _, rank, record, header in merge(*read, key=itemgetter(0)):
            if header is not headers[rank]:
                headers[rank] = header
                streams[rank].meet(header)
            for each in streams[rank].take(record):
                view.change(each, prices.now_ns)
                changes += 1
                if changes == limit:
                    return
            if is_stopped():
                break
    if isinstance(view, Once):
        view.print(prices)


def _client_of(source: Source) -> JournalClient:
    def refuse(address: str, **_: object) -> NoReturn:
        raise UsageError(f"{address} is no journal: read journals alone, or services alone")

    return source.client(refuse, refuse, refuse, refuse, _whole, refuse)


def _whole(address: str, *, symbols: Sequence[str], **options: object) -> JournalClient:
    """A client of all symbols: another journal may have those that were typed."""
    return JournalClient(address, **options)  # type: ignore[arg-type]


def _timed(rank: int, client: JournalClient) -> Iterator[_Timed]:
    """The records of a journal. One without a time has that of the record before it."""
    time_ns = 0
    for record in client:
        time_ns = getattr(record, "received_ns", 0) or time_ns
        assert client.header is not None, "it was connected"
        yield time_ns, rank, record, client.header
