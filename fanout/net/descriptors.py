"""How many descriptors the process may have, and how many clients take. There is one limit for all
that it does, so they are counted over all transports."""

import resource
from typing import ClassVar, Final

RESERVED_DESCRIPTORS: Final = 160
"""Of the process, that no client takes: for those who are turned away, for whoever watches over
HTTP, and for the feed, which has to be able to connect again."""


class Descriptors:
    """The descriptors that clients take, over all transports: the process has one limit."""

    taken: ClassVar[int] = 0

    @staticmethod
    def most() -> int:
        """How many clients there may be."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, limit - RESERVED_DESCRIPTORS)
