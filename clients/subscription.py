"""What the clients share: everything but the waiting.

A `Subscription` takes what came over the connection and queues records for the caller; when the
connection is gone it says whether and after how long to connect again. It does no I/O. The
clients around it connect, read and sleep, each in its own way, and are otherwise the same.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from protocol.backoff import backoff
from protocol.errors import CallerError, PeerError, reason
from protocol.records import End, Header, Record
from protocol.session import SessionStatistics, SubscriberSession

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0
LONGEST_ASKED_S: Final = 300.0
"""Most that a service can ask a client to wait: a wrong number must not cost weeks."""


class Disconnected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection is gone, or could not be made. Another attempt follows after `pause_s`."""

    why: str
    pause_s: float


class DisconnectedError(PeerError, ConnectionError):
    """The connection is gone, or could not be made, and the client was told not to reconnect."""


class AddressError(CallerError, ValueError):
    """Not an address of a service."""


class Subscription:
    """One subscriber's session and its policy for reconnecting, over any number of connections."""

    def __init__(
        self,
        url: str,
        *,
        reconnect: bool,
        longest_pause_s: float = LONGEST_PAUSE_S,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._url = url
        self.ready: deque[Record | Disconnected] = deque()
        """Records for the caller, in order."""
        self.pause_s = 0.0
        """How long to wait before the next attempt to connect."""
        self.failure: DisconnectedError | None = None
        """To be raised once `ready` is empty."""
        self.is_over = False
        """Whether there will be no other connection."""
        self._reconnect = reconnect
        self._uniform = uniform
        self._longest_pause_s = longest_pause_s
        self._session = SubscriberSession()
        self._end: End | None = None
        self._pauses = self._new_pauses()

    @property
    def header(self) -> Header | None:
        return self._session.header

    @property
    def statistics(self) -> SessionStatistics:
        return self._session.statistics

    def receive(self, data: bytes) -> None:
        """Take what a read brought; nothing is the end of the stream.

        Raises `PeerError` at the end of the stream and for what breaks the wire; the records up
        to there are in `ready`.
        """
        if not data:
            raise DisconnectedError(self._farewell())
        self._session.receive(data)
        while (records := self._session.next_records()) is not None:
            for record in records:
                if isinstance(record, End):
                    self._end = record
            self.ready.extend(records)

    def disconnected(self, error: Exception) -> None:
        """The connection ended with `error`. Queue the record of it, or arrange for the end."""
        self._session.disconnected()
        end, self._end = self._end, None
        if self._has_flowed():
            self._pauses = self._new_pauses()
        why = reason(error)
        if end is not None and (end.retry_ms is None or not self._reconnect):
            self.is_over = True
        elif not self._reconnect:
            self.is_over = True
            self.failure = DisconnectedError(f"{self._url}: {why}")
        else:
            asked_s = (end.retry_ms or 0) / 1000 if end else 0.0
            self.pause_s = min(asked_s, LONGEST_ASKED_S) + next(self._pauses)
            self.ready.append(Disconnected(why=why, pause_s=self.pause_s))

    def _has_flowed(self) -> bool:
        """Whether the connection brought more than a greeting. A service that greets and drops
        is not to be hammered."""
        header, next_seq = self._session.header, self._session.next_seq
        return header is not None and next_seq is not None and next_seq > header.next_seq

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=self._longest_pause_s, uniform=self._uniform)

    def _farewell(self) -> str:
        if self._end is None:
            return "the service closed the connection without an END"
        return f"the service ended: {self._end.why or self._end.reason.name}"
