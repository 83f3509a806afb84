"""From quotes to orders: what works is compared with what is wanted.

An order at a wanted price stays, and keeps its place in the queue. One at another price is
cancelled once it has worked for the minimum life of a quote. An order is cancelled at once if its
whole side is no longer wanted, or if it is larger than wanted. A new order waits until the order
that it replaces has ended, and has to pass the limits.
"""

from __future__ import annotations

from fanout.protocol.constants import Side
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.exchange.queues import Model
from fanout.trading.limits import Check, Limits
from fanout.trading.orders import OrderRequest, OrderType
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import Report, RiskDecision
from fanout.trading.risk import Breach, Exposure, Risk, Touch
from fanout.trading.strategies.base import Quoted, Quotes


class Quoter:
    """Works the quotes of one symbol. Each call of `work` sets

    - `said`: the reports, in order;
    - `refused`: what the limits refused, in words;
    - `fatal`: the breach of a limit that pulls the kill switch. Nothing is sent after it;
    - `retry_ns`: when an order reaches its minimum life, or a refused one would pass; None if none
      waits for that;
    - `waits_for_book`: whether an order was refused because the book is stale.
    """

    def __init__(
        self, exchange: PaperExchange, symbol: str, risk: Risk, *, min_life_ns: int
    ) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._risk = risk
        self._limits: Limits = risk.limits
        self._min_life_ns = min_life_ns
        self._lead = exchange.settings.lead
        self._last: Check | None = None
        """The limit that refused the newest order."""
        self.said: list[Report] = []
        self.refused: list[str] = []
        self.fatal: Breach | None = None
        self.retry_ns: int | None = None
        self.waits_for_book = False

    def work(self, quotes: Quotes, touch: Touch) -> None:
        """Cancel and send what it takes to work these quotes."""
        self.said, self.refused, self.fatal, self.retry_ns = [], [], None, None
        self.waits_for_book = False
        orders = self._exchange.orders(self._symbol)
        for side, wanted in ((Side.BID, quotes.bids), (Side.ASK, quotes.asks)):
            working = [each for each in orders if each.request.side is side]
            for quote in self._missing(wanted, working):
                if self.fatal is None:
                    self._send(side, quote, touch)

    def _missing(self, wanted: tuple[Quoted, ...], working: list[OwnOrder]) -> list[Quoted]:
        """Cancel what is not wanted. Returns what can be sent now."""
        missing = {quote.price: quote for quote in wanted}
        leaving = 0
        for order in working:
            assert order.request.price is not None, "quotes have prices"
            quote = missing.pop(order.request.price, None)
            is_larger = quote is not None and order.remaining[self._lead] > quote.quantity
            if order.cancel_due_ns is None and quote is not None and not is_larger:
                continue
            leaving += 1
            if order.cancel_due_ns is None and (not wanted or is_larger or self._has_lived(order)):
                self.said += self._exchange.cancel(order.order_id)
        fresh = list(missing.values())
        return fresh[: max(len(fresh) - leaving, 0)]

    def _has_lived(self, order: OwnOrder) -> bool:
        until_ns = order.working_due_ns + self._min_life_ns
        if self._exchange.now_ns >= until_ns:
            return True
        self._retry_at(until_ns)
        return False

    def _retry_at(self, time_ns: int | None) -> None:
        if time_ns is not None:
            self.retry_ns = time_ns if self.retry_ns is None else min(self.retry_ns, time_ns)

    def _send(self, side: Side, quote: Quoted, touch: Touch) -> None:
        request = OrderRequest(
            symbol=self._symbol,
            side=side,
            price=quote.price,
            quantity=quote.quantity,
            type=OrderType.POST_ONLY,
        )
        now_ns = self._exchange.now_ns
        breach = self._risk.check(request, self.exposure(self._lead), touch, now_ns)
        if breach is not None:
            self._refuse(side, quote, breach)
            return
        refused = self._refused_elsewhere(request, touch)
        order_id, reports = self._exchange.submit(request, refused=refused)
        self.said.append(
            RiskDecision(time_ns=now_ns, symbol=self._symbol, is_allowed=True, order_id=order_id)
        )
        self.said += reports
        self._last = None

    def _refused_elsewhere(self, request: OrderRequest, touch: Touch) -> dict[Model, str]:
        """The models other than the lead whose position would exceed a limit, and why."""
        refused = {}
        for model in MODELS:
            if model is not self._lead:
                breach = self._risk.check_exposure(request, self.exposure(model), touch)
                if breach is not None:
                    refused[model] = breach.why
        return refused

    def _refuse(self, side: Side, quote: Quoted, breach: Breach) -> None:
        """Note a refusal. It is reported once, while the same limit goes on refusing."""
        is_kill = breach.check in self._limits.kills
        self.refused.append(f"{side.name} {self._risk.in_words(quote)}: {breach.why}")
        self.fatal = breach if is_kill else None
        self._retry_at(self._risk.passes_ns(breach, self._exchange.now_ns))
        self.waits_for_book |= breach.check is Check.STALE_DATA
        if self._last is breach.check:
            return
        self._last = breach.check
        self.said.append(
            RiskDecision(
                time_ns=self._exchange.now_ns,
                symbol=self._symbol,
                is_allowed=False,
                check=breach.check,
                why=breach.why,
                value=breach.value,
                limit=breach.limit,
                is_kill=is_kill,
            )
        )

    def exposure(self, model: Model) -> Exposure:
        """What a model holds, and could still come to hold."""
        working, open_orders = [0, 0], 0
        for order in self._exchange.orders(self._symbol):
            if order.is_open(model):
                working[order.request.side] += order.remaining[model]
                open_orders += 1
        held = self._exchange.position(self._symbol, model)
        return Exposure(
            position=0 if held is None else held.quantity,
            buying=working[Side.BID],
            selling=working[Side.ASK],
            open_orders=open_orders,
        )
