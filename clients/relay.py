"""Clients for a program that passes a channel on: whole frames, each with the records in it.

    class Relay(Relaying, AsyncioTcpClient):
        pass

    async for passed in Relay("tcp://127.0.0.1:9000"):
        match passed:
            case Passed(payload=payload, records=records, header=header):
                ...

The frames are checked and numbered as for every other client. `Loss` is among the records also
where the service said nothing of it, so together they account for every number.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from fanout.clients.client import Client
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.clients.subscription import Mark, Subscription, first_number
from fanout.protocol.constants import FrameKind
from fanout.protocol.framing import FrameReader, frame
from fanout.protocol.records import Header


class Passed(msgspec.Struct, frozen=True):
    """A frame, as the service sent it."""

    payload: bytes
    """Empty for records of earlier frames, which the client had to hold back."""
    records: Collection[Received]
    """What it made the client hand over: its records, and before them a `Loss` of what it shows to
    be missing. None for a HEARTBEAT, and for a frame that only changes the header."""
    header: Header
    """The one that is in force for its records; behind INSTRUMENTS, the one that they make."""

    @property
    def first_seq(self) -> int | None:
        """The first number that its records take; None if they take none."""
        return next((each for each in map(first_number, self.records) if each), None)


Relayed = Passed | Disconnected | Restarted
"""All that a client which relays hands over."""


class RelayedSubscription(Subscription):
    """Has `Passed` in `ready` in the place of records."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._payloads = FrameReader()

    def receive(self, data: bytes) -> bool:
        if not data:
            return super().receive(data)
        self._payloads.feed(data)
        is_any = False
        while (payload := self._payloads.next_payload()) is not None:
            is_any = True
            self._receive_frame(payload)
        return is_any

    def _receive_frame(self, payload: bytes) -> None:
        ready, header = self.ready, self.header
        before = len(ready)
        try:
            super().receive(frame(payload))
        finally:
            records = [ready.pop() for _ in range(len(ready) - before)]
            records.reverse()
            self._pass(payload, records, is_header_new=self.header is not header)

    def _pass(self, payload: bytes, records: list[Received], *, is_header_new: bool) -> None:
        restarts = [each for each in records if isinstance(each, Restarted)]
        others = [each for each in records if not isinstance(each, Restarted)]
        self.ready.extend(restarts)
        header = self.header
        if header is None:
            return
        # A snapshot is held back until it is certain which epoch is served.
        held = next((place for place, each in enumerate(others) if first_number(each)), 0)
        for its, some in ((b"", others[:held]), (payload, others[held:])):
            if some or (its and (is_header_new or its[0] == FrameKind.HEARTBEAT)):
                self.ready.append(Passed(its, some, header))  # type: ignore[arg-type]

    def disconnected(self, error: Exception, *, is_own_fault: bool = False) -> None:
        self._payloads = FrameReader()
        super().disconnected(error, is_own_fault=is_own_fault)

    def return_to(self, mark: Mark) -> None:
        self._payloads = FrameReader()
        super().return_to(mark)


class Relaying(Client):
    """A client that hands over `Relayed`. The class of a client stands behind this one."""

    _subscription_type = RelayedSubscription
