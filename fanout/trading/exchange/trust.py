"""Whether the stream of one symbol can be trusted enough to fill orders from it.

Fills are frozen while the book is unknown, and while trades are missing. During a freeze no order
is filled, none moves forward, and none is acknowledged. Orders stay in their queues, and cancels
work. Afterwards no more is in front of an order than the book displays.
"""

from __future__ import annotations

from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol.constants import GapState
from fanout.protocol.records import End, Gap, Loss, Status

Range = tuple[int, int]


class FeedTrust:
    """The reasons why the fills of one symbol are frozen."""

    __slots__ = ("_book", "_gaps")

    def __init__(self) -> None:
        self._book = "no whole book has come yet"
        self._gaps: list[Range] = []

    @property
    def why(self) -> str:
        """Why fills are frozen, empty if they are not."""
        if self._book or not self._gaps:
            return self._book
        first, last = self._gaps[0]
        return f"trades {first} to {last} are missing"

    def distrust(self, why: str) -> None:
        """The book is unknown. The first reason is kept."""
        self._book = self._book or why

    def forget(self, why: str) -> None:
        """Records were lost, and with them what would have closed the open gaps."""
        self._gaps.clear()
        self.distrust(why)

    def trust(self) -> None:
        """The book is known."""
        self._book = ""

    def take(self, gap: Gap) -> None:
        """Open or close a gap in the trade ids."""
        self._gaps = [part for each in self._gaps for part in _without(each, gap)]
        if gap.state is GapState.OPEN:
            self._gaps.append((gap.first_id, gap.last_id))


def _without(each: Range, gap: Gap) -> list[Range]:
    """What is left of a range of ids after those of the gap are taken out."""
    first, last = each
    parts = [(first, min(last, gap.first_id - 1)), (max(first, gap.last_id + 1), last)]
    return [part for part in parts if part[0] <= part[1]]


def reason_of(record: Received) -> str:
    """Why a record makes books unknown, in words."""
    match record:
        case Loss(first_seq=first, last_seq=last, reason=reason):
            return f"records {first} to {last} were lost ({reason.name})"
        case Status(instrument=instrument, state=state, why=why):
            name = "the feed" if instrument is None else instrument.symbol
            return f"{name} is {state.name}" + (f": {why}" if why else "")
        case Disconnected(why=why):
            return f"the connection was lost: {why}"
        case End(reason=end):
            return f"the service has ended the stream ({end.name})"
        case Restarted():
            return "the service was restarted"
    return f"{type(record).__name__} makes the book unknown"
