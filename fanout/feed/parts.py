"""The objects that several tasks of one feed share, and how they are made."""

from collections.abc import Callable

import msgspec

from fanout.channel.channel import Channel
from fanout.config import FeedConfig
from fanout.feed.announcer import Announcer
from fanout.feed.balance import Balance
from fanout.feed.books import Books, are_derived, kind_of
from fanout.feed.connection import Connect
from fanout.feed.connections import Connections, Sink
from fanout.feed.liveness import Liveness, LivenessOfKinds
from fanout.feed.market import Market
from fanout.feed.quotes import Quotes
from fanout.feed.roster import Roster
from fanout.feed.sequences import Sequences
from fanout.feed.stream_books import StreamBooks
from fanout.feed.units import Units
from fanout.feed.watch import Watch
from fanout.net.rest import RestClient
from fanout.protocol.constants import DataKinds
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Venue
from fanout.venues.values import BookSource


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Instruments, trade ids, states, timers, reports, connections, quotes, order books and the
    balance of streams of one feed."""

    roster: Roster
    sequences: Sequences
    liveness: Liveness
    watch: Watch
    announcer: Announcer
    connections: Connections
    quotes: Quotes
    books: Books | StreamBooks
    units: Units
    balance: Balance


def made_parts(
    venue: Venue,
    market: Market,
    channel: Channel,
    rest: RestClient,
    anomalies: Anomalies,
    config: FeedConfig,
    sink: Sink,
    *,
    connect: Connect,
    uniform: Callable[[float, float], float],
    wall_ns: Callable[[], int],
) -> Parts:
    """The parts of a new feed. The connections bring to `sink` what they receive. The other
    arguments are as in `Feed`."""
    roster = Roster(market.instruments, market.references)
    sequences = Sequences(market.instruments, venue.stream, anomalies, venue.continuity)
    liveness = _liveness(venue, market, config.first_trade_timeout_s)
    watch = Watch(sequences, liveness)
    announcer = Announcer(channel, roster, wall_ns=wall_ns)
    quotes = Quotes(roster, anomalies)
    of_books = venue, rest, channel.books, roster, liveness, announcer, anomalies
    books = (
        StreamBooks(*of_books, quotes, wake=watch.wake, on_misfit=sink.misfit)
        if venue.book_source is BookSource.STREAM
        else Books(*of_books, wake=watch.wake, on_misfit=sink.misfit)
    )
    return Parts(
        roster=roster,
        sequences=sequences,
        liveness=liveness,
        watch=watch,
        announcer=announcer,
        connections=Connections(
            venue,
            config,
            sink,
            anomalies,
            connect=connect,
            uniform=uniform,
            units=roster.units,
        ),
        quotes=quotes,
        books=books,
        units=Units(venue, roster, sequences, books, announcer),
        balance=Balance(_own_streams(venue) | books.kind, book=books.kind),
    )


def _own_streams(venue: Venue) -> DataKinds:
    return venue.data & ~DataKinds.QUOTES if are_derived(venue) else venue.data


def _liveness(venue: Venue, market: Market, first_trade_timeout_s: float) -> Liveness:
    has_more = DataKinds.TRADES in venue.data and venue.data != DataKinds.TRADES
    return (LivenessOfKinds if has_more else Liveness)(
        market.usual_s,
        market.longest_s,
        first_trade_timeout_s=first_trade_timeout_s,
        lacks=kind_of(venue),
        silence_s=venue.limits.silence_s,
    )
