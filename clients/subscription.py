"""The common part of all clients, without I/O.

A `Subscription` makes the request, takes the bytes of the connection and queues the records that
the caller wants. When the connection is lost, it decides whether and when to connect again, and
then requests the next record. The clients around it only connect, read and sleep.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.clients.wanted import Wanted
from fanout.protocol.backoff import backoff
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import U64_MAX, EndReason
from fanout.protocol.errors import NotHeardError, WrongChannelError, reason
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.framing import frame
from fanout.protocol.phases import Phase
from fanout.protocol.records import End, Gap, Header, Loss, Record, Skipped, Status, Trade
from fanout.protocol.request import Begin, Position, Request, Start, encode_request
from fanout.protocol.session import Mark as SessionMark
from fanout.protocol.session import SessionStatistics, SubscriberSession

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0
LONGEST_ASKED_S: Final = 300.0
"""Longest delay that a client accepts from a service: a wrong number must not cost weeks."""

MAX_RECONNECTS: Final = 100
"""Reconnects that are remembered."""

ATTEMPTS_TO_RESUME: Final = 3
"""Attempts at a service that begins elsewhere without a report. A service ignores a request that
comes too late, from a program that was busy. After these the client asks for the newest records."""

_REFUSALS: Final = frozenset({EndReason.AUTH, EndReason.FULL, EndReason.BAD_REQUEST})

INTERRUPTED: Final = "the program was interrupted while it read"
"""Reason reported for a connection that is dropped since an interrupt may have lost its bytes."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Subscription` knows beside its session. Few frames change it. Each change replaces
    the whole, so one reference is enough to return to it."""

    pauses: Iterator[float]
    """The pauses before the next attempts to connect."""
    pause_s: float = 0.0
    """How long to wait before the next attempt to connect."""
    failure: DisconnectedError | UnknownSymbolError | None = None
    """The error to raise once `ready` is empty."""
    is_over: bool = False
    """Whether there will be no other connection."""
    reconnects: tuple[Reconnect, ...] = ()
    """The last `MAX_RECONNECTS` reconnects."""
    outage: Reconnect | None = None
    """The reconnect in progress, as far as it is known."""
    end: End | None = None
    """The END of this connection."""
    due: Position | None = None
    """The next expected position, until the next connection confirms its epoch or serves another
    one. A refusal does neither: the service refuses before it knows which epoch is asked for."""
    held: tuple[Record, ...] = ()
    """Records without numbers that came before it was clear which epoch the service serves. They
    are handed over behind the `Restarted`."""
    is_live: bool = True
    """Whether the connection asks for the newest records, of whichever epoch."""
    unheard: int = 0
    """Attempts in a row at which the service began elsewhere without a report."""
    over_ns: int = -1
    """The epoch of which the service has sent all that it keeps; -1 before it said so of any."""
    late: tuple[Loss, ...] = ()
    """Losses in `ready` that came out of their turn."""
    is_settled: bool = False
    """Whether all losses of the reconnect are known: a record other than `Loss` has come."""
    is_checked: bool = False
    """Whether the connection's first header was checked for the symbols that the caller wants. A
    later header may belong to older records, and have fewer."""


class Mark(msgspec.Struct, frozen=True):
    """A saved state of a `Subscription`."""

    phase: Phase
    """Of the session."""
    ready: int
    """Records in `ready`."""
    session: SessionMark
    state: State

    @property
    def is_fresh(self) -> bool:
        """Whether nothing had arrived on the connection."""
        return self.phase is Phase.GREETING


class Ready(deque[Received]):
    """Records for the caller, in order."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def taken(self) -> Received:
            """The first record, which is removed: `popleft()` without a call. Python runs
            signal handlers after calls."""
    else:
        taken = property(deque.popleft)


