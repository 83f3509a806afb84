"""Clients in a process that forks.

A forked child inherits all descriptors, sockets and queues among them. Two processes that read one
socket take each other's bytes, and a queue stays locked while either has it open. So in the child
each connected client closes its copy, which does not affect the parent, and raises `ForkedError`
when used. A client that was not connected at the fork works in the child as usual.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """A client whose connection a forked child must not share."""

    def _leave_to_parent(self, parent_pid: int) -> None: ...


_told: "WeakSet[Forked]" = WeakSet()


def tell_of_forks(client: Forked) -> None:
    """Call `_leave_to_parent` of the client in each forked child, as long as the client lives."""
    _told.add(client)


def _after_fork() -> None:
    for client in list(_told):
        client._leave_to_parent(os.getppid())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
