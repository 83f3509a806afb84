"""How a run stands: for each symbol what the market shows, what the strategy wants and why, the
position in each fill model, the orders in their queues, the limits and how near they are, and the
kill switch. Values for `fanout paper status`.

Prices, quantities and amounts are texts in decimal digits, so that a reader needs no exponents.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.desk import Desk
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.exchange.queues import Model
from fanout.trading.limits import Check
from fanout.trading.money import Money, money_of
from fanout.trading.reports import QuoteReport
from fanout.trading.running.floor import Floor

_BPS = 10_000


class OrderStanding(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is not over, in one fill model. `front` is the quantity in front of it; None if
    it is in no queue, or nobody knows."""

    order_id: int
    model: str
    state: str
    side: str
    price: str | None
    quantity: str
    remaining: str
    front: str | None


class PositionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """The position in one fill model. Amounts are in `currency`; `unrealised` and `equity` are None
    while no book is known."""

    model: str
    is_lead: bool
    quantity: str
    average: float | None
    currency: str
    realised: str
    unrealised: str | None
    fees: str
    equity: str | None
    fills: int


class QuoteStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What the strategy wants, and its reasons."""

    bid_price: str | None
    bid_quantity: str
    ask_price: str | None
    ask_quantity: str
    fair_value: float
    skew: float
    clamps: tuple[str, ...]
    risk: tuple[str, ...]


class LimitStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, and how near it is. `value` is None if nothing is known, `limit` None if it is off.
    `used` is the part of the limit that is used, 1.0 at the limit."""

    check: str
    value: str | None
    limit: str | None
    used: float | None
    kills: bool


