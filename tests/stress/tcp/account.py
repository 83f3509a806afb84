"""What a client got: each number once and in order, or told as lost. Every stress keeps such
accounts, on sockets that block and on trio's; it does no I/O."""

from collections import Counter
from typing import Any, Final

from fanout.protocol import (
    End,
    Gap,
    Loss,
    LossReason,
    Record,
    Request,
    Start,
    Status,
    Trade,
    encode_request,
    frame,
)
from tests.stand.subscriber import Subscriber

READ_BYTES: Final = 256 * 1024

PATIENCE_S: Final = 120.0
"""How long a visit, or another process's answer, may take."""


def request(**members: Any) -> bytes:
    return frame(encode_request(Request(**members)))


class Account(Subscriber):
    """Adds up, or fails."""

    def __init__(self, start: Start = Start.LIVE) -> None:
        super().__init__()
        self.ask(start)
        self.next_seq: int | None = None
        self.numbers = 0
        """Trades, events and losses, together."""
        self.trades = 0
        self.losses: Counter[LossReason] = Counter()
        self.end: End | None = None

    @property
    def lost(self) -> int:
        return self.losses.total()

    def take(self, data: bytes) -> list[Record]:
        """Enter what a read brought, and give its records."""
        taken: list[Record] = []
        for records in self.frames(data):
            if self.next_seq is None:
                self.next_seq = self._session.next_seq
            for each in records:
                self._enter(each)
            taken += records
        return taken

    def _enter(self, record: Record) -> None:
        match record:
            case Trade(seq=seq):
                assert record.trade_id == seq, f"{record} is not what was published"
                self.trades += 1
                self._count(seq, seq)
            case Status(seq=seq) | Gap(seq=seq):
                self._count(seq, seq)
            case Loss(first_seq=first, last_seq=last):
                assert record.reason is not LossReason.UNANNOUNCED, record
                self.losses[record.reason] += record.count
                self._count(first, last)
            case End():
                self.end = record

    def _count(self, first: int, last: int) -> None:
        assert first == self.next_seq, f"{first} came where {self.next_seq} was due"
        self.next_seq = last + 1
        self.numbers += last - first + 1
