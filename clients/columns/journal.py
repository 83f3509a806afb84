"""A journal in bulk: the same rows as from a client, without an object for each trade.

    from fanout.clients.columns import to_polars
    from fanout.clients.columns.journal import read_journal

    for piece in read_journal("journal:///var/lib/fanout/binance"):
        frame = to_polars(piece.trades, piece.header)

The journal is read as the caller asks for pieces. Each is what was read at once, 256 KiB, so memory
does not grow with the journal. Everything is checked as `fanout.clients.journal` checks it. What
cannot be read is a `Loss` with its exact numbers, in the `records` of the piece behind which it
stands or in which it lies.

Trades become rows without becoming records first. Quotes and book updates are decoded one by one,
and a piece makes arrays of them if asked to.
"""

from collections.abc import Collection, Iterator
from struct import Struct
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns.features import features_in
from fanout.clients.columns.rows import TRADE, labelled
from fanout.clients.columns.updates import levels_in, orders_in, quotes_in
from fanout.clients.journal import JournalClient, JournalReader
from fanout.clients.outcomes import Received
from fanout.clients.wanted import MARKET_KINDS, Wanted
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.records import Header, Loss, Trade
from fanout.protocol.request import Moment, Position
from fanout.protocol.rows import rows_from

_LENGTH = Struct("<I")
_IS_MARKET: Final = np.array([each in MARKET_KINDS for each in range(256)])
_ROW: Final = TRADE.itemsize


class TradeRows(msgspec.Struct, kw_only=True):
    """Trades that follow each other in one channel, as a client of rows hands them over."""

    header: Header
    packed: bytes | bytearray
    """Rows of dtype `TRADE`, at least one."""

    @property
    def rows(self) -> NDArray[np.void]:
        """An array of shape (trades,) and dtype `TRADE`."""
        return np.frombuffer(self.packed, TRADE)

    @property
    def labelled(self) -> NDArray[np.void]:
        """The same as labelled rows."""
        return labelled(self.rows, self.header)

    @property
    def first_seq(self) -> int:
        """The number of the first trade."""
        return int(self.rows[0]["seq"])

    def __len__(self) -> int:
        return len(self.packed) // _ROW

    def until(self, count: int) -> "TradeRows":
        """The first trades, so many."""
        return TradeRows(header=self.header, packed=bytes(self.packed[: count * _ROW]))


class RowReader(JournalReader):
    """A reader of a journal that hands over `TradeRows` in place of `Trade`s. Everything else comes
    as it does from `JournalReader`, and at its place."""

    def __init__(
        self,
        url: str,
        *,
        start: str | Position | Moment = "oldest",
        follow: bool = False,
        symbols: Collection[str] = (),
        market_only: bool = False,
    ) -> None:
        """As `JournalReader`."""
        super().__init__(url, start=start, follow=follow, symbols=symbols, market_only=market_only)
        self._wanted = Wanted.of(symbols, market_only)

    def _receive(self, data: bytes) -> None:
        self._mark = None
        offset = 0
        while offset < len(data):
            rows, behind = self._subscription.rows_at(data, offset)
            if rows:
                self._add(self._selected(rows))
            else:
                behind += LENGTH_BYTES + _LENGTH.unpack_from(data, offset)[0]
                self._take_frame(data[offset:behind])
            offset = behind

    def _take_frame(self, frame: bytes) -> None:
        """Take a frame that is no block of trades, or the first one of a connection."""
        ready, before = self._ready, len(self._ready)
        try:
            self._subscription.receive(frame)
        finally:
            records = [ready.pop() for _ in range(len(ready) - before)][::-1]
            trades = [each for each in records if isinstance(each, Trade)]
            ready.extend(each for each in records if not isinstance(each, Trade))
            self._add(rows_from(trades))

    def _add(self, rows: bytes | bytearray) -> None:
        """Put rows behind what is ready."""
        if not rows:
            return
        header = self._subscription.header
        assert header is not None, "it comes before all trades"
        last = cast(Any, self._ready[-1] if self._ready else None)
        if isinstance(last, TradeRows) and last.header is header:
            last.packed += rows
        else:
            self._ready.append(cast(Any, TradeRows(header=header, packed=rows)))

    def _selected(self, rows: bytearray) -> bytes | bytearray:
        """The rows that the caller wants."""
        wanted, header = self._wanted, self._subscription.header
        if wanted.is_everything or header is None:
            return rows
        trades = np.frombuffer(rows, TRADE)
        is_wanted = np.ones(len(trades), np.bool_)
        if wanted.symbols:
            symbols = [each.symbol in wanted.symbols for each in header.instruments]
            is_wanted &= np.array(symbols)[trades["instrument"]]
        if wanted.market_only:
            is_wanted &= _IS_MARKET[trades["kind"]]
        return trades[is_wanted].tobytes()