class Subscription:
    """A client's session over any number of connections, and its policy for reconnecting."""

    def __init__(
        self,
        url: str,
        *,
        reconnect: bool,
        request: Request | None = None,
        resume: bool = True,
        wanted: Wanted | None = None,
        longest_pause_s: float = LONGEST_PAUSE_S,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`request` is the request of the first connection. Later ones request the next record with
        `resume`, otherwise the newest. Raises `NotRepresentableError`."""
        self._url = url
        self.ready = Ready()
        self._reconnect = reconnect
        self._request = request or Request()
        encode_request(self._request)  # raises before anything opens
        self._resume = resume
        self._wanted = wanted or Wanted()
        self._wants_everything = self._wanted.is_everything
        self._uniform = uniform
        self._longest_pause_s = longest_pause_s
        self._session = SubscriberSession()
        start = self._request.start
        self.state = State(
            pauses=self._new_pauses(), due=start if isinstance(start, Position) else None
        )

    @property
    def header(self) -> Header | None:
        """The current session header; None before the first."""
        return self._session.header

    @property
    def failure(self) -> DisconnectedError | UnknownSymbolError | None:
        """The error to raise once `ready` is empty."""
        return self.state.failure

    @property
    def statistics(self) -> SessionStatistics:
        """Counts over all connections."""
        return self._session.statistics

    @property
    def next_seq(self) -> int | None:
        """The number that comes next on this connection; None before the first header."""
        return self._session.next_seq

    @property
    def heartbeat_ns(self) -> int:
        """As in the session."""
        return self._session.heartbeat_ns

    @property
    def lost(self) -> int:
        """How many records were lost so far, as in `statistics`."""
        return self._session.lost

    @property
    def is_answered(self) -> bool:
        """Whether the service has accepted this client on this connection."""
        return self._session.is_answered

    @property
    def position(self) -> Position | None:
        """The position after the last record taken out of `ready`; None before the first header,
        unless the request has one. If the request has a time: None before the first number."""
        at = self.state.due or self._session_position()
        if at is None:
            return None
        # A client reads only when `ready` is empty, so all of it is of the same epoch.
        numbers = (first_number(each) for each in self.ready if not self._is_late(each))
        return msgspec.structs.replace(at, seq=next((each for each in numbers if each), at.seq))

    def request(self) -> bytes:
        """The frame with which a connection begins."""
        request, header = self._request, self._session.header
        if header is not None:
            request = msgspec.structs.replace(request, start=self._following(header))
        if self.state.unheard >= ATTEMPTS_TO_RESUME:
            # The header then says what is lost. Otherwise the loss would show with the first
            # number, behind the whole books that come to make up for it.
            request = msgspec.structs.replace(request, start=Start.LIVE)
        self._change(is_live=request.start is Start.LIVE)
        self._session.ask(request.start, insist=True, channel=request.channel)
        return frame(encode_request(request))

    def begin_at(self, place: Position) -> None:
        """Change where the first connection begins, before anything of it has come. `request` comes
        next."""
        self._request = msgspec.structs.replace(self._request, start=place)
        self._change(due=place)

    def _following(self, header: Header) -> Begin:
        """Where the next connection begins, after one with this header."""
        if not self._resume:
            return Start.LIVE
        # Records received and not yet handed over wait in `ready`: resume after them.
        at = self.state.due or self._session_position()
        epoch_ns = header.epoch_ns if at is None else at.epoch_ns
        if epoch_ns == self.state.over_ns:
            # An epoch that is not kept stands for the next one after it.
            return Position(epoch_ns=min(epoch_ns + 1, U64_MAX), seq=1)
        # Without a number the request still holds: it has a time.
        return at or self._request.start

    def _session_position(self) -> Position | None:
        header, next_seq = self._session.header, self._session.next_seq
        if header is None or next_seq is None:
            return None
        return Position(epoch_ns=header.epoch_ns, seq=next_seq)

    def receive(self, data: bytes) -> bool:
        """Take the bytes of a read; no bytes mean the end of the stream. Returns whether they
        completed a frame.

        Raises `PeerError` at the end of the stream and for bytes that break the protocol. The
        records before that are in `ready`.
        """
        if not data:
            raise DisconnectedError(self._farewell())
        session = self._session
        header, is_any = session.header, False
        session.receive(data)
        while (records := session.next_records()) is not None:
            is_any = True
            if session.header is not header:
                header = session.header
                self._take_header()
            if not self.state.is_settled:
                records = self._watch(records)
            if records:
                self._take(records)
        return is_any

    def rows_at(self, frames: bytes, offset: int) -> tuple[bytearray, int]:
        """What `SubscriberSession.rows_at` gives, once nothing else is to be found out. The caller
        selects symbols and kinds."""
        if not self.state.is_settled:
            return bytearray(), offset
        return self._session.rows_at(frames, offset)

    def _take_header(self) -> None:
        header = self._session.header
        assert header is not None, "it has just come"
        if self.state.due is not None and self.state.due.epoch_ns == header.epoch_ns:
            self._change(due=None)
        if self.state.is_checked or not header.instruments:  # none: the listing is not known yet
            return
        self._change(is_checked=True)
        try:
            self._wanted.check(header)
        except UnknownSymbolError as error:
            # Another attempt would find the same symbols: end here.
            self._change(failure=error)
            raise DisconnectedError(str(error)) from error

    def _take(self, records: list[Record]) -> None:
        last = records[-1]
        if type(last) is End:
            self._change(end=last)
        if self._session.is_elsewhere:
            return  # a refusal under another channel's header: it becomes an error
        if not self._wants_everything:
            records = self._wanted.select(records)
        self.ready.extend(records)

    def _watch(self, records: list[Record]) -> list[Record]:
        """Collect the losses with which a connection begins. The first other record completes
        them, and with them the reconnect. Returns the records that can be handed over now."""
        losses = tuple(each for each in records if isinstance(each, Loss))
        due = self.state.due
        if due is not None:
            if losses or self._is_epoch_certain(records):
                self._tell_restart(due)
            elif self._session.is_answered and self._session.phase is not Phase.ENDED:
                self._change(held=(*self.state.held, *records))
                return []
        if losses and self.state.outage is not None:
            self._note(lost=(*self.state.outage.lost, *losses)[-MAX_RECONNECTS:])
        if self._session.has_begun:
            self._change(is_settled=True, unheard=0)
            outage = self.state.outage
            if outage is not None:
                reconnects = (*self.state.reconnects, outage)[-MAX_RECONNECTS:]
                self._change(reconnects=reconnects, outage=None)
        return records

    def _is_epoch_certain(self, records: list[Record]) -> bool:
        """Whether the service has heard what was requested, and serves another epoch. One that did
        not hear begins elsewhere, which the first number shows."""
        session = self._session
        is_served = session.has_begun or (self.state.is_live and session.is_answered)
        return is_served or _is_epoch_over(records)

    def _tell_restart(self, due: Position) -> None:
        """The service serves another epoch than that of the number that was due."""
        assert self._session.header is not None, "it came before the service served anything"
        held = list(self.state.held)
        self._change(due=None, held=())
        self.ready.append(Restarted(before=due, epoch_ns=self._session.header.epoch_ns))
        self._note(is_new_epoch=True)
        if held:
            self._take(held)

    def _change(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)

    def _note(self, **changes: Any) -> None:
        """Change the reconnect in progress, if there is one."""
        if self.state.outage is not None:
            self._change(outage=msgspec.structs.replace(self.state.outage, **changes))

    def _note_outage(self, why: str) -> None:
        outage = self.state.outage or Reconnect(why=why, pause_s=0.0, attempts=0, lost=())
        pause_s, attempts = outage.pause_s + self.state.pause_s, outage.attempts + 1
        self._change(outage=msgspec.structs.replace(outage, pause_s=pause_s, attempts=attempts))

    def other_epoch(self) -> None:
        """Another epoch follows, from START on, although no connection was lost. `request` comes
        next. The records of the new epoch follow a `Restarted`."""
        due = self.state.due or self._session_position()
        self._session.disconnected()
        self._change(due=due, held=(), is_settled=False, is_checked=False)

    def pass_over(self, seq: int) -> None:
        """The records before number `seq` that have not come are not wanted, and were not sent."""
        self._session.pass_over(seq)

    def lose_late(self, loss: Loss) -> None:
        """Some of these numbers turn out to be lost, although later records have come. The loss
        does not take `position` back."""
        self._change(late=(*filter(self._is_waiting, self.state.late), loss))
        self.ready.append(loss)
        self._session.lose(loss.count)

    def _is_late(self, record: Received) -> bool:
        return any(record is each for each in self.state.late)

    def _is_waiting(self, record: Received) -> bool:
        return any(record is each for each in self.ready)

    def finish(self, failure: DisconnectedError | UnknownSymbolError | None = None) -> None:
        """End the subscription. `failure` is raised once `ready` is empty."""
        self._change(is_over=True, failure=failure)

    def mark(self) -> Mark:
        """The state to pass to `return_to`."""
        session = self._session
        return Mark(session.phase, len(self.ready), session.mark(), self.state)

    def return_to(self, mark: Mark) -> None:
        """Restore the state of `mark`. Can be interrupted and repeated. The caller must have taken
        nothing out of `ready` in between."""
        self.state = mark.state
        self._session.return_to(mark.session)
        while len(self.ready) > mark.ready:
            self.ready.pop()

    def interrupted(self, mark: Mark) -> None:
        """The program was interrupted while it took bytes of a connection. Undo all changes since
        `mark`, and treat the connection as lost. If nothing had arrived on it, the client connects
        again without reporting that."""
        self.return_to(mark)
        self._change(pause_s=0.0)
        if self._session.phase is Phase.GREETING:
            self._session.disconnected()
        else:
            self.disconnected(DisconnectedError(INTERRUPTED), is_own_fault=True)

    def disconnected(self, error: Exception, *, is_own_fault: bool = False) -> None:
        """The connection ended with `error`. Queue a `Disconnected`, or end the subscription. The
        next attempt follows after a pause, or at once if the fault is this program's."""
        is_elsewhere = self._session.is_elsewhere
        self._session.disconnected()
        before = self.state
        end = before.end
        self._change(
            end=None,
            held=(),
            # A connection that brought only a header does not reset the pauses.
            pauses=self._new_pauses() if before.is_settled else before.pauses,
            is_settled=False,
            is_checked=False,
            due=before.due or self._session_position(),
            unheard=before.unheard + isinstance(error, NotHeardError),
        )
        why = reason(error)
        is_goodbye = end is not None and (end.retry_ms is None or not self._reconnect)
        if is_goodbye or before.failure is not None:
            self._change(is_over=True)
            if end is not None and end.reason in _REFUSALS:
                is_unknown = is_elsewhere and end.reason is EndReason.BAD_REQUEST
                refused = UnknownChannelError if is_unknown else RefusedError
                self._change(failure=refused(f"{self._url}: {end.why or end.reason.name}"))
        elif isinstance(error, WrongChannelError):
            self._change(is_over=True, failure=UnknownChannelError(f"{self._url}: {why}"))
        elif not self._reconnect:
            self._change(is_over=True, failure=DisconnectedError(f"{self._url}: {why}"))
        else:
            asked_s = (end.retry_ms or 0) / 1000 if end else 0.0
            is_at_once = is_own_fault or self._has_finished_epoch(end)
            pause_s = min(asked_s, LONGEST_ASKED_S) + next(self.state.pauses)
            self._change(pause_s=0.0 if is_at_once else pause_s)
            self._note_outage(why)
            self.ready.append(Disconnected(why=why, pause_s=self.state.pause_s))

    def _has_finished_epoch(self, end: End | None) -> bool:
        """Note that an END closed an epoch. False if it did not, or if a later epoch was over
        before: a service that goes round in circles must not be asked without pause."""
        header = self._session.header
        if end is None or end.reason is not EndReason.EPOCH_OVER or header is None:
            return False
        is_news = header.epoch_ns > self.state.over_ns
        self._change(over_ns=max(header.epoch_ns, self.state.over_ns))
        return is_news

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=self._longest_pause_s, uniform=self._uniform)

    def _farewell(self) -> str:
        end = self.state.end
        if end is None:
            return "the service closed the connection without an END"
        return f"the service ended: {end.why or end.reason.name}"


def _is_epoch_over(records: list[Record]) -> bool:
    last = records[-1] if records else None
    return isinstance(last, End) and last.reason is EndReason.EPOCH_OVER


def first_number(record: Received) -> int | None:
    """A record's sequence number; None if it has none."""
    match record:
        case Trade(seq=seq) | Status(seq=seq) | Gap(seq=seq):
            return seq
        case Quote(seq=seq) | BookUpdate(seq=seq) | OrderUpdate(seq=seq) | FeatureRow(seq=seq):
            return seq or None  # 0 in a snapshot
        case Loss(first_seq=seq) | Skipped(first_seq=seq):
            return seq
        case _:
            first: int | None = getattr(record, "first_seq", None)  # that of rows
            return first
