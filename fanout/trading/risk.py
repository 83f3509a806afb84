"""The limits that an order has to pass before it is sent, in a fixed order.

An order is refused by the first limit that it would exceed, with the value, the limit and the
reason. All limits count what is already on its way: an order that is sent, working or being
cancelled can still be filled. So a position can never exceed its limit, whatever is filled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.bucket import TokenBucket
from fanout.trading.limits import Check, Limits
from fanout.trading.money import money_of
from fanout.trading.orders import OrderRequest

_DAY_NS: Final = 86_400 * 1_000_000_000
_MS: Final = 1_000_000
_BPS: Final = 10_000


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What a model holds, and could still come to hold. `buying` and `selling` are the quantities
    of the orders that are not over."""

    position: int
    buying: int
    selling: int
    open_orders: int

    def worst(self, side: Side, quantity: int) -> int:
        """The position on the side of an order if all of that side is filled; 0 if it is not on
        that side even then."""
        if side is Side.BID:
            return max(self.position + self.buying + quantity, 0)
        return max(self.selling + quantity - self.position, 0)


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """What the market shows: best bid and ask, None if there is none, and when the book was last
    updated, unix ns."""

    bid: int | None
    ask: int | None
    updated_ns: int

    @property
    def twice_mid(self) -> int | None:
        """The sum of best bid and ask: the mid, in halves."""
        return None if self.bid is None or self.ask is None else self.bid + self.ask


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is exceeded, with value and limit as texts."""

    check: Check
    value: str
    limit: str

    @property
    def why(self) -> str:
        """The breach in words."""
        return f"{self.check} is {self.value}, above the limit of {self.limit}"


class RiskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits of losses remember, as it outlives a restart: the day since 1970 and the
    equity at its start, the highest and the newest equity, at `Money.exponent`. `day` is None
    before the first mark."""

    day: int | None = None
    at_start: int = 0
    highest: int = 0
    equity: int = 0


_Question = tuple[OrderRequest, Exposure, Touch, int]


