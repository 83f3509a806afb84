"""Streams by their addresses.

`SCHEMES` has the kinds of addresses that are no client's of `fanout.cli.source`. A new kind is an
entry there: a function that opens an address, and gives a `Stream`. It is in `KEPT` too if it reads
records from a disk, in `LAST` if it has to know the other stream, and in `COARSE` if it says less
of a trade than a service does.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
import trio

from fanout.cli.comparing.rings import RingsStream
from fanout.cli.inputs import Stream, scheme_of, trio_client
from fanout.cli.outcome import say
from fanout.cli.secrets import read_credentials
from fanout.cli.source import Source, parse_start
from fanout.cli.venues import check_venue, spelled
from fanout.clients.consolidated import ConsolidatedClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import Config, FeedConfig, SourceConfig
from fanout.config.assets import typed_symbols
from fanout.config.source import names_of
from fanout.errors import UsageError
from fanout.protocol.records import Header
from fanout.protocol.request import Moment, Position
from fanout.service import run_service
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import VENUES

VENUE: Final = "venue"
RINGS: Final = "rings"

PATIENCE_S: Final = 2.0
"""After so long without an answer, stderr names the stream that is waited for."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is open."""

    stream: Stream
    header: Header
    is_kept: bool = False
    """Whether it is read from a disk: as fast as the other one allows."""


class VenueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options in front of the command that `venue://` takes."""

    feed: FeedConfig
    ws_url: str | None
    rest_url: str | None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of an address."""

    source: Source
    follow: bool
    """Whether to wait for more at the end of a journal."""
    venue: VenueOptions
    by_content: bool
    """Whether trades are not matched by their ids."""
    other: Header | None = None
    """The header of the other stream, where that was opened first."""

    @property
    def address(self) -> str:
        return self.source.address


Opener = Callable[[Wish], AbstractAsyncContextManager[Stream]]


@asynccontextmanager
async def _open_client(wish: Wish) -> AsyncIterator[Stream]:
    """A service's client, by `fanout.cli.source`."""
    async with trio_client(wish.source, follow=wish.follow) as client:
        yield client


@asynccontextmanager
async def _open_venue(wish: Wish) -> AsyncIterator[Stream]:
    """The venue itself: a service in this process, with a connection of its own and one reader.
    Raises `VenueError`, perhaps in an exception group."""
    config = Config(sources=(_source_of(wish),), transports=(TcpConfig(port=0),))
    stop = trio.Event()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await run_service(config, stop=stop, announce=task_status.started)

    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve)
        async with TrioTcpClient(url, market_only=wish.source.market_only) as client:
            client.url = wish.address
            yield client
        stop.set()


def check_venue_address(source: Source) -> str:
    """The venue's name in `venue://NAME`. Raises `UsageError` for what no venue can be asked."""
    name = source.address.partition("://")[2].strip("/")
    check_venue(source.address, name)
    if name == "sim":
        raise UsageError("venue://sim would be an exchange of its own: take --ws-url, --rest-url")
    if source.start not in (None, "live"):
        raise UsageError(f"--start {source.start}: a venue has no past; compare a journal")
    return name


@asynccontextmanager
async def _open_rings(wish: Wish) -> AsyncIterator[Stream]:
    """A consolidator's rings."""
    source = wish.source
    start = check_rings_address(source)
    stream = RingsStream(
        source.address,
        start=start,
        symbols=typed_symbols(source.symbols or ()),
        follow=wish.follow,
        other=wish.other,
        by_content=wish.by_content,
    )
    try:
        yield stream
    finally:
        stream.close()


def check_rings_address(source: Source) -> str | Moment:
    """Where to begin in rings. Raises `UsageError` for what they cannot be asked, and
    `AddressError`."""
    ConsolidatedClient(source.address)
    if source.market_only:
        raise UsageError("--market-only: rings do not say which trades are of the market")
    start = parse_start(source.start or "oldest")
    if isinstance(start, Position):
        raise UsageError(f"--start {source.start}: rings have no epoch; give a time")
    return start


def _source_of(wish: Wish) -> SourceConfig:
    """The source of `venue://NAME`: the symbols and kinds of data of the other stream, unless the
    operator names symbols."""
    name = check_venue_address(wish.source)
    venue, other = VENUES[name], wish.other
    served = tuple(each.symbol for each in other.instruments) if other else venue.default_assets
    return SourceConfig(
        venue=name,
        assets=spelled(name, typed_symbols(wish.source.symbols or ()) or served),
        data=names_of(other.data & venue.kinds) if other else ("trades",),
        feed=wish.venue.feed,
        ws_url=wish.venue.ws_url,
        rest_url=wish.venue.rest_url,
        credentials=read_credentials(venue.secrets),
    )


SCHEMES: Final[dict[str, Opener]] = {VENUE: _open_venue, RINGS: _open_rings}

KEPT: Final = ("journal", RINGS)
"""Kinds of addresses of records on a disk, which have an end."""

LAST: Final = (RINGS, VENUE)
"""Kinds of addresses that are opened once the other stream is connected, and get its header: of two
such ones the one that stands first here is opened first."""

COARSE: Final = (RINGS,)
"""Kinds of addresses whose trades have times in ms, and do not say of which kind they are."""


def is_kept(address: str) -> bool:
    """Whether an address is that of records on a disk."""
    return scheme_of(address) in KEPT


def is_coarse(address: str) -> bool:
    """Whether the trades of an address have times in ms, and no kinds."""
    return scheme_of(address) in COARSE


@asynccontextmanager
async def open_both(wishes: tuple[Wish, Wish]) -> AsyncIterator[tuple[Opened, Opened]]:
    """Both streams, connected: those of `LAST` last."""
    streams: dict[int, Stream] = {}
    headers: dict[int, Header] = {}
    async with AsyncExitStack() as stack:
        sides = sorted((0, 1), key=lambda side: _turn(wishes[side].address))
        for side in sides:
            wish = wishes[side]
            if scheme_of(wish.address) in LAST:
                await _connect(streams, headers)
                wish = msgspec.structs.replace(wish, other=headers.get(1 - side))
            open_it: Opener = SCHEMES.get(scheme_of(wish.address), _open_client)
            streams[side] = await stack.enter_async_context(open_it(wish))
        await _connect(streams, headers)
        a, b = (
            Opened(
                stream=streams[side], header=headers[side], is_kept=is_kept(wishes[side].address)
            )
            for side in (0, 1)
        )
        yield a, b


def _turn(address: str) -> int:
    """When an address is opened: the lowest first."""
    scheme = scheme_of(address)
    return LAST.index(scheme) + 1 if scheme in LAST else 0


async def _connect(streams: dict[int, Stream], headers: dict[int, Header]) -> None:
    """Connect the streams that have no header yet, side by side."""

    async def connect(side: int) -> None:
        headers[side] = await streams[side].connect()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_after_a_while, streams, headers)
        async with trio.open_nursery() as connecting:
            for side in streams:
                if side not in headers:
                    connecting.start_soon(connect, side)
        nursery.cancel_scope.cancel()


async def _say_after_a_while(streams: dict[int, Stream], headers: dict[int, Header]) -> None:
    await trio.sleep(PATIENCE_S)
    for side, stream in streams.items():
        if side not in headers:
            say(f"waiting for {stream.url} to answer")
