"""The limit of file descriptors, and those that clients use.

The process has one limit, so clients of all transports count together.
"""

import resource
from typing import ClassVar, Final

RESERVED_DESCRIPTORS: Final = 160
"""Descriptors that clients cannot use. They are for monitoring over HTTP, for clients that are
being refused, and for the feed, which must be able to reconnect."""


class Descriptors:
    """The descriptors that clients of all transports use."""

    taken: ClassVar[int] = 0

    @staticmethod
    def most() -> int:
        """Most clients that the process can serve at once."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, limit - RESERVED_DESCRIPTORS)