class Risk:
    """The limits of one symbol, and what they have to remember: tokens, the equity at the start of
    the day, the highest equity."""

    def __init__(
        self, limits: Limits, instrument: Instrument, record: RiskRecord | None = None
    ) -> None:
        limits.require_fit(instrument)
        self.limits = limits
        self._by_check: dict[str, int | None] = {each: getattr(limits, each) for each in Check}
        self._instrument = instrument
        self._money = money_of(instrument)
        rate = limits.orders_per_second
        burst = rate if limits.order_burst is None else limits.order_burst
        self._bucket = None if rate is None or burst is None else TokenBucket(rate, burst)
        record = RiskRecord() if record is None else record
        self._day = record.day
        self._at_start = record.at_start
        self._highest = record.highest
        self._equity = record.equity

    def export(self) -> RiskRecord:
        """What the limits of losses remember, for a file: a restart does not allow a new loss."""
        return RiskRecord(
            day=self._day, at_start=self._at_start, highest=self._highest, equity=self._equity
        )

    def in_words(self, order: tuple[int, int]) -> str:
        """A price and a quantity in decimals."""
        price, quantity = order
        return f"{self._instrument.quantity_text(quantity)} at {self._instrument.price_text(price)}"

    # What the account is worth.

    def mark(self, equity: int, now_ns: int) -> None:
        """Note the equity: realised and unrealised profit less fees, at `Money.exponent`."""
        day = now_ns // _DAY_NS
        if day != self._day:
            # The first mark of a run counts from 0, what was earned before there was a mark
            # included. A later day starts at the last equity of the day before.
            self._at_start = 0 if self._day is None else self._equity
            self._day = day
        self._equity = equity
        self._highest = max(self._highest, equity)

    @property
    def lost_today(self) -> int:
        """The loss since the start of the day, 0 for a profit."""
        return max(self._at_start - self._equity, 0)

    @property
    def drawdown(self) -> int:
        """How much the equity is below its highest."""
        return self._highest - self._equity

    @property
    def tokens_used(self) -> int | None:
        """The tokens of the orders per second that were used when the newest order was asked about;
        None without that limit."""
        return None if self._bucket is None else self._bucket.used

    # The checks.

    def check(
        self, request: OrderRequest, exposure: Exposure, touch: Touch, now_ns: int
    ) -> Breach | None:
        """The first limit that an order would exceed. None if it may be sent, which takes a token
        of the orders per second."""
        question = request, exposure, touch, now_ns
        for check in Check:
            breach = self._asked(check, question)
            if breach is not None:
                return breach
        if self._bucket is not None:
            self._bucket.take(now_ns)
        return None

    def passes_ns(self, breach: Breach, now_ns: int) -> int | None:
        """When a refused order would pass its limit though nothing has changed but the time. None
        if it would not."""
        if breach.check is not Check.ORDERS_PER_SECOND or self._bucket is None:
            return None
        return self._bucket.ready_ns(now_ns)

    def check_exposure(
        self, request: OrderRequest, exposure: Exposure, touch: Touch
    ) -> Breach | None:
        """The same for position and notional alone: for a model that is not the lead."""
        question = request, exposure, touch, 0
        for check in (Check.POSITION, Check.NOTIONAL):
            breach = self._asked(check, question)
            if breach is not None:
                return breach
        return None

    def check_now(self, touch: Touch, now_ns: int) -> list[Breach]:
        """The limits that are exceeded without any order: of losses, and of stale data."""
        values = (
            (Check.DAILY_LOSS, self.lost_today),
            (Check.DRAWDOWN, self.drawdown),
            (Check.STALE_DATA, _age_ms(touch, now_ns)),
        )
        breaches = [self._over(check, value) for check, value in values]
        return [each for each in breaches if each is not None]

    def _asked(self, check: Check, question: _Question) -> Breach | None:
        limit = self._by_check[check]
        if limit is None:
            return None
        value = self._value(check, question)
        if value is None:
            shown = self._text_of(check)(limit)
            return Breach(check=check, value="unknown, without a best bid and ask", limit=shown)
        return self._over(check, value)

    def _over(self, check: Check, value: int) -> Breach | None:
        limit = self._by_check[check]
        if limit is None or value <= limit:
            return None
        text = self._text_of(check)
        return Breach(check=check, value=text(value), limit=text(limit))

    def _text_of(self, check: Check) -> Callable[[int], str]:
        if check in (Check.ORDER_QUANTITY, Check.POSITION):
            return self._instrument.quantity_text
        if check in (Check.ORDER_VALUE, Check.NOTIONAL, Check.DAILY_LOSS, Check.DRAWDOWN):
            return self._money.text
        return str

    def _value(self, check: Check, question: _Question) -> int | None:
        """What the order would make of the limited value; None if that is unknown."""
        request, exposure, touch, now_ns = question
        match check:
            case Check.ORDER_QUANTITY:
                return request.quantity
            case Check.ORDER_VALUE:
                if request.price is not None:
                    return self._money.value(request.price, request.quantity)
                return self._at_mid(request.quantity, touch)
            case Check.POSITION:
                return exposure.worst(request.side, request.quantity)
            case Check.NOTIONAL:
                return self._at_mid(exposure.worst(request.side, request.quantity), touch)
            case Check.ORDERS_PER_SECOND:
                return self._rate(now_ns)
            case Check.OPEN_ORDERS:
                return exposure.open_orders + 1
            case Check.PRICE_DEVIATION:
                return _deviation_bps(request.price, touch.twice_mid)
            case Check.DAILY_LOSS:
                return self.lost_today
            case Check.DRAWDOWN:
                return self.drawdown
            case Check.STALE_DATA:
                return _age_ms(touch, now_ns)

    def _at_mid(self, quantity: int, touch: Touch) -> int | None:
        twice = touch.twice_mid
        if twice is None or twice <= 0:
            return None  # 0 is no price of an inverse contract
        return self._money.value(twice, quantity, parts=2)

    def _rate(self, now_ns: int) -> int:
        """The rate is within its limit as long as there is a token."""
        limit = self.limits.orders_per_second
        assert limit is not None, "`_asked` has looked"
        assert self._bucket is not None, "it belongs to the limit"
        return limit if self._bucket.has_token(now_ns) else limit + 1


def _deviation_bps(price: int | None, twice_mid: int | None) -> int | None:
    """How far a price is from the mid, rounded up. 0 for a market order, which has no price."""
    if price is None:
        return 0
    if not twice_mid or twice_mid < 0:
        return None
    return -(-abs(2 * price - twice_mid) * _BPS // twice_mid)


def _age_ms(touch: Touch, now_ns: int) -> int:
    """The age of the book, rounded up."""
    return -((touch.updated_ns - now_ns) // _MS)
