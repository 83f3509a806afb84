"""The objects that several tasks of one feed share."""

import msgspec

from fanout.feed.announcer import Announcer
from fanout.feed.balance import Balance
from fanout.feed.books import Books
from fanout.feed.connections import Connections
from fanout.feed.liveness import Liveness
from fanout.feed.quotes import Quotes
from fanout.feed.roster import Roster
from fanout.feed.sequences import Sequences
from fanout.feed.watch import Watch


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
    books: Books
    balance: Balance
