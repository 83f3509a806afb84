"""What a reader must get.

The one idea is that what a reader must get next is always known. An `Epoch` keeps what it
published under each number; a `Ledger` knows the number that is due, and takes each record that a
client hands over against it: a trade or event is the one that was published under that number, a
loss begins there, is of the right kind, and tells of nothing that could have been had.
"""

import errno
import os
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.clients.outcomes import Received
from fanout.clients.tcp_trio import Disconnected, Restarted
from fanout.protocol import (
    End,
    EndReason,
    Header,
    Instrument,
    Loss,
    LossReason,
    Position,
    Record,
    Snapshot,
    Trade,
    TradeKind,
)
from tests.model.epoch import Epoch, Numbered

WITHOUT_END: Final = "the service closed the connection without an END"
ERRORS: Final = (os.strerror(errno.ECONNRESET), os.strerror(errno.EPIPE))
"""What else a connection breaks with, if nothing is wrong with what came over it."""


CUT_OFF: Final = "the service ends"
"""Why a client is sent no more of the past."""


class Tastes(msgspec.Struct, frozen=True, kw_only=True):
    """What distinguishes one reader from another."""

    start: str | Position = "live"
    resume: bool = True
    slow: str = "skip"
    symbols: frozenset[str] = frozenset()
    market_only: bool = False
    receive_bytes: int | None = None

    def wants(self, record: Numbered) -> bool:
        if isinstance(record, Trade) and self.market_only and record.kind is TradeKind.ADL:
            return False
        instrument: Instrument | None = record.instrument
        return instrument is None or not self.symbols or instrument.symbol in self.symbols


