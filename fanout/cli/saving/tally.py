"""Counts the records that a recording is missing."""

from collections import Counter

from fanout.clients.outcomes import Received, Restarted
from fanout.protocol.constants import GapState
from fanout.protocol.records import Gap, Loss


class Tally:
    """Counts losses, gaps and restarts."""

    def __init__(self) -> None:
        self.lost = 0
        """Trades and events that this reader lost."""
        self._open_ids: Counter[str] = Counter()
        self._gone_ids = 0
        self._restarts = 0

    def note(self, record: Received) -> None:
        match record:
            case Loss():
                self.lost += record.count
            case Gap():
                self._note_gap(record)
            case Restarted():
                self._restarts += 1

    def _note_gap(self, gap: Gap) -> None:
        ids = gap.last_id - gap.first_id + 1
        symbol = gap.instrument.symbol
        if gap.state is GapState.OPEN:
            self._open_ids[symbol] += ids
            return
        # A gap opened before the recording does not count.
        self._open_ids[symbol] = max(0, self._open_ids[symbol] - ids)
        if gap.state is GapState.UNRECOVERABLE:
            self._gone_ids += ids

    def words(self) -> str:
        """The missing records in words, or "complete"."""
        counts = (
            (self.lost, "record", "lost on the way"),
            (self._gone_ids, "trade id", "unrecoverable"),
            (self._open_ids.total(), "trade id", "still open"),
            (self._restarts, "restart", "of the service"),
        )
        missing = [f"{counted(number, what)} {how}" for number, what, how in counts if number]
        return f"; {', '.join(missing)}" if missing else ", complete"


def counted(number: int, what: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
