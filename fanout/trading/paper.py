"""The paper exchange: orders meet a recorded or a live stream, in two fill models at once.

    exchange = PaperExchange(settings)
    for record in client:
        for report in exchange.take(record): ...

It takes every record of one stream that has trades and books, in order, and keeps the books itself.
Time is `received_ns` of the records, `since_ns` of a Status, and moves forward only. Orders are
sent and cancelled at the time of the newest record. A message that works at t does so after all
records received at t or before, and ahead of the first one received later. So an order that answers
a record is acknowledged after the whole read of the socket that brought the record, even without
latency.

Two models fill the same orders (`queues`). The strategy follows the lead; the other model is a
bracket around it, with its own fills and its own position. The same records and calls give the same
reports, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final

from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Received, Restarted, UnknownSymbolError
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import FeedState, Side
from fanout.protocol.errors import FanoutError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Gap, Loss, Status, Trade
from fanout.trading.errors import UnknownOrderError
from fanout.trading.exchange.market import Market
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.exchange.queues import Model
from fanout.trading.exchange.trust import reason_of
from fanout.trading.orders import OrderEvent, OrderRequest
from fanout.trading.position import Position
from fanout.trading.reports import PositionReport, Report
from fanout.trading.restart import Past
from fanout.trading.settings import ExchangeSettings

_SILENT: Final[list[Report]] = []
"""The answer to a record that caused nothing. It is never changed."""


class OrderNumbers:
    """The numbers of orders, from 1. Exchanges that share a journal share them."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """A new number."""
        self.last += 1
        return self.last


class PaperExchange:
    """A paper exchange for the symbols of one stream. See the module."""

    def __init__(
        self,
        settings: ExchangeSettings,
        symbols: Sequence[str],
        *,
        numbers: OrderNumbers | None = None,
    ) -> None:
        self.settings = settings
        self._numbers = OrderNumbers() if numbers is None else numbers
        self.books = Books()
        self.now_ns = 0
        """The time of the newest record, unix ns."""
        self._orders: dict[int, OwnOrder] = {}
        self._due: list[tuple[int, int, OwnOrder, bool]] = []
        """Messages on their way: when they work, their number, the order, and if it is a cancel."""
        self._next_due_ns: float = float("inf")
        self._messages = 0
        self._reports: list[Report] = []
        self._markets = {
            symbol: Market(symbol, self.books[symbol], settings, self._orders, self._say)
            for symbol in symbols
        }
        self._frozen = set(self._markets)
        """The symbols whose fills are frozen."""

    # Records in.

    def take(self, record: Received) -> list[Report]:
        """Take the next record of the stream. Returns what it caused, in order; the list is the
        caller's to read, not to change."""
        # Types are compared, not matched: this is done for every record.
        kind = type(record)
        if kind is Trade or kind is BookUpdate or kind is OrderUpdate or kind is Quote:
            time_ns: int = record.received_ns  # type: ignore[union-attr]
        else:
            time_ns = time_of(record)
        if time_ns > self.now_ns:
            if self._next_due_ns < time_ns:
                self._work_until(time_ns)
            self.now_ns = time_ns
        try:
            self.books.apply(record)
        except FanoutError as error:
            instrument: Instrument | None = getattr(record, "instrument", None)
            self._distrust(str(error), instrument)
        if kind is Trade:
            market = self._markets.get(record.instrument.symbol)  # type: ignore[union-attr]
            if market is not None:
                market.traded(record, self.now_ns)  # type: ignore[arg-type]
        elif kind is BookUpdate or kind is OrderUpdate:
            market = self._markets.get(record.instrument.symbol)  # type: ignore[union-attr]
            if market is not None:
                market.updated(self.now_ns)
        elif kind is not Quote:
            self._take_event(record)
        if self._frozen:
            self._look_again()
        return self._said() if self._reports else _SILENT

    def advance(self, now_ns: int) -> list[Report]:
        """Let time pass without a record: messages that were due before `now_ns` work."""
        if now_ns > self.now_ns:
            self._work_until(now_ns)
            self.now_ns = now_ns
        return self._said()

    def _work_until(self, now_ns: int) -> None:
        while self._due and self._due[0][0] < now_ns:
            due_ns, _, order, is_cancel = heappop(self._due)
            self.now_ns = max(self.now_ns, due_ns)
            if order.is_over:
                continue
            market = self._markets[order.request.symbol]
            if is_cancel:
                market.own.cancel(order, self.now_ns)
            else:
                market.own.acknowledge(order, self.now_ns, market.frozen_why)
        self._next_due_ns = self._due[0][0] if self._due else float("inf")

    def _take_event(self, record: Received) -> None:
        match record:
            case Gap(instrument=instrument):
                market = self._markets.get(instrument.symbol)
                if market is not None:
                    market.gap(record, self.now_ns)
            case Loss() | Restarted():
                for market in self._markets.values():
                    market.forget(reason_of(record), self.now_ns)
            case Status(instrument=instrument, state=state):
                if state is not FeedState.LIVE:
                    self._distrust(reason_of(record), instrument)
            case Disconnected() | End():
                self._distrust(reason_of(record), None)
        self._note_frozen()

    def _distrust(self, why: str, instrument: Instrument | None) -> None:
        """Freeze the books of an instrument, or of all, that are unknown now."""
        for symbol, market in self._markets.items():
            concerns = instrument is None or instrument.symbol == symbol
            if concerns and not market.book.is_known:
                market.distrust(why, self.now_ns)
        self._note_frozen()

    def _note_frozen(self) -> None:
        self._frozen = {symbol for symbol, each in self._markets.items() if each.frozen_why}

    def _look_again(self) -> None:
        for symbol in sorted(self._frozen):
            self._markets[symbol].look_again(self.now_ns)
        self._note_frozen()

    def _market(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            raise UnknownSymbolError(f"{symbol} is not traded here: {', '.join(self._markets)}")
        return market

    def _say(self, report: Report) -> None:
        self._reports.append(report)

    def _said(self) -> list[Report]:
        said, self._reports = self._reports, []
        return said

    # Orders in.

    def submit(
        self, request: OrderRequest, *, refused: Mapping[Model, str] | None = None
    ) -> tuple[int, list[Report]]:
        """Send an order at `now_ns`. Returns its number and the first reports.

        `refused` are the models in which the limits refuse it, with their reasons: there it is
        REFUSED, in the others it is sent. Raises `UnknownSymbolError`.
        """
        own = self._market(request.symbol).own
        order = OwnOrder(self._numbers.next(), request, self.now_ns)
        fault = own.fault(order)
        refusals = dict.fromkeys(MODELS, fault) if fault else dict(refused or {})
        for model in MODELS:
            why = refusals.get(model)
            event = OrderEvent.SEND if why is None else OrderEvent.REFUSE
            self._say(order.turn(model, event, self.now_ns, why=why or ""))
        if not order.is_over:
            own.admit(order)
            order.working_due_ns = self.now_ns + self.settings.latencies.acknowledge_ns
            self._post(order, order.working_due_ns, is_cancel=False)
        return order.order_id, self._said()

    def restore(self, instrument: Instrument, reports: Iterable[Report]) -> list[Report]:
        """Go on where an earlier run ended, before the first record: see `restart`. `reports` are
        all of that run, in order. Returns what ended with it."""
        return self.adopt(Past(instrument, reports))

    def adopt(self, past: Past) -> list[Report]:
        """The same with what was read of an earlier run already."""
        ended = past.settle()
        self.now_ns = max(self.now_ns, past.time_ns)
        self._numbers.last = max(self._numbers.last, past.last_id)
        self._market(past.instrument.symbol).restore(past, self.now_ns)
        return [*ended, *self._said()]

    def cancel(self, order_id: int) -> list[Report]:
        """Send a cancel at `now_ns`. Nothing happens to an order that is over or being cancelled.
        Raises `UnknownOrderError` for a number that no order had."""
        order = self._orders.get(order_id)
        if order is None or order.cancel_due_ns is not None:
            if not 0 < order_id <= self._numbers.last:
                raise UnknownOrderError(f"there was never an order {order_id}")
            return []
        due_ns = max(self.now_ns + self.settings.latencies.cancel_ns, order.working_due_ns)
        order.cancel_due_ns = due_ns
        for model in MODELS:
            if order.is_open(model):
                front = self.front_of(order_id, model)
                self._say(order.turn(model, OrderEvent.ASK_CANCEL, self.now_ns, front=front))
        self._post(order, due_ns, is_cancel=True)
        return self._said()

    def cancel_all(self) -> list[Report]:
        """Send a cancel for every order that is not over."""
        return [report for order_id in list(self._orders) for report in self.cancel(order_id)]

    def _post(self, order: OwnOrder, due_ns: int, *, is_cancel: bool) -> None:
        self._messages += 1
        heappush(self._due, (due_ns, self._messages, order, is_cancel))
        self._next_due_ns = self._due[0][0]

    # What can be asked.

    @property
    def next_due_ns(self) -> float:
        """When the next message works, infinity if none is on its way."""
        return self._next_due_ns

    def order(self, order_id: int) -> OwnOrder | None:
        """An order that is not over."""
        return self._orders.get(order_id)

    def orders(self, symbol: str) -> list[OwnOrder]:
        """The orders of a symbol that are not over, oldest first."""
        return list(self._market(symbol).own.orders.values())

    def front_of(self, order_id: int, model: Model) -> int | None:
        """The quantity in front of an order, with own earlier orders. None if it is in no queue,
        or nobody knows."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        return self._markets[order.request.symbol].own.front_of(order, model)

    def open_orders(self, symbol: str | None = None) -> tuple[int, ...]:
        """The orders that could still be filled in any model, of one symbol or of all. The queues
        are read as well as the states. So it proves that nothing is open when it is empty."""
        markets = self._markets.values() if symbol is None else [self._market(symbol)]
        return tuple(
            sorted({one for each in markets for one in (*each.own.orders, *each.own.queued())})
        )

    def working(self, symbol: str, model: Model, side: Side) -> int:
        """The quantity of the orders of a side that are on their way or working."""
        return self._market(symbol).own.working(model, side)

    def position(self, symbol: str, model: Model) -> Position | None:
        """The position of a model; None before the first order."""
        positions = self._market(symbol).own.positions
        return positions[model] if positions else None

    def position_reports(self, symbol: str) -> list[PositionReport]:
        """The positions of all models; none before the first order."""
        own = self._market(symbol).own
        reports = [own.position_report(each, self.now_ns) for each in MODELS]
        return [each for each in reports if each is not None]

    def frozen_why(self, symbol: str) -> str:
        """Why the fills of a symbol are frozen, empty if they are not."""
        return self._market(symbol).frozen_why


def time_of(record: Received) -> int:
    """The service's time of a record, unix ns; 0 for one that has none. Without the time of a
    Status, which comes after a silence, orders that were acknowledged in the silence would be too
    late when they are replayed."""
    if type(record) is Status:
        return record.since_ns
    time_ns: int = getattr(record, "received_ns", 0)
    return time_ns
