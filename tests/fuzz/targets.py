"""The table of targets: what parses, and what it may say no with. Everything else is a fault."""

from typing import Final

from fanout.clients.shm_file import QueueError
from fanout.errors import ConfigError, VenueError, VenueMessageError, VenueRefusalError
from fanout.protocol import LimitExceededError, MalformedError, PeerError
from fanout.protocol.ring import Lapped
from tests.fuzz import books, corpus, journals, outside, packets, queues, rings, slots, venue, wire
from tests.fuzz.target import Target

MIB: Final = 1024 * 1024

TARGETS: Final[dict[str, Target]] = {
    "frames": Target(run=wire.frames, refusals=(LimitExceededError,), seeds=corpus.streams),
    "header": Target(run=wire.header, refusals=(PeerError,), seeds=corpus.headers),
    "instruments": Target(run=wire.instruments, refusals=(PeerError,), seeds=corpus.instruments),
    "block": Target(run=wire.block, refusals=(PeerError,), seeds=corpus.blocks),
    "quotes": Target(run=wire.updates("quotes"), refusals=(PeerError,), seeds=corpus.quotes),
    "book": Target(run=wire.updates("book"), refusals=(PeerError,), seeds=corpus.books),
    "orders": Target(run=wire.updates("orders"), refusals=(PeerError,), seeds=corpus.orders),
    "features": Target(run=wire.features, refusals=(PeerError,), seeds=corpus.features),
    "order-book": Target(run=books.order_book, refusals=(), seeds=corpus.book_changes),
    "event": Target(run=wire.event, refusals=(MalformedError,), seeds=corpus.events),
    "session": Target(run=wire.session, refusals=(PeerError,), seeds=corpus.streams),
    "subscription": Target(run=wire.subscription, refusals=(MalformedError,), seeds=corpus.streams),
    "request": Target(run=wire.request, refusals=(PeerError,), seeds=corpus.requests),
    "greeting": Target(run=wire.greeting, refusals=(PeerError,), seeds=corpus.greetings),
    "wire1": Target(run=wire.wire1, refusals=(PeerError,), seeds=corpus.wire1_streams),
    "packet": Target(run=packets.packet, refusals=(PeerError,), seeds=packets.datagrams),
    "lines": Target(run=packets.lines, refusals=(), seeds=packets.stories, most_besides=2 * MIB),
    "journal": Target(run=journals.journal, refusals=(PeerError,), seeds=corpus.journal_files),
    "queue": Target(
        run=queues.queue, refusals=(PeerError,), seeds=corpus.patches, most_besides=2 * MIB
    ),
    "queue-file": Target(
        run=queues.queue_file, refusals=(PeerError, QueueError), seeds=corpus.patches
    ),
    "slots": Target(run=slots.ring, refusals=(), seeds=slots.heads, most_besides=2 * MIB),
    "consolidated": Target(run=slots.kept_ring, refusals=(PeerError,), seeds=slots.kept_rings),
    "consolidated-trade": Target(
        run=slots.kept_trade, refusals=(PeerError,), seeds=slots.kept_trades
    ),
    "hftp": Target(run=slots.packet, refusals=(PeerError,), seeds=corpus.hftp_packets),
    "ring": Target(
        run=rings.ring,
        refusals=(PeerError, Lapped),
        seeds=corpus.ring_patches,
        most_besides=4 * MIB,
    ),
    "trades": Target(
        run=venue.stream(venue.TRADES), refusals=(VenueRefusalError,), seeds=corpus.messages
    ),
    "spot-trades": Target(
        run=venue.stream(venue.SPOT), refusals=(VenueRefusalError,), seeds=corpus.spot_messages
    ),
    "depth": Target(run=books.depth, refusals=(VenueMessageError,), seeds=corpus.depths),
    "listing": Target(
        run=venue.listing, refusals=(VenueMessageError, ConfigError), seeds=corpus.listings
    ),
    "aggregates": Target(
        run=venue.stream(venue.AGGREGATES), refusals=(VenueRefusalError,), seeds=corpus.aggregates
    ),
    "rest-trades": Target(
        run=venue.history(venue.TRADES),
        refusals=(VenueMessageError,),
        seeds=corpus.recent_trades,
    ),
    "rest-historical": Target(
        run=venue.history(venue.WITH_KEY),
        refusals=(VenueMessageError,),
        seeds=corpus.recent_trades,
    ),
    "rest-aggregates": Target(
        run=venue.history(venue.AGGREGATES),
        refusals=(VenueMessageError,),
        seeds=corpus.recent_aggregates,
    ),
    "rest-newest": Target(
        run=venue.newest, refusals=(VenueMessageError,), seeds=corpus.recent_trades
    ),
    "rest-market": Target(
        run=venue.market, refusals=(VenueMessageError, ConfigError), seeds=corpus.markets
    ),
    "rest-time": Target(run=venue.clock, refusals=(VenueMessageError,), seeds=corpus.times),
    "rest-answer": Target(
        run=venue.rest, refusals=(VenueError,), seeds=corpus.rest_answers, most_besides=2 * MIB
    ),
    "websocket": Target(run=outside.websocket, refusals=(), seeds=corpus.websockets),
    "handshake": Target(run=outside.handshake, refusals=(VenueError,), seeds=corpus.handshakes),
    "http": Target(run=outside.http, refusals=(), seeds=corpus.http_requests),
    "proxy": Target(run=outside.proxy, refusals=(VenueError, OSError), seeds=corpus.proxies),
    "config": Target(run=outside.config, refusals=(ConfigError,), seeds=corpus.configs),
}
