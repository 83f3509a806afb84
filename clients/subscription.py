"""What the clients share: everything but the waiting.

A `Subscription` says what to ask for, takes what came over the connection and queues the records
that the caller wants; when the connection is gone it says whether and after how long to connect
again, and asks then for what comes next. It does no I/O. The clients around it connect, read and
sleep, each in its own way, and are otherwise the same.
"""

import random
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from protocol.backoff import backoff
from protocol.constants import TradeKind
from protocol.errors import CallerError, PeerError, reason
from protocol.framing import frame
from protocol.records import End, Gap, Header, Loss, Record, Snapshot, Status, Trade
from protocol.request import Position, Request, Start, encode_request
from protocol.session import SessionStatistics, SubscriberSession

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0
LONGEST_ASKED_S: Final = 300.0
"""Most that a service can ask a client to wait: a wrong number must not cost weeks."""


class Disconnected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection is gone, or could not be made. Another attempt follows after `pause_s`."""

    why: str
    pause_s: float


class Reconnect(msgspec.Struct, frozen=True, kw_only=True):
    """A connection was lost and made again: why it was lost, how long the pauses were together,
    how many attempts it took, and what was lost by it (empty: nothing)."""

    why: str
    pause_s: float
    attempts: int
    lost: tuple[Loss, ...]


class DisconnectedError(PeerError, ConnectionError):
    """The connection is gone, or could not be made, and the client was told not to reconnect."""


class AddressError(CallerError, ValueError):
    """Not an address of a service."""


class UnknownSymbolError(CallerError, ValueError):
    """A symbol was asked for that is not served there."""


MARKET_KINDS: Final = frozenset({TradeKind.MARKET, TradeKind.RPI, TradeKind.AGGREGATE})
"""Trades at prices that somebody agreed on. Those of the insurance fund and of auto-deleveraging
can be far from them."""

MAX_RECONNECTS: Final = 100
"""Reconnects that are remembered."""


class Wanted(msgspec.Struct, frozen=True):
    """Which records the caller wants. What it does not want is counted and then dropped."""

    symbols: frozenset[str] = frozenset()
    """Empty: all."""
    market_only: bool = False

    @classmethod
    def of(cls, symbols: Collection[str], market_only: bool) -> "Wanted":
        if isinstance(symbols, str):
            raise AddressError(f"symbols={symbols!r}: a collection is needed, like [{symbols!r}]")
        return cls(frozenset(symbols), market_only)

    @property
    def is_everything(self) -> bool:
        return not (self.symbols or self.market_only)

    def check(self, header: Header) -> None:
        """Raises `UnknownSymbolError` for a symbol that is not in the header."""
        served = [each.symbol for each in header.instruments]
        for symbol in sorted(self.symbols.difference(served)):
            raise UnknownSymbolError(f"{symbol} is not served here: {', '.join(served)}")

    def select(self, records: list[Record]) -> list[Record]:
        """Those that are wanted. What concerns the whole stream always is."""
        return [each for each in map(self._reduced, records) if each is not None]

    def _reduced(self, record: Record) -> Record | None:
        match record:
            case Trade():
                return record if self._wants(record) else None
            case Snapshot():
                trades = tuple(filter(self._wants, record.trades))
                return Snapshot(trades=trades) if trades else None
            case Status(instrument=instrument) | Gap(instrument=instrument):
                is_wanted = instrument is None or self._wants_symbol(instrument.symbol)
                return record if is_wanted else None
            case _:
                return record

    def _wants(self, trade: Trade) -> bool:
        if self.market_only and trade.kind not in MARKET_KINDS:
            return False
        return self._wants_symbol(trade.instrument.symbol)

    def _wants_symbol(self, symbol: str) -> bool:
        return not self.symbols or symbol in self.symbols


class Subscription:
    """One subscriber's session and its policy for reconnecting, over any number of connections."""

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
        """`request` is what the first connection is asked for. With `resume` the others are asked
        for what comes next, and else for the newest."""
        self._url = url
        self.ready: deque[Record | Disconnected] = deque()
        """Records for the caller, in order."""
        self.pause_s = 0.0
        """How long to wait before the next attempt to connect."""
        self.failure: DisconnectedError | UnknownSymbolError | None = None
        """To be raised once `ready` is empty."""
        self.is_over = False
        """Whether there will be no other connection."""
        self.reconnects: deque[Reconnect] = deque(maxlen=MAX_RECONNECTS)
        self._reconnect = reconnect
        self._request = request or Request()
        self._resume = resume
        self._wanted = wanted or Wanted()
        self._uniform = uniform
        self._longest_pause_s = longest_pause_s
        self._session = SubscriberSession()
        self._end: End | None = None
        self._has_flowed = False
        """Whether the connection brought more than a greeting. A service that greets and drops is
        not to be hammered."""
        self._outage: Reconnect | None = None
        """What is known of the reconnect that is under way."""
        self._pauses = self._new_pauses()

    @property
    def header(self) -> Header | None:
        return self._session.header

    @property
    def statistics(self) -> SessionStatistics:
        return self._session.statistics

    @property
    def position(self) -> Position | None:
        """The place behind the last record that was taken out of `ready`; None before the first
        header, unless a place was asked for."""
        header, next_seq = self._session.header, self._session.next_seq
        if header is None or next_seq is None:
            return self._request.start if isinstance(self._request.start, Position) else None
        # A read is only made when nothing is left of the one before: all that is in `ready` is of
        # one epoch, the session's.
        numbers = (_first_number(each) for each in self.ready)
        return Position(
            epoch_ns=header.epoch_ns, seq=next((each for each in numbers if each), next_seq)
        )

    def request(self) -> bytes:
        """The frame with which a connection begins. The session is told what is in it."""
        request = self._request
        if self._session.header is not None:
            # What was received and not yet handed over waits in `ready`: go on behind that.
            at = self._session_position() if self._resume else Start.LIVE
            request = msgspec.structs.replace(request, start=at)
        self._session.ask(request.start)
        return frame(encode_request(request))

    def _session_position(self) -> Position:
        header, next_seq = self._session.header, self._session.next_seq
        assert header is not None
        assert next_seq is not None, "it is known from the first header on"
        return Position(epoch_ns=header.epoch_ns, seq=next_seq)

    def receive(self, data: bytes) -> None:
        """Take what a read brought; nothing is the end of the stream.

        Raises `PeerError` at the end of the stream and for what breaks the wire; the records up
        to there are in `ready`.
        """
        if not data:
            raise DisconnectedError(self._farewell())
        header = self._session.header
        self._session.receive(data)
        while (records := self._session.next_records()) is not None:
            if self._session.header is not header:
                header = self._session.header
                self._check_symbols()
            if records:
                self._take(records)

    def _check_symbols(self) -> None:
        """A symbol that is not served there will not be tomorrow: that is the end."""
        assert self._session.header is not None, "the caller has seen it"
        try:
            self._wanted.check(self._session.header)
        except UnknownSymbolError as error:
            self.failure = error
            raise DisconnectedError(str(error)) from error

    def _take(self, records: list[Record]) -> None:
        if not self._has_flowed or type(records[-1]) is End:
            self._watch(records)
        if not self._wanted.is_everything:
            records = self._wanted.select(records)
        self.ready.extend(records)

    def _watch(self, records: list[Record]) -> None:
        """Look at the first records of a connection, and at the last one."""
        for record in records:
            if isinstance(record, End):
                self._end = record
            elif isinstance(record, Loss):
                self._note_loss(record)
            elif not isinstance(record, Snapshot) and not self._has_flowed:
                self._has_flowed = True
                self._note_reconnect()

    def _note_loss(self, loss: Loss) -> None:
        if self._outage is not None and not self._has_flowed:
            lost = (*self._outage.lost, loss)[-MAX_RECONNECTS:]
            self._outage = msgspec.structs.replace(self._outage, lost=lost)

    def _note_reconnect(self) -> None:
        """The first record after an outage has come: what was lost by it is known now."""
        if self._outage is not None:
            self.reconnects.append(self._outage)
            self._outage = None

    def _note_outage(self, why: str) -> None:
        before = self._outage or Reconnect(why=why, pause_s=0.0, attempts=0, lost=())
        self._outage = msgspec.structs.replace(
            before, pause_s=before.pause_s + self.pause_s, attempts=before.attempts + 1
        )

    def disconnected(self, error: Exception) -> None:
        """The connection ended with `error`. Queue the record of it, or arrange for the end."""
        self._session.disconnected()
        end, self._end = self._end, None
        if self._has_flowed:
            self._pauses = self._new_pauses()
        self._has_flowed = False
        why = reason(error)
        if self.failure is not None or (
            end is not None and (end.retry_ms is None or not self._reconnect)
        ):
            self.is_over = True
        elif not self._reconnect:
            self.is_over = True
            self.failure = DisconnectedError(f"{self._url}: {why}")
        else:
            asked_s = (end.retry_ms or 0) / 1000 if end else 0.0
            self.pause_s = min(asked_s, LONGEST_ASKED_S) + next(self._pauses)
            self._note_outage(why)
            self.ready.append(Disconnected(why=why, pause_s=self.pause_s))

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=FIRST_PAUSE_S, cap_s=self._longest_pause_s, uniform=self._uniform)

    def _farewell(self) -> str:
        if self._end is None:
            return "the service closed the connection without an END"
        return f"the service ended: {self._end.why or self._end.reason.name}"


def _first_number(record: Record | Disconnected) -> int | None:
    """The sequence number at which a record stands; None if it has none."""
    match record:
        case Trade(seq=seq) | Status(seq=seq) | Gap(seq=seq) | Loss(first_seq=seq):
            return seq
        case _:
            return None
