"""Between the exchange and the log: connections, continuity, liveness, back-fill."""

from fanout.feed.feed import Connect, Feed

__all__ = ["Connect", "Feed"]