class KillStanding(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch, and the orders that still have to end. `since_ns` is the time of the records
    when it was pulled or reset."""

    state: str
    cause: str
    why: str
    since_ns: int
    open_orders: tuple[int, ...]


class DeskStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol. `frozen_why` is why fills are frozen, empty if they are not."""

    symbol: str
    bid: str | None
    ask: str | None
    frozen_why: str
    kill: KillStanding
    quote: QuoteStanding | None
    positions: tuple[PositionStanding, ...]
    orders: tuple[OrderStanding, ...]
    limits: tuple[LimitStanding, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `time_ns` is the time of its newest record. `is_running` is False where this was made
    from the journal alone."""

    venue: str
    time_ns: int
    is_running: bool
    desks: tuple[DeskStanding, ...]


def standing_of(floor: Floor, venue: str, *, is_running: bool) -> Standing:
    """How a run stands now."""
    return Standing(
        venue=venue,
        time_ns=floor.now_ns,
        is_running=is_running,
        desks=tuple(_desk(floor, each) for each in floor.desks),
    )


def _desk(floor: Floor, desk: Desk) -> DeskStanding:
    instrument, touch = floor.instrument(desk.symbol), desk.touch
    record = desk.kill.export()
    return DeskStanding(
        symbol=desk.symbol,
        bid=None if touch.bid is None else instrument.price_text(touch.bid),
        ask=None if touch.ask is None else instrument.price_text(touch.ask),
        frozen_why=desk.exchange.frozen_why(desk.symbol),
        kill=KillStanding(
            state=record.state,
            cause=record.cause,
            why=record.why,
            since_ns=record.since_ns,
            open_orders=desk.exchange.open_orders(desk.symbol),
        ),
        quote=_newest_quote(floor, desk, instrument),
        positions=tuple(_positions(desk, instrument)),
        orders=tuple(
            _order(desk, order, model, instrument)
            for order in desk.exchange.orders(desk.symbol)
            for model in MODELS
            if order.is_open(model)
        ),
        limits=tuple(_limits(floor, desk, instrument)),
    )


def _newest_quote(floor: Floor, desk: Desk, instrument: Instrument) -> QuoteStanding | None:
    report = floor.newest_quote(desk.symbol)
    return None if report is None else quote_standing(report, instrument)


def quote_standing(report: QuoteReport, instrument: Instrument) -> QuoteStanding:
    """What a strategy wants, in decimal digits."""
    bid, ask = report.bid_price, report.ask_price
    return QuoteStanding(
        bid_price=None if bid is None else instrument.price_text(bid),
        bid_quantity=instrument.quantity_text(report.bid_quantity),
        ask_price=None if ask is None else instrument.price_text(ask),
        ask_quantity=instrument.quantity_text(report.ask_quantity),
        fair_value=report.fair_value,
        skew=report.skew,
        clamps=report.clamps,
        risk=report.risk,
    )


def _positions(desk: Desk, instrument: Instrument) -> list[PositionStanding]:
    exchange, scale = desk.exchange, 10.0**instrument.price_exponent
    return [
        PositionStanding(
            model=each.model.name.lower(),
            is_lead=each.model is exchange.settings.lead,
            quantity=instrument.quantity_text(each.quantity),
            average=None if each.average is None else each.average * scale,
            currency=money_of(instrument).currency,
            realised=each.realised,
            unrealised=each.unrealised,
            fees=each.fees,
            equity=each.equity,
            fills=each.fills,
        )
        for each in exchange.position_reports(desk.symbol)
    ]


def _order(desk: Desk, order: OwnOrder, model: Model, instrument: Instrument) -> OrderStanding:
    request, front = order.request, desk.exchange.front_of(order.order_id, model)
    return OrderStanding(
        order_id=order.order_id,
        model=model.name.lower(),
        state=order.states[model].name.lower(),
        side="buy" if request.side is Side.BID else "sell",
        price=None if request.price is None else instrument.price_text(request.price),
        quantity=instrument.quantity_text(request.quantity),
        remaining=instrument.quantity_text(order.remaining[model]),
        front=None if front is None else instrument.quantity_text(front),
    )


# Limits.


def _limits(floor: Floor, desk: Desk, instrument: Instrument) -> list[LimitStanding]:
    money = money_of(instrument)
    used = _used(floor, desk, money)
    found = []
    for check in Check:
        limit: int | None = getattr(desk.limits, check)
        value = used.get(check)
        text = _text_of(check, instrument, money)
        found.append(
            LimitStanding(
                check=check.value,
                value=None if value is None else text(value),
                limit=None if limit is None else text(limit),
                used=_part(value, limit),
                kills=check in desk.limits.kills,
            )
        )
    return found


def _part(value: int | None, limit: int | None) -> float | None:
    if value is None or limit is None:
        return None
    if not limit:
        return 1.0 if value else 0.0
    return value / limit


def _text_of(check: Check, instrument: Instrument, money: Money) -> Callable[[int], str]:
    if check in (Check.ORDER_QUANTITY, Check.POSITION):
        return instrument.quantity_text
    if check in (Check.ORDER_VALUE, Check.NOTIONAL, Check.DAILY_LOSS, Check.DRAWDOWN):
        return money.text
    return str


def _used(floor: Floor, desk: Desk, money: Money) -> dict[Check, int]:
    """What is used of each limit: by the orders that work, by the position with these, and by the
    account. A check that is not there is not known."""
    exchange, symbol, touch = desk.exchange, desk.symbol, desk.touch
    orders, lead = exchange.orders(symbol), exchange.settings.lead
    held = exchange.position(symbol, lead)
    position = 0 if held is None else held.quantity
    buying = exchange.working(symbol, lead, Side.BID)
    selling = exchange.working(symbol, lead, Side.ASK)
    worst = max(position + buying, selling - position, 0)
    record = desk.risk_record
    sizes = [(each.request.price or 0, each.request.quantity) for each in orders]
    used = {
        Check.ORDER_QUANTITY: max((quantity for _, quantity in sizes), default=0),
        Check.ORDER_VALUE: max((money.value(*each) for each in sizes if each[0]), default=0),
        Check.POSITION: worst,
        Check.OPEN_ORDERS: len(orders),
        Check.DAILY_LOSS: max(record.at_start - record.equity, 0),
        Check.DRAWDOWN: record.highest - record.equity,
    }
    if desk.risk is not None and desk.risk.tokens_used is not None:
        used[Check.ORDERS_PER_SECOND] = desk.risk.tokens_used
    twice = touch.twice_mid
    if twice and twice > 0:
        used[Check.NOTIONAL] = money.value(twice, worst, parts=2)
        used[Check.PRICE_DEVIATION] = max(
            (-(-abs(2 * price - twice) * _BPS // twice) for price, _ in sizes if price), default=0
        )
        used[Check.STALE_DATA] = max(-((touch.updated_ns - floor.now_ns) // 1_000_000), 0)
    return used
