"""What becomes of clients when the process forks.

A forked child has copies of all descriptors, and so of sockets and queues. Two processes that read
from one socket take each other's bytes, and a queue stays locked for as long as either has it open.
So in the child each client closes its copy, which the parent does not notice, and refuses to be
used. A client that was not connected when the process forked works in the child as ever.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Somebody who holds what a forked child must not share."""

    def _leave_to_parent(self, parent_pid: int) -> None: ...


_told: "WeakSet[Forked]" = WeakSet()


def tell_of_forks(client: Forked) -> None:
    """Have the client told, in the child, that the process forked. For as long as it lives."""
    _told.add(client)


def _after_fork() -> None:
    for client in list(_told):
        client._leave_to_parent(os.getppid())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
