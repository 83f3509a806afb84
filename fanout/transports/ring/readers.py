"""Who reads a ring, as the table in it and the locks on its entries tell.

A reader writes its own entry, so nothing there is trusted: a place that cannot be counts as the
live end, and the lock alone says whether the reader lives.
"""

from typing import Final

import msgspec

from fanout.protocol.constants import U64_MAX
from fanout.protocol.ring import ReaderEntry
from fanout.protocol.ring_page import reader_word
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.ring.ring_file import OwnedRing

_BEHIND: Final = 2**63


class Known(msgspec.Struct):
    """A reader that was seen in the table."""

    since_s: float
    blocks: int
    """Frames of the log that were in the ring by then."""
    lost: int = 0


class Readers:
    """The readers of one ring after another, as they come and go."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Known] = {}
        """By slot and pid."""
        self._lost_before = 0
        """Of readers that have left."""
        self.accepted = 0

    @property
    def lost(self) -> int:
        """Numbers that readers have lost, those that left included."""
        return self._lost_before + sum(each.lost for each in self._known.values())

    def look(self, ring: OwnedRing, now_s: float, blocks: int) -> list[ReaderEntry]:
        """The readers that live now. `blocks` is how many frames of the log the ring has had."""
        living = [each for each in ring.writer.readers() if ring.is_locked(reader_word(each.slot))]
        known = {}
        for each in living:
            key = each.slot, each.pid
            one = self._known.pop(key, None)
            if one is None:
                one = Known(now_s, blocks)
                self.accepted += 1
            one.lost = each.lost
            known[key] = one
        self.leave()
        self._known = known
        return living

    def leave(self) -> None:
        """All readers are gone, with their ring."""
        self._lost_before = self.lost
        self._known = {}

    def stats(
        self, ring: OwnedRing, *, channel: str, now_s: float, blocks: int
    ) -> tuple[ConsumerStats, ...]:
        """The readers that live now, for `/status`."""
        return tuple(
            ConsumerStats(
                address=f"pid {each.pid}",
                age_s=now_s - self._known[each.slot, each.pid].since_s,
                blocks=blocks - self._known[each.slot, each.pid].blocks,
                lost=each.lost,
                lag_blocks=None,
                lag_bytes=behind_bytes(ring, each),
                lag_ms=None,
                channel=channel,
                lapped=each.lapped,
            )
            for each in self.look(ring, now_s, blocks)
        )


def behind_bytes(ring: OwnedRing, entry: ReaderEntry) -> int:
    """How far a reader is behind, as of its last note; at most the capacity."""
    behind = (ring.writer.position - entry.cursor) & U64_MAX
    return 0 if behind >= _BEHIND else min(behind, ring.writer.capacity)
