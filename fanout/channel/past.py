"""What came before a channel's log, as whoever serves readers may ask for it.

A transport that keeps what it is given (the journal) offers the `Past` of each channel. The other
transports see only what stands here: no file, no folder.
"""

from collections.abc import Callable
from typing import Protocol

from fanout.channel.memory import Memory
from fanout.protocol.request import Begin


class Passage(Protocol):
    """Old frames of one epoch, from a place on, for one reader."""

    epoch_ns: int
    next_seq: int
    """The number that is due behind everything that was read so far."""
    greeting: bytes
    """START, the header in force at the place and its instruments, as a connection begins."""

    async def read(self) -> bytes:
        """The frames that follow, at most some hundred KiB; LOSS stands for what cannot be read.
        No END is among them. Empty when there are no more: not yet, if it is the present epoch.
        Raises `OSError` if they are there and cannot be read now."""
        ...

    async def aclose(self) -> None: ...


class Past(Protocol):
    """What is kept of a channel."""

    newest_epoch_ns: int
    """The newest epoch that is kept from before this start; 0 if there is none."""
    memory: Memory | None
    """What was known of the channel's trades when the last start ended; None if nothing was kept.
    The source sets it to None once its feed goes on from there."""

    async def find(self, begin: Begin, *, epoch_ns: int) -> Passage | None:
        """The passage that begins where a reader asks for. None if the log still holds that place,
        or if nothing is kept there. `epoch_ns` is the present epoch.

        An epoch that is not kept stands for the first one after it, from its oldest number on.
        "oldest" is the oldest number that is kept of the present epoch. A passage begins later than
        asked for where the numbers before it are gone; the transport says so. A reader may ask for
        a number of an older epoch that was never kept, since it was sent more than reached the
        disk: then the passage begins at that number, and is empty.

        Raises `OSError` if what is kept cannot be read now.
        """
        ...


PastOf = Callable[[str], Past]
"""Gives what is kept of a channel, by its name."""
