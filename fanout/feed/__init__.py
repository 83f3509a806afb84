"""The path from an exchange to a channel: connections, trade ids, liveness, back-fill."""

from fanout.feed.connection import Connect
from fanout.feed.feed import Feed

__all__ = ["Connect", "Feed"]