class Ledger:
    """What a reader must get: the number that is due, and what its connection has yet to say."""

    def __init__(self, services: dict[int, Epoch], tastes: Tastes) -> None:
        self.place = tastes.start if isinstance(tastes.start, Position) else None
        """What is due; None before the first header says where the stream stands."""
        self.may_break = False
        """Whether the connection may end without an END."""
        self.is_heard = True
        """Whether the service took notice of what was asked for, in time."""
        self.is_refused = False
        """Whether there was no place."""
        self.over_ns = -1
        """The epoch that the service said is over, to the client there is."""
        self._services = services
        self._tastes = tastes
        self._newest_epoch_ns = 0
        self._first_due = 1
        self._greeted_seq = 1
        self._served_ns = 0
        """The epoch that the connection serves."""
        self._asked_ns = 0
        """The epoch of the service that the connection is to: that one, or a later one."""
        self._is_live = False
        """Whether the connection asked for what is new, and for nothing else."""
        self.forget_connection()

    def forget_connection(self) -> None:
        self._restarted: Restarted | None = None
        self._opening: Loss | None = None
        """What has to be told before the first number."""
        self._snapshot: Snapshot | None = None
        self._end: End | None = None

    # A connection begins.

    def connect(self) -> None:
        """A connection begins."""
        self.may_break, self.is_heard, self.is_refused = False, True, False

    def ask(self, start: str | Position, service: Epoch, header: Header | None) -> None:
        """The service has heard, or not, where the reader wants to begin, and has greeted it with
        its next number and its newest trades, or with an older epoch. `header` is the client's
        from before."""
        self._is_live = is_live = start == "live"
        self._greeted_seq = service.greeted_seq
        self._first_due = self._greeted_seq if is_live else 1
        self._served_ns = self._asked_ns = service.epoch_ns
        due, is_same = self._due_at(service)
        if is_live or not (self.is_heard or self.is_refused):
            first, reason = self._greeted_seq, LossReason.DISCONNECTED
            trades = tuple(filter(self._tastes.wants, service.greeted_trades))
            if trades and not self.is_refused:
                self._snapshot = Snapshot(trades=trades)
            if is_live:
                is_same = header is None or header.epoch_ns == service.epoch_ns
        elif service.past is not None and not self.is_refused:
            if isinstance(start, Position):
                kept = [each for each in service.past.epochs if each >= start.epoch_ns]
                self._served_ns = min(kept, default=service.epoch_ns)
            return  # nothing is gone
        else:
            first, reason = service.log.first_kept, LossReason.EVICTED
        if start == "oldest":
            reason = LossReason.EVICTED
        if due < first and (is_live or not self.is_refused):
            reason = reason if is_same else LossReason.OTHER_EPOCH
            self._opening = Loss(first_seq=due, last_seq=first - 1, reason=reason)

    def _due_at(self, service: Epoch) -> tuple[int, bool]:
        """The number that is due there, and whether its numbering is the one that is known."""
        if self.place is None:
            return self._first_due, True
        is_same = self.place.epoch_ns == service.epoch_ns
        return self.place.seq if is_same else 1, is_same

    def see(self, position: Position | None) -> None:
        """The client's position, which may be in a new epoch."""
        if position is None:
            return
        epoch_ns = position.epoch_ns
        if epoch_ns in self._services:  # else it is one that the reader asked for
            assert epoch_ns >= self._newest_epoch_ns
            self._newest_epoch_ns = epoch_ns
        if self.place is None:
            self.place = Position(epoch_ns=epoch_ns, seq=self._first_due)
        elif self.place.epoch_ns != epoch_ns:
            assert epoch_ns == self._served_ns
            self._restarted = Restarted(before=self.place, epoch_ns=epoch_ns)
            self.place = Position(epoch_ns=epoch_ns, seq=1)

    # And brings something.

    def take(self, record: Received) -> None:
        """Take a record against what is due."""
        match record:
            case Disconnected():
                assert self._can_end(record.why), record
                self.forget_connection()
            case Restarted():
                assert record == self._restarted
                self._restarted = None
            case _:
                assert self._restarted is None, "that comes first"
                self._take_record(record)

    def _take_record(self, record: Record) -> None:
        match record:
            case Snapshot():
                assert record == self._snapshot
                self._snapshot = None
            case End():
                self._end = record
                self._take_end(record)
            case Loss():
                self._take_loss(record)
            case _:
                self._take_numbered(record)

    def _can_end(self, why: str) -> bool:
        """Whether a connection can, that is in this state."""
        if why.startswith("the service began at "):
            return not self.is_heard and self._opening is not None
        if self._end is not None:
            return why in (f"the service ended: {self._end.why}", *ERRORS)
        return self.may_break and why in (WITHOUT_END, *ERRORS)

    def _take_numbered(self, record: Numbered) -> None:
        assert self._opening is None, "what is gone is told before the first number"
        assert self._snapshot is None
        assert self._tastes.wants(record)
        self.come_to(record.seq)
        assert record == self._service.records[record.seq - 1]
        self._go_on_at(record.seq + 1)

    def _take_loss(self, loss: Loss) -> None:
        self.come_to(loss.first_seq)
        if self._opening is not None:
            assert loss == self._opening
            self._opening = None
            assert self.is_heard or self._is_live, "it is asked for again"
        else:
            assert loss.reason is LossReason.SLOW
            assert self._tastes.slow == "skip" or not self.is_heard
            assert loss.last_seq < self._service.first_due_to_the_slow
        self._go_on_at(loss.last_seq + 1)

    def _take_end(self, end: End) -> None:
        if end.reason is EndReason.FULL:
            assert self.is_refused
            assert end.last_seq == self._greeted_seq - 1
        elif self._opening is not None:
            assert not self.is_heard, "and if it is not, nothing came and nothing is lost"
        elif self._due.epoch_ns != self._served_ns:
            served = self._services[self._served_ns]
            if end.reason is EndReason.SLOW:
                self._take_end_of_service(end, served)
            else:
                assert served.log.closed, "it ended before it said anything"
        else:
            assert not self.is_refused
            kept_seq = max(self._service.kept.next_seq, self._due.seq)
            self.come_to(end.last_seq + 1)
            if end.reason is EndReason.EPOCH_OVER:
                assert self._service is not self._newest
                assert (end.last_seq + 1, end.retry_ms) == (kept_seq, 0)
                self.over_ns = self._served_ns
            elif end.why == CUT_OFF:
                asked = self._services[self._asked_ns]
                assert asked.past
                assert asked.log.closed
            else:
                self._take_end_of_service(end, self._service)

    def _take_end_of_service(self, end: End, service: Epoch) -> None:
        log = service.log
        if end.reason is EndReason.SLOW:
            assert self._tastes.slow == "disconnect"
            assert self.is_heard
            assert end.last_seq + 1 < log.first_kept
        else:
            assert end.reason is EndReason.SHUTDOWN
            assert log.closed
            assert end.last_seq + 1 == log.next_seq

    def come_to(self, seq: int) -> None:
        """Go on to a number that has come. Between it and the one that was due is nothing but what
        the reader does not want."""
        due = self._due.seq
        if seq != due:
            assert due < seq
            passed = self._service.records[due - 1 : seq - 1]
            assert len(passed) == seq - due
            assert not list(filter(self._tastes.wants, passed))
            self._go_on_at(seq)

    def _go_on_at(self, seq: int) -> None:
        self.place = replace(self._due, seq=seq)

    @property
    def _due(self) -> Position:
        assert self.place is not None, "a header comes before all records"
        return self.place

    @property
    def _newest(self) -> Epoch:
        """The one that runs, or did last."""
        return self._services[max(self._services)]

    @property
    def _service(self) -> Epoch:
        """The one that numbered what is due."""
        return self._services[self._due.epoch_ns]
