"""The judge of a run on paper: it reads the journal of its reports, and the exchange's own record.

It shares no arithmetic with `fanout.trading`: money is in fractions, an order is what its reports
say. What it holds against the run:

- a fill is of a trade that the exchange made, by the opposite aggressor, at the order's price or
  through it; no trade is spent twice in a model; nothing is filled that was not acknowledged;
- nothing is filled while fills are frozen; once the kill switch has latched nothing is open, and
  nothing happens to orders any more; none is sent from the pull to the reset;
- positions are the sums of the fills, in each checkpoint too, and money is conserved, exactly;
- no order is sent with which a limit could be exceeded, working orders included.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec

from fanout.protocol import Instrument, Side
from fanout.trading.exchange.queues import Model
from fanout.trading.orders import OrderEvent, OrderState
from fanout.trading.reports import Fill, KillReport, OrderReport, PositionReport, Trust
from fanout.trading.running.checkpoint import Checkpoint
from fanout.trading.running.journal import Entry, Started

MOST_COMPLAINTS: Final = 100
SECOND_NS: Final = 1_000_000_000

Key = tuple[str, Model]


class Row(NamedTuple):
    """A trade as the exchange made it."""

    price: Decimal
    quantity: Decimal
    buyer_is_maker: bool


RowOf = Callable[[str, int], Row | None]
"""The exchange's trade of a symbol and an id; None if there was none."""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a symbol, and the fee as a part of the value."""

    position: Decimal
    open_orders: int
    rate: int
    burst: int
    maker_fee: Fraction


class _Order(msgspec.Struct):
    """An order in one model."""

    side: Side
    price: int | None
    quantity: int
    remaining: int
    state: OrderState
    acknowledged_ns: int | None = None

    @property
    def is_open(self) -> bool:
        return OrderState.NEW < self.state < OrderState.FILLED


class _Account(msgspec.Struct):
    """A position in one model, from the fills alone."""

    quantity: int = 0
    bought: int = 0
    sold: int = 0
    fills: int = 0
    cash: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)


