"""What to take from an exchange, and how: one `SourceConfig` for each source of the service.

A source feeds exactly one channel, and no two sources feed the same one. The channel is named
after the venue unless the configuration names it.
"""

from functools import reduce
from operator import or_
from typing import Annotated, Final

import msgspec

from fanout.config.assets import check_assets
from fanout.config.options import Option
from fanout.config.ranges import check_range
from fanout.errors import UsageError, shown
from fanout.net.addresses import check_url, parse_proxy
from fanout.protocol.constants import MAX_CHANNELS, DataKinds
from fanout.protocol.text import channel_fault
from fanout.venues import VENUES
from fanout.venues.values import DATA, Credentials

STREAMS: Final = ("auto", "trade", "aggTrade")
"""Single trades, with aggregates as the fallback where the venue has them (auto), or only one of
the two."""

MAX_CONNECTIONS: Final = 4


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a source listens to its exchange.

    `stream` is one of `STREAMS`. `connections` bring each symbol, and each is replaced when it is
    `rotate_after_s` old, before the exchange cuts it. Symbols are spread over connections, on
    average `symbols_per_connection` on each, or fewer where the venue allows fewer. A symbol
    without a trade within `first_trade_timeout_s` is reported as STALE; with `strict` that ends the
    service. A `patient` source waits at its start for a venue that limits or bans it, rather than
    end the service. `proxy` is a URL; None takes the environment's.
    """

    stream: Annotated[
        str,
        Option(
            "trade, aggTrade, or auto: trades, and aggregates where those stay silent.",
            choices=STREAMS,
        ),
    ] = "auto"
    connections: Annotated[
        int, Option("Connections to the exchange at once; the first to bring a trade wins.")
    ] = 1
    symbols_per_connection: Annotated[
        int,
        Option("Symbols of a connection, on average; fewer where the exchange allows fewer."),
    ] = 200
    rotate_after_s: Annotated[
        float,
        Option(
            "Seconds after which a connection is replaced, without a break; Binance cuts it after "
            "24 hours."
        ),
    ] = 23 * 3600.0
    first_trade_timeout_s: Annotated[
        float, Option("Seconds after which a symbol without a trade is called stale.")
    ] = 20.0
    strict: Annotated[bool, Option("End with exit code 69 if that happens.")] = False
    patient: Annotated[
        bool,
        Option("At the start, wait for an exchange that limits or bans; else that ends it, 75."),
    ] = False
    proxy: Annotated[
        str | None,
        Option(
            "Way to the exchange: http://HOST:PORT or socks5://HOST:PORT. "
            "\\[default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY]",
            metavar="URL",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise UsageError(f"--stream {self.stream!r}: {', '.join(STREAMS)}")
        check_range("--connections", self.connections, 1, MAX_CONNECTIONS)
        check_range("--symbols-per-connection", self.symbols_per_connection, 1, 1_024)
        check_range("--rotate-after", self.rotate_after_s, 60, 24 * 3600)
        check_range("--first-trade-timeout", self.first_trade_timeout_s, 1, 24 * 3600)
        if self.proxy is not None:
            parse_proxy("--proxy", self.proxy)


class SimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The built-in simulator that `--venue sim` runs beside the service."""

    rate: float = 200.0
    seed: int = 0


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One venue, its symbols, and the kinds of data to take from it.

    `venue` is a name of the registry (`fanout.venues.VENUES`). `assets` are symbols as the venue
    spells them, or patterns. `channel` is the name of the channel that the source feeds, by
    default the venue's. `ws_url` and `rest_url` replace the venue's own addresses. `sim` is None
    unless the venue is the simulator inside the service. `credentials` are those of the venue that
    the operator has set; `VenueClass.secrets` says where. With `checksums` each book is compared
    with the checksums that the venue sends of it.
    """

    assets: Annotated[
        tuple[str, ...],
        Option(
            "Symbols, comma-separated or repeated: SYMBOL of --venue, VENUE:SYMBOL, a pattern such "
            "as '*USDT', or all. \\[default: two of --venue]",
            metavar="SYMBOL,...",
            default=(),
        ),
    ]
    venue: Annotated[
        str, Option(f"Where trades come from: {', '.join(VENUES)}.", choices=tuple(VENUES))
    ] = "binance"
    data: Annotated[
        tuple[str, ...],
        Option(
            f"Kinds of records to take, comma-separated or repeated: {', '.join(DATA)}.",
            metavar="KIND,...",
            choices=tuple(DATA),
        ),
    ] = ("trades",)
    channel: Annotated[
        str, Option("Name of the channel that the source feeds.", is_in_tables_only=True)
    ] = ""
    ws_url: Annotated[str | None, Option("WebSocket base URL instead of the venue's.")] = None
    rest_url: Annotated[str | None, Option("REST base URL instead of the venue's.")] = None
    checksums: Annotated[
        bool,
        Option("Compare each order book with the exchange's checksums, where it sends any."),
    ] = False
    feed: FeedConfig = msgspec.field(default_factory=FeedConfig)
    sim: SimConfig | None = None
    credentials: Credentials | None = None

    def __post_init__(self) -> None:
        check_assets(self.assets)
        check_url("--ws-url", self.ws_url, ("ws", "wss"))
        check_url("--rest-url", self.rest_url, ("http", "https"))
        fault = channel_fault(self.channel) if self.channel else None
        if fault:
            raise UsageError(shown(fault))
        check_data(self.data)
        check_offer(self.venue, self.kinds, self.feed.stream)
        if self.checksums:
            check_checksums(self.venue, self.kinds)

    @property
    def kinds(self) -> DataKinds:
        """The kinds of records to take."""
        return reduce(or_, (DATA[each] for each in self.data))

    @property
    def name(self) -> str:
        """The name of the channel that the source feeds."""
        return self.channel or self.venue


def check_data(data: tuple[str, ...]) -> None:
    """Raises `UsageError` for an unknown kind, none or one twice."""
    for each in data:
        if each not in DATA:
            raise UsageError(f"--data {shown(each)!r} is unknown: {', '.join(DATA)}")
    if not data or len(set(data)) < len(data):
        raise UsageError(f"--data {','.join(data)!r}: name each kind once: {', '.join(DATA)}")
    if "book" in data and "orders" in data:
        raise UsageError(
            "--data book,orders: a channel has the order book by price or by order; take one of "
            "them, or two sources with a channel each"
        )


def check_offer(name: str, kinds: DataKinds, stream: str) -> None:
    """Raises `UsageError` for a venue that does not exist, and for kinds of data or of trades that
    it does not bring."""
    if name not in VENUES:
        raise UsageError(f"unknown venue {shown(name)!r}: {', '.join(VENUES)}")
    venue = VENUES[name]
    if kinds not in venue.kinds:
        offer = ", ".join(names_of(venue.kinds))
        raise UsageError(f"--data {','.join(names_of(kinds))}: {name} has {offer}")
    if stream == "auto":
        return
    if stream not in venue.streams:
        offer = ", ".join(venue.streams)
        raise UsageError(f"--stream {stream}: {name} has no such trades: take {offer}, or auto")
    lacking = kinds & ~venue.kinds_with(stream)
    if lacking:
        others = " or ".join(names_of(lacking))
        choice = next(each for each in venue.streams if kinds in venue.kinds_with(each))
        raise UsageError(f"--stream {stream} brings no {others}: take --stream {choice}, or auto")


def check_checksums(name: str, kinds: DataKinds) -> None:
    """Raises `UsageError` for a venue that sends no checksums, and for data that has none."""
    if not VENUES[name].has_checksums:
        senders = " or ".join(each for each, venue in VENUES.items() if venue.has_checksums)
        raise UsageError(f"--checksums: {name} sends none: leave it out, or take {senders}")
    if DataKinds.BOOK_BY_PRICE not in kinds:
        raise UsageError("--checksums: they are of order books by price: take --data book too")


def names_of(kinds: DataKinds) -> tuple[str, ...]:
    """The names of kinds of data, in the order of `DATA`."""
    return tuple(name for name, kind in DATA.items() if kind in kinds)


def check_names(sources: tuple[SourceConfig, ...]) -> None:
    """Raises `UsageError` where two sources would feed one channel, and for too many."""
    names = [each.name for each in sources]
    if len(names) > MAX_CHANNELS + 1:
        raise UsageError(f"{len(names)} sources: a service has up to {MAX_CHANNELS + 1} channels")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"{names.count(name)} sources would feed the channel {name}: name another with "
                "channel = ... in its [[source]]"
            )
