"""One symbol of the paper exchange: what the stream does to its own orders.

Both fill models see the same records and the same orders (`own_orders`). The rules for resting
orders:

- A trade by the opposite aggressor at the price goes through the queue from the front. A trade
  through the price fills at the limit, as far as its volume goes.
- A trade that was executed before the acknowledgement fills nothing: by the venue's time, by the
  time of receipt, and if it was back-filled.
- While the feed cannot be trusted nothing is filled, and orders are refused (`trust`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fanout.clients.books import Book
from fanout.protocol.book import OrderBook
from fanout.protocol.constants import TradeKind
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Gap, Trade
from fanout.trading.exchange.ladder import Ladder
from fanout.trading.exchange.own_order import MODELS, OwnOrder
from fanout.trading.exchange.own_orders import OwnOrders
from fanout.trading.exchange.queues import Times
from fanout.trading.exchange.taking import reaches, shown_at
from fanout.trading.exchange.trust import FeedTrust
from fanout.trading.reports import Report, Trust
from fanout.trading.restart import Past
from fanout.trading.settings import ExchangeSettings

_AGAINST_THE_BOOK: Final = (TradeKind.MARKET, TradeKind.AGGREGATE)
"""The kinds of trades that take from displayed orders."""


class Market:
    """A symbol: its book, whether the feed can be trusted, and the own orders. `say` takes the
    reports."""

    __slots__ = (
        "_has_changed",
        "_instrument",
        "_ladders",
        "_say",
        "_trust",
        "_units",
        "book",
        "frozen_why",
        "own",
        "symbol",
    )

    def __init__(
        self,
        symbol: str,
        book: Book,
        settings: ExchangeSettings,
        orders: dict[int, OwnOrder],
        say: Callable[[Report], None],
    ) -> None:
        self.symbol = symbol
        self.book = book
        self.own = OwnOrders(book, settings, orders, say)
        self._ladders = self.own.ladders
        self._say = say
        self._trust = FeedTrust()
        self.frozen_why = self._trust.why
        """Why fills are frozen, empty if they are not."""
        self._units: object = None
        """The units of the first book. Orders and positions are in them."""
        self._instrument: Instrument | None = None
        """The newest whose units were looked at."""
        self._has_changed = False
        """Whether a record was in other units."""

    def restore(self, past: Past, now_ns: int) -> None:
        """Go on with the positions and the open orders of an earlier run."""
        self._units = _units(past.instrument)
        orders = [each for each in past.orders.values() if not each.is_over]
        self.own.restore(past.positions, orders, now_ns)

    def updated(self, now_ns: int) -> None:
        """The book has taken an update."""
        prices = self.book.prices
        if not prices.is_consistent:
            if not self.book.is_paused:
                self.distrust("an update cannot follow the book", now_ns)
        elif self.frozen_why:
            self.look_again(now_ns)
        else:
            bids, asks = self._ladders
            if bids.levels:
                _show(bids, prices)
            if asks.levels:
                _show(asks, prices)

    def traded(self, trade: Trade, now_ns: int) -> None:
        """A trade, whose volume goes through the queues that it reaches."""
        own, time = self.own, trade.time
        if time > own.venue_time:
            own.venue_time = time
        ladder = self._ladders[0 if trade.buyer_is_maker else 1]
        levels = ladder.levels
        if not levels:
            return
        if trade.instrument is not self._instrument:
            self._meet(trade.instrument, now_ns)
        best, price = levels[0].price, trade.price
        if best < price if ladder.is_bid else best > price:
            return
        if self.frozen_why or trade.back_filled or trade.kind not in _AGAINST_THE_BOOK:
            return
        self._match(ladder, trade, now_ns)

    def _match(self, ladder: Ladder, trade: Trade, now_ns: int) -> None:
        reached = ladder.reached_by(trade.price)
        at = Times(trade.received_ns, trade.time)
        own = self.own
        ended: set[int] = set()
        for model in MODELS:
            volume = trade.quantity
            for level in reached:
                is_through = level.price != trade.price
                for fill in level.queues[model].trade(volume, at, is_through=is_through):
                    volume -= fill.quantity
                    if own.made(fill, model, level.price, now_ns, trade.trade_id):
                        ended.add(fill.order_id)
        for level in reached:
            if level.price == trade.price:
                level.note_trade(trade.quantity, trade.time, self.book.prices.time)
        if ended:
            own.tidy([own.orders[each] for each in sorted(ended)], now_ns)

    # The feed.

    def distrust(self, why: str, now_ns: int) -> None:
        """The book is unknown: freeze."""
        self._trust.distrust(why)
        self._look(now_ns)

    def forget(self, why: str, now_ns: int) -> None:
        """Records were lost: freeze until a whole book comes."""
        self._trust.forget(why)
        self._look(now_ns)

    def gap(self, gap: Gap, now_ns: int) -> None:
        """Trades are missing, or no longer."""
        why = f"trades {gap.first_id} to {gap.last_id}: {gap.state.name}"
        was_frozen = bool(self.frozen_why)
        self._trust.take(gap)
        self._look(now_ns)
        if not was_frozen and not self.frozen_why and self.book.is_known:
            self._freeze(why, now_ns)  # for no time at all, but it is said
            self._thaw(why, now_ns)

    def look_again(self, now_ns: int) -> None:
        """Go on with fills if the book is known again."""
        if self.book.is_known:
            assert self.book.instrument is not None, "a known book has one"
            self._trust.trust()
            self._meet(self.book.instrument, now_ns)
        self._look(now_ns)

    def _meet(self, instrument: Instrument, now_ns: int) -> None:
        """Freeze for good once a record is in other units than the first book."""
        self._instrument = instrument
        units = _units(instrument)
        if self._units is None:
            self._units = units
        self._has_changed |= units != self._units
        if self._has_changed:
            self._trust.trust()
            self.distrust(f"the units of {self.symbol} have changed: start a new run", now_ns)

    def _look(self, now_ns: int) -> None:
        was, why = self.frozen_why, self._trust.why
        if was and not why and not self.book.is_known:
            return  # between two parts of an update no level is known
        self.frozen_why = why
        if why and why != was:
            self._freeze(why, now_ns)
        elif was and not why:
            self._thaw(was, now_ns)

    def _freeze(self, why: str, now_ns: int) -> None:
        self._say(Trust(time_ns=now_ns, symbol=self.symbol, is_frozen=True, why=why))

    def _thaw(self, why: str, now_ns: int) -> None:
        prices = self.book.prices
        for side, level in self.own.levels():
            level.resume(shown_at(prices, side, level.price), prices.time)
        self._say(Trust(time_ns=now_ns, symbol=self.symbol, is_frozen=False, why=why))


def _show(ladder: Ladder, prices: OrderBook) -> None:
    """Hand on the displayed quantities of the own levels that have changed."""
    side, quantity_at = ladder.side, prices.quantity_at
    # Where the book reaches to a price at which it has nothing, it reaches to all better ones.
    is_reached = not prices.is_top_only
    for level in reversed(ladder.levels):
        displayed: int | None = quantity_at(side, level.price)
        if not (displayed or is_reached):
            is_reached = reaches(prices, side, level.price)
            if not is_reached:
                displayed = None
        if displayed != level.displayed:
            level.change(displayed, prices.time)


def _units(instrument: Instrument) -> object:
    """All that gives the numbers of an instrument their meaning."""
    return (
        instrument.price_exponent,
        instrument.quantity_exponent,
        instrument.time_exponent,
        instrument.contract_mantissa,
        instrument.contract_exponent,
        instrument.type.is_inverse,
    )
