"""The own orders in one symbol: how they enter, rest, fill and end, in each fill model.

An order that is acknowledged takes what is displayed within its limit, and rests behind what is
displayed at its price. Each model has its own queues, remaining quantities and position.

The strategy acts on one model, the lead. What ends there ends in the other model too: the strategy
would never cancel it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fanout.clients.books import Book
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import Level
from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading import reports
from fanout.trading.exchange.ladder import Ladder
from fanout.trading.exchange.own_level import OwnLevel
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.exchange.queues import (
    Model,
    ProbabilisticQueue,
    Queue,
    QueueFill,
    Times,
    share_of,
)
from fanout.trading.exchange.taking import Taken, shown_at
from fanout.trading.orders import OrderEvent, OrderRequest, OrderType, TimeInForce, after
from fanout.trading.position import Position
from fanout.trading.reports import PositionReport, Report
from fanout.trading.settings import ExchangeSettings

_OTHER: Final = (Side.ASK, Side.BID)
"""The opposite of each side."""

_POST_ONLY: Final = OrderType.POST_ONLY
_FOK: Final = TimeInForce.FOK
"""Names of their own, since an enumeration's members are slow to look up."""

Offers = list[tuple[int, int]]
"""Prices and quantities that can be taken at once."""


class OwnOrders:
    """The own orders in one symbol. `orders` are those of all symbols that are not over, `say`
    takes the reports."""

    __slots__ = (
        "_all",
        "_book",
        "_say",
        "_settings",
        "_taken",
        "ladders",
        "orders",
        "positions",
        "venue_time",
    )

    def __init__(
        self,
        book: Book,
        settings: ExchangeSettings,
        orders: dict[int, OwnOrder],
        say: Callable[[Report], None],
    ) -> None:
        self._all = orders
        self._book = book
        self._settings = settings
        self._say = say
        self._taken = [(Taken(Side.BID), Taken(Side.ASK)) for _ in MODELS]
        self.ladders = (Ladder(Side.BID), Ladder(Side.ASK))
        self.orders: dict[int, OwnOrder] = {}
        """Those that are not over, oldest first."""
        self.positions: list[Position] = []
        """One for each model, from the first order on."""
        self.venue_time = 0
        """The venue's time of the newest trade."""

    def fault(self, order: OwnOrder) -> str | None:
        """Why the exchange refuses an order at once; None if it does not."""
        request, instrument = order.request, self._book.instrument
        if request.fault is not None:
            return request.fault
        if instrument is None:
            return f"no book of {request.symbol} has come yet"
        text, lot = instrument.quantity_text, instrument.lot
        if lot and request.quantity % lot:
            return f"the quantity {text(request.quantity)} is no multiple of the lot, {text(lot)}"
        shown, tick = instrument.price_text, instrument.tick
        if request.price is not None and tick and request.price % tick:
            return f"the price {shown(request.price)} is no multiple of the tick, {shown(tick)}"
        return None

    @property
    def _instrument(self) -> Instrument:
        """The instrument of the first order. Later orders are in its units too."""
        return self.positions[0].instrument

    def admit(self, order: OwnOrder) -> None:
        """Keep an order that is on its way."""
        if not self.positions:
            instrument = self._book.instrument
            assert instrument is not None, "`fault` has asked"
            self.positions = [Position(instrument) for _ in MODELS]
        self.orders[order.order_id] = self._all[order.order_id] = order

    def restore(self, positions: list[Position], orders: list[OwnOrder], now_ns: int) -> None:
        """Go on with the positions and the open orders of an earlier run."""
        self.positions = positions
        for order in orders:
            self.orders[order.order_id] = self._all[order.order_id] = order
            for model in MODELS:
                if order.is_open(model):
                    level = self._level(order, None)
                    at = Times(now_ns, 0)
                    level.queues[model].join(order.order_id, order.remaining[model], None, at)
        self.tidy(orders, now_ns)

    def acknowledge(self, order: OwnOrder, now_ns: int, frozen_why: str) -> None:
        """The order reaches the exchange. While fills are frozen it is refused."""
        if not frozen_why and not self._book.is_known:
            frozen_why = "the book is between two parts of an update"
        for model in MODELS:
            if order.is_open(model):
                self._enter(order, model, now_ns, frozen_why)
        self.tidy((order,), now_ns)

    def _enter(self, order: OwnOrder, model: Model, now_ns: int, why: str) -> None:
        offers = [] if why else self._offers(order, model)
        if not why:
            why = self._clash(order, model, offers)
        if why:
            self._say(order.turn(model, OrderEvent.REFUSE, now_ns, why=why))
            return
        short = order.request.quantity - sum([quantity for _, quantity in offers])
        if short and order.request.time_in_force is _FOK:
            offers = []
        self._work(order, model, offers, short, now_ns)

    def _offers(self, order: OwnOrder, model: Model) -> Offers:
        request = order.request
        taken = self._taken[model][_OTHER[request.side]]
        return taken.offers(self._book.prices, request.quantity, request.price)

    def _clash(self, order: OwnOrder, model: Model, offers: Offers) -> str:
        """Why an order that meets others is refused; empty if it is not."""
        request = order.request
        if request.type is _POST_ONLY:
            # What we took is displayed still, and counts here: so no order rests against it.
            best = self._opposite_best(request.side)
            if best is not None and _reaches(request, best.price):
                return f"post-only would take at {self._instrument.price_text(best.price)}"
        reach = request.price if order.can_rest else offers[-1][0] if offers else None
        if reach is None:
            return ""
        for level in self.ladders[_OTHER[request.side]].reached_by(reach):
            if level.queues[model].places:
                price = self._instrument.price_text(level.price)
                return f"it would trade with our own order at {price}"
        return ""

    def _opposite_best(self, side: Side) -> Level | None:
        return self._book.best_ask if side is Side.BID else self._book.best_bid

    def _work(self, order: OwnOrder, model: Model, offers: Offers, short: int, now_ns: int) -> None:
        if short and order.can_rest:
            self._rest(order, model, short, now_ns)
        front = self.front_of(order, model)
        self._say(order.turn(model, OrderEvent.ACKNOWLEDGE, now_ns, front=front))
        self._taken[model][_OTHER[order.request.side]].take(offers)
        for price, quantity in offers:
            self._fill(order, model, price, quantity, now_ns, None)
        if short and not order.can_rest:
            text = self._instrument.quantity_text
            why = f"{text(short)} of {text(order.request.quantity)} could not be taken at once"
            self._say(order.turn(model, OrderEvent.EXPIRE, now_ns, why=why))

    def _rest(self, order: OwnOrder, model: Model, quantity: int, now_ns: int) -> None:
        level = self._level(order, self._book.prices)
        at = Times(now_ns, max(self.venue_time, self._book.time))
        level.queues[model].join(order.order_id, quantity, level.displayed, at)

    def _level(self, order: OwnOrder, prices: OrderBook | None) -> OwnLevel:
        """The level of an order, made if it is the first one there. Without `prices` nobody knows
        what is displayed."""
        request = order.request
        assert request.price is not None, "a market order does not rest"
        ladder = self.ladders[request.side]
        level = ladder.at(request.price)
        if level is None:
            shown = None if prices is None else shown_at(prices, request.side, request.price)
            level = OwnLevel(request.price, shown, [self._new_queue(each) for each in MODELS])
            ladder.add(level)
        return level

    def _new_queue(self, model: Model) -> Queue:
        instrument = self._instrument
        if model is Model.CONSERVATIVE:
            return Queue(instrument.lot)
        share = share_of(self._settings.weight, instrument.quantity_exponent)
        return ProbabilisticQueue(instrument.lot, share)

    def cancel(self, order: OwnOrder, now_ns: int, why: str = "") -> None:
        """A cancel works: what is left is taken out of the queues."""
        for model in MODELS:
            if order.is_open(model):
                self._end(order, model, now_ns, why)
        self.tidy((order,), now_ns)

    def _end(self, order: OwnOrder, model: Model, now_ns: int, why: str) -> None:
        request = order.request
        level = None if request.price is None else self.ladders[request.side].at(request.price)
        if level is not None:
            level.queues[model].leave(order.order_id)
        self._say(order.turn(model, OrderEvent.CANCEL, now_ns, why=why))

    def tidy(self, orders: Iterable[OwnOrder], now_ns: int) -> None:
        """Of orders to which something has happened: end in the other model what has ended in the
        lead, and drop what is over."""
        over = [each for each in orders if self._settle(each, now_ns)]
        for order in over:
            del self.orders[order.order_id], self._all[order.order_id]
            request = order.request
            ladder = self.ladders[request.side]
            level = None if request.price is None else ladder.at(request.price)
            if level is not None and level.is_empty:
                ladder.drop(level)

    def _settle(self, order: OwnOrder, now_ns: int) -> bool:
        """Whether the order is over, after the lead has ended it elsewhere too."""
        lead = self._settings.lead
        state = order.states[lead]
        if not state.is_over:
            return False
        for model in MODELS:
            if order.is_open(model):
                self._end(order, model, now_ns, f"it is {state.name} in the {lead.name} model")
        return True

    def made(self, fill: QueueFill, model: Model, price: int, now_ns: int, trade_id: int) -> bool:
        """A queue gave an order a fill. Returns whether that ended the order."""
        order = self.orders[fill.order_id]
        self._fill(order, model, price, fill.quantity, now_ns, trade_id)
        return not fill.remaining

    def _fill(
        self,
        order: OwnOrder,
        model: Model,
        price: int,
        quantity: int,
        now_ns: int,
        trade_id: int | None,
    ) -> None:
        """Book a fill. Without a trade it is a taker's."""
        settings, position = self._settings, self.positions[model]
        rate = settings.taker_fee if trade_id is None else settings.maker_fee
        fee = position.money.fee(price, quantity, rate)
        position.fill(order.request.side, price, quantity, fee)
        order.remaining[model] = remaining = order.remaining[model] - quantity
        event = OrderEvent.FILL if remaining else OrderEvent.FILL_ALL
        order.states[model] = state = after(order.states[model], event, order.order_id)
        self._say(
            reports.Fill(
                time_ns=now_ns,
                order_id=order.order_id,
                model=model,
                symbol=order.request.symbol,
                side=order.request.side,
                price=price,
                quantity=quantity,
                remaining=remaining,
                state=state,
                is_maker=trade_id is not None,
                fee=position.money.text(fee),
                trade_id=trade_id,
                position=position.quantity,
            )
        )

    # What can be asked.

    def levels(self) -> list[tuple[Side, OwnLevel]]:
        """All levels with own orders, and their sides."""
        return [(side, level) for side in Side for level in self.ladders[side].levels]

    def front_of(self, order: OwnOrder, model: Model) -> int | None:
        """The quantity in front of an order, None if it is in no queue or nobody knows."""
        request = order.request
        level = None if request.price is None else self.ladders[request.side].at(request.price)
        return None if level is None else level.queues[model].front_of(order.order_id)

    def working(self, model: Model, side: Side) -> int:
        """The quantity of the orders of a side that are on their way or working."""
        return sum(
            [
                order.remaining[model]
                for order in self.orders.values()
                if order.request.side is side and order.is_open(model)
            ]
        )

    def queued(self) -> set[int]:
        """The orders that stand in a queue, of any model: read from the queues themselves."""
        return {
            place.order_id
            for _, level in self.levels()
            for queue in level.queues
            for place in queue.places
        }

    def position_report(self, model: Model, now_ns: int) -> PositionReport | None:
        """The position of a model; None before the first order."""
        if not self.positions:
            return None
        held, bid, ask = self.positions[model], self._book.best_bid, self._book.best_ask
        mark = None if bid is None or ask is None else bid.price + ask.price
        text = held.money.text
        return PositionReport(
            time_ns=now_ns,
            model=model,
            symbol=held.instrument.symbol,
            quantity=held.quantity,
            bought=held.bought,
            sold=held.sold,
            fills=held.fills,
            average=held.average,
            realised=text(held.realised),
            fees=text(held.fees),
            unrealised=None if mark is None else text(held.unrealised(mark, parts=2)),
            equity=None if mark is None else text(held.equity(mark, parts=2)),
        )


def _reaches(request: OrderRequest, price: int) -> bool:
    """Whether a limit order would trade with an opposite order at this price."""
    assert request.price is not None, "a limit has a price"
    return price <= request.price if request.side is Side.BID else price >= request.price
