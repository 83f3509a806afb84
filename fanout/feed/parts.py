"""The objects of one feed that more than one of its tasks needs, made together."""

import msgspec

from fanout.feed.announcer import Announcer
from fanout.feed.connections import Connections
from fanout.feed.liveness import Liveness
from fanout.feed.roster import Roster
from fanout.feed.sequences import Sequences
from fanout.feed.watch import Watch


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Which instruments there are, their ids, whether they live, where they come from, and what is
    said of them."""

    roster: Roster
    sequences: Sequences
    liveness: Liveness
    watch: Watch
    announcer: Announcer
    connections: Connections
