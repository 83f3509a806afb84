"""Between the exchange and the log: connections, continuity, liveness, back-fill."""

from fanout.feed.feed import Feed
from fanout.feed.lanes import Connect

__all__ = ["Connect", "Feed"]