class PaperOracle:
    """See the module. `complaints` are what was wrong, `counts` what was seen."""

    def __init__(self, row_of: RowOf, allowed: dict[str, Allowed]) -> None:
        self.complaints: list[str] = []
        self.counts: Counter[str] = Counter()
        self._row_of = row_of
        self._allowed = allowed
        self._instruments: dict[str, Instrument] = {}
        self._orders: dict[Key, dict[int, _Order]] = defaultdict(dict)
        """Those that are not over."""
        self._accounts: dict[Key, _Account] = defaultdict(_Account)
        self._spent: Counter[tuple[str, Model, int]] = Counter()
        self._frozen: dict[str, bool] = defaultdict(lambda: True)
        self._switches: dict[str, str] = defaultdict(lambda: "armed")
        self._sent: dict[str, deque[int]] = defaultdict(deque)
        self._last_id = self._time_ns = 0

    def judge(self, entries: Iterable[Entry]) -> None:
        """Judge a whole journal, in order."""
        for entry in entries:
            if isinstance(entry, Started):
                self._start(entry)
                continue
            if isinstance(entry, Checkpoint):
                self._take_checkpoint(entry)
                continue
            if entry.time_ns < self._time_ns:
                self._complain(f"time goes back from {self._time_ns}: {entry}")
            self._time_ns = entry.time_ns
            match entry:
                case OrderReport():
                    self._take_order(entry)
                case Fill():
                    self._take_fill(entry)
                case PositionReport():
                    self._take_position(entry)
                case Trust(symbol=symbol, is_frozen=is_frozen):
                    self._frozen[symbol] = is_frozen
                    self.counts["freezes"] += is_frozen
                case KillReport():
                    self._take_kill(entry)

    def _complain(self, words: str) -> None:
        self.counts["complaints"] += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(words)

    def _start(self, started: Started) -> None:
        self._instruments |= {each.symbol: each for each in started.instruments}
        if started.part > 1:
            self.counts["files begun on the way"] += 1
            return
        self.counts["starts"] += 1
        self._frozen.clear()
        self._sent.clear()  # a bucket is full at a start

    def _take_checkpoint(self, checkpoint: Checkpoint) -> None:
        """It has what the fills have made, and the orders that are not over."""
        for record in checkpoint.symbols:
            left: set[int] = set()
            for model, position in zip(Model, record.positions, strict=True):
                account = self._accounts[record.symbol, model]
                left |= self._orders[record.symbol, model].keys()
                counted = account.quantity, account.bought, account.sold, account.fills
                if (position.quantity, position.bought, position.sold, position.fills) != counted:
                    self._complain(f"the fills make {counted}: {position} of {record.symbol}")
            if {each.order_id for each in record.orders} != left:
                self._complain(f"{left} are not over: {record}")
            if record.kill.state != self._switches[record.symbol]:
                self._complain(f"the switch is {self._switches[record.symbol]}: {record}")

    # Orders.

    def _take_order(self, report: OrderReport) -> None:
        switch, key = self._switches[report.symbol], (report.symbol, report.model)
        if switch == "latched":
            self._complain(f"killed, and yet {report}")
        if report.event is OrderEvent.SEND:
            self._send(report, switch)
            return
        order = self._orders[key].get(report.order_id)
        if order is None:
            if report.event is not OrderEvent.REFUSE:
                self._complain(f"of no open order: {report}")
            return
        order.state = report.state
        if order.remaining != report.remaining:
            self._complain(f"{order.remaining} is left of it, and not what it says: {report}")
        if report.event is OrderEvent.ACKNOWLEDGE:
            order.acknowledged_ns = report.time_ns
        self._forget(key, report.order_id, order)

    def _send(self, report: OrderReport, switch: str) -> None:
        key = report.symbol, report.model
        self.counts[f"orders sent, {report.model.name.lower()}"] += 1
        if switch != "armed":
            self._complain(f"the kill switch is {switch}, and yet {report}")
        if report.order_id < self._last_id:
            self._complain(f"an old number: {report}")
        if report.order_id > self._last_id:
            self._last_id = report.order_id
            self._note_rate(report)
        self._orders[key][report.order_id] = _Order(
            report.side, report.price, report.quantity, report.quantity, report.state
        )
        self._check_exposure(key, report)

    def _check_exposure(self, key: Key, report: OrderReport) -> None:
        allowed = self._allowed[report.symbol]
        working = [each for each in self._orders[key].values() if each.is_open]
        if len(working) > allowed.open_orders:
            self._complain(f"{len(working)} orders are open with {report}")
        side = sum(each.remaining for each in working if each.side is report.side)
        sign = 1 if report.side is Side.BID else -1
        of = self._instruments[report.symbol]
        worst = Decimal(sign * self._accounts[key].quantity + side).scaleb(of.quantity_exponent)
        if worst > allowed.position:
            self._complain(f"{side} more could exceed the position limit: {report}")

    def _note_rate(self, report: OrderReport) -> None:
        """In a window of n seconds there are at most burst + n * rate orders."""
        allowed, times = self._allowed[report.symbol], self._sent[report.symbol]
        times.append(report.time_ns)
        if len(times) > allowed.burst + allowed.rate + 1:
            times.popleft()
        for count, since_ns in enumerate(reversed(times), start=1):
            window_ns = report.time_ns - since_ns
            if (count - allowed.burst) * SECOND_NS > window_ns * allowed.rate:
                self._complain(f"{count} orders in {window_ns:,} ns: {report}")
                return

    def _forget(self, key: Key, order_id: int, order: _Order) -> None:
        if order.state.is_over:
            del self._orders[key][order_id]

    # Fills.

    def _take_fill(self, fill: Fill) -> None:
        key = fill.symbol, fill.model
        self.counts[f"fills, {fill.model.name.lower()}"] += 1
        if self._frozen[fill.symbol]:
            self._complain(f"fills are frozen, and yet {fill}")
        if self._switches[fill.symbol] == "latched":
            self._complain(f"killed, and yet {fill}")
        order = self._orders[key].get(fill.order_id)
        if order is None or order.acknowledged_ns is None:
            self._complain(f"of no order that works: {fill}")
            return
        self._check_order(fill, order)
        self._check_trade(fill)
        self._book(fill)
        self._forget(key, fill.order_id, order)

    def _check_order(self, fill: Fill, order: _Order) -> None:
        order.remaining -= fill.quantity
        order.state = fill.state
        if (fill.side, fill.price, fill.remaining) != (order.side, order.price, order.remaining):
            self._complain(f"it is not as its order, {order}: {fill}")
        if order.remaining < 0 or (order.remaining == 0) is not (fill.state is OrderState.FILLED):
            self._complain(f"{order.remaining} is left: {fill}")
        if order.acknowledged_ns is not None and fill.time_ns <= order.acknowledged_ns:
            self._complain(f"it is older than the acknowledgement: {fill}")

    def _check_trade(self, fill: Fill) -> None:
        row = None if fill.trade_id is None else self._row_of(fill.symbol, fill.trade_id)
        if row is None or fill.trade_id is None or not fill.is_maker:
            self._complain(f"of no trade: {fill}")
            return
        of = self._instruments[fill.symbol]
        price = Decimal(fill.price).scaleb(of.price_exponent)
        is_reached = row.price <= price if fill.side is Side.BID else row.price >= price
        if not is_reached or row.buyer_is_maker is not (fill.side is Side.BID):
            self._complain(f"{row} does not reach it: {fill}")
        spent = fill.symbol, fill.model, fill.trade_id
        self._spent[spent] += fill.quantity
        if Decimal(self._spent[spent]).scaleb(of.quantity_exponent) > row.quantity:
            self._complain(f"{row} is spent: {fill}")

    def _book(self, fill: Fill) -> None:
        account = self._accounts[fill.symbol, fill.model]
        sign = 1 if fill.side is Side.BID else -1
        account.quantity += sign * fill.quantity
        account.bought += fill.quantity if sign > 0 else 0
        account.sold += 0 if sign > 0 else fill.quantity
        account.fills += 1
        value = self._value(fill.symbol, fill.price, fill.quantity)
        account.cash -= sign * value
        account.fees += Fraction(fill.fee)
        if Fraction(fill.fee) != value * self._allowed[fill.symbol].maker_fee:
            self._complain(f"the fee is wrong: {fill}")
        if fill.position != account.quantity:
            self._complain(f"the fills make a position of {account.quantity}: {fill}")

    def _value(self, symbol: str, price: Fraction | int, quantity: int) -> Fraction:
        of = self._instruments[symbol]
        return price * quantity * Fraction(10) ** (of.price_exponent + of.quantity_exponent)

    def _take_position(self, report: PositionReport) -> None:
        self.counts["positions compared"] += 1
        account = self._accounts[report.symbol, report.model]
        counted = account.quantity, account.bought, account.sold, account.fills
        if (report.quantity, report.bought, report.sold, report.fills) != counted:
            self._complain(f"the fills make {counted}: {report}")
        if Fraction(report.fees) != account.fees:
            self._complain(f"the fills cost {account.fees}: {report}")
        if report.unrealised is None or report.equity is None:
            return
        profit = Fraction(report.realised) + Fraction(report.unrealised)
        if Fraction(report.equity) != profit - account.fees:
            self._complain(f"equity is not profit less fees: {report}")
        # Profit is the cash and what is held at the mid, so it tells the mid: halves of a tick.
        held = self._value(report.symbol, 1, account.quantity)
        if not held:
            is_right = profit == account.cash
        else:
            twice_mid = 2 * (profit - account.cash) / held
            is_right = twice_mid > 0 and twice_mid.denominator == 1
        if not is_right:
            self._complain(f"money of {account.cash} was paid: {report}")

    # The kill switch.

    def _take_kill(self, report: KillReport) -> None:
        before, self._switches[report.symbol] = self._switches[report.symbol], report.state
        if (before, report.state) not in _TURNS:
            self._complain(f"from {before}: {report}")
        if report.state == "cancelling":
            self.counts[f"kills by {report.cause}"] += 1
        elif report.state == "latched":
            self.counts["kills proved"] += 1
            left = [each for model in Model for each in self._orders[report.symbol, model]]
            if left:
                self._complain(f"the orders {left} are open: {report}")

    def end(self) -> None:
        """The journal is over: each kill has been proved."""
        for symbol, state in self._switches.items():
            if state == "cancelling":
                self._complain(f"the kill of {symbol} was never proved")


_TURNS: Final = {("armed", "cancelling"), ("cancelling", "latched"), ("latched", "armed")}