class JournalRows(RowReader, JournalClient):
    """A blocking client of rows. Iterate over it: `TradeRows`, and all other records."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What was read at once, under one header."""

    header: Header
    trades: NDArray[np.void]
    """Rows of dtype `TRADE`: `labelled`, `to_arrow` and their like take them with the header."""
    records: tuple[Received, ...]
    """Everything else, in order: quotes, book updates, rows of features, events, losses."""

    @property
    def quotes(self) -> NDArray[np.void]:
        """The quotes as rows, as `quotes_in` makes them."""
        return quotes_in(self.records, self.header)

    @property
    def levels(self) -> NDArray[np.void]:
        """The levels of book updates by price as rows, as `levels_in` makes them."""
        return levels_in(self.records, self.header)

    @property
    def orders(self) -> NDArray[np.void]:
        """The orders of book updates by order as rows, as `orders_in` makes them."""
        return orders_in(self.records, self.header)

    @property
    def features(self) -> NDArray[np.void]:
        """The rows of features as an array, as `features_in` makes it."""
        return features_in(self.records, self.header)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Which numbers cannot be read, and why."""
        return tuple(each for each in self.records if isinstance(each, Loss))


def read_journal(
    url: str,
    *,
    start: str | Position | Moment = "oldest",
    stop: Position | Moment | None = None,
    symbols: Collection[str] = (),
    market_only: bool = False,
) -> Iterator[Piece]:
    """The pieces of a journal, or of a part of it: from `start` on, and up to before the first
    record with the number or the time of `stop`.

    Arguments and errors are those of `JournalClient`. Nothing is opened before the first piece is
    asked for, and all is closed behind the last one.
    """
    end = _End(stop)
    with JournalRows(url, start=start, symbols=symbols, market_only=market_only) as client:
        trades, records = list[TradeRows](), list[Received]()
        for received in cast("Iterator[Received | TradeRows]", client):
            if isinstance(received, TradeRows):
                if trades and received.header is not trades[0].header:
                    yield _piece(trades[0].header, trades, records)
                    trades, records = [], []
                rows = end.before(received)
                if rows:
                    trades.append(rows)
            elif not end.is_at(received, client.header):
                records.append(received)
            if end.is_reached or not client.is_any_ready:
                header = trades[0].header if trades else client.header
                if header is not None and (trades or records):
                    yield _piece(header, trades, records)
                    trades, records = [], []
            if end.is_reached:
                return


def _piece(header: Header, trades: list[TradeRows], records: list[Received]) -> Piece:
    packed = trades[0].packed if len(trades) == 1 else b"".join(each.packed for each in trades)
    return Piece(header=header, trades=np.frombuffer(packed, TRADE), records=tuple(records))


class _End:
    """Where reading is to stop."""

    def __init__(self, stop: Position | Moment | None) -> None:
        self._stop = stop
        self.is_reached = False

    def before(self, trades: TradeRows) -> TradeRows:
        """Those of the trades that come before it."""
        rows = trades.rows
        match self._stop:
            case Position(epoch_ns=epoch_ns, seq=seq):
                due = 0 if trades.header.epoch_ns > epoch_ns else seq
                is_late = rows["seq"] >= due if trades.header.epoch_ns >= epoch_ns else None
            case Moment(time_ns=time_ns):
                is_late = rows["received_ns"] >= time_ns
            case _:
                is_late = None
        if is_late is None or not is_late.any():
            return trades
        self.is_reached = True
        return trades.until(int(is_late.argmax()))

    def is_at(self, record: Received, header: Header | None) -> bool:
        """Whether a record comes behind it."""
        match self._stop:
            case Position(epoch_ns=epoch_ns, seq=seq) if header is not None:
                number = getattr(record, "seq", 0) or getattr(record, "first_seq", 0)
                is_late = (header.epoch_ns, number) >= (epoch_ns, seq)
                self.is_reached = number > 0 and is_late
            case Moment(time_ns=time_ns):
                self.is_reached = getattr(record, "received_ns", 0) >= time_ns
            case _:
                pass
        return self.is_reached
