"""Changes of one order book that wait for others, or for a snapshot, in the order of their ids."""

from bisect import bisect_left
from typing import Final

from fanout.venues.values import VenueDepth, VenueOrders

MAX_KEPT_UPDATES: Final = 4_096
"""Limit of the changes that are kept for a snapshot: over a minute of a busy symbol."""

MAX_KEPT_BYTES: Final = 1024 * 1024
"""Limit of the memory of their levels. Protects the service from a symbol whose snapshot never
comes. Beyond a limit the oldest change is dropped, and the snapshot has to be newer."""

LEAST_KEPT_UPDATES: Final = 256
"""Kept of a book whose snapshot is not asked for yet: some seconds of a busy symbol, by which REST
may lag behind the stream."""


class KeptChanges:
    """Changes by the id that they lead to."""

    def __init__(self) -> None:
        self.changes: list[VenueDepth] = []
        self._bytes = 0

    def add(self, depth: VenueDepth) -> bool:
        """Keep a change. False if it is kept already."""
        changes, update_id = self.changes, depth.update.update_id
        place = bisect_left(changes, update_id, key=id_of)
        if place < len(changes) and id_of(changes[place]) == update_id:
            return False
        changes.insert(place, depth)
        self._bytes += _bytes(depth)
        while len(changes) > 1 and (
            len(changes) > MAX_KEPT_UPDATES or self._bytes > MAX_KEPT_BYTES
        ):
            self.pop()
        return True

    def is_beyond(self, depth: VenueDepth) -> bool:
        """Whether a kept change leads beyond this one, though this one is newer by the venue's
        clock: then ids went back."""
        if not self.changes:
            return False
        last, update = self.changes[-1].update, depth.update
        return update.update_id < last.update_id and update.time > last.time

    def pop(self) -> VenueDepth:
        """Take the oldest one out."""
        depth = self.changes.pop(0)
        self._bytes -= _bytes(depth)
        return depth

    def trim(self) -> None:
        """Drop all but the newest."""
        while len(self.changes) > LEAST_KEPT_UPDATES:
            self.pop()

    def keep_only(self, newest: list[VenueDepth]) -> None:
        """Drop all but these, which are the newest."""
        while len(self.changes) > len(newest):
            self.pop()

    def clear(self) -> None:
        self.changes.clear()
        self._bytes = 0


def id_of(depth: VenueDepth) -> int:
    return depth.update.update_id


def follows(depth: VenueDepth | VenueOrders) -> int:
    """The update id that a change follows."""
    return depth.first_id - 1 if depth.previous_id is None else depth.previous_id


def _bytes(depth: VenueDepth) -> int:
    return len(depth.update.packed_bids) + len(depth.update.packed_asks)
