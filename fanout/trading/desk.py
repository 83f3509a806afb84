"""The desk: a strategy, its limits and the kill switch, on one symbol of a paper exchange.

    record -> exchange -> fills -> strategy -> quotes -> limits -> orders -> exchange

The desk asks the strategy when the best levels, the position or the trust in the feed have changed.
A strategy that raises, gives prices that are not finite or sides that cross, or wants too many
quotes, pulls the kill switch of its own desk. Other desks on the exchange go on.

While the feed cannot be trusted nothing is to work: all orders are cancelled. The kill switch
cancels all orders of the symbol at once, and the desk sends none until it is reset.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanout.clients.outcomes import Received
from fanout.protocol.book_records import Level
from fanout.trading.errors import LimitsError, StrategyError, TransitionError
from fanout.trading.kill import KillCause, KillSwitch
from fanout.trading.limits import Check, Limits
from fanout.trading.paper import PaperExchange
from fanout.trading.quoting import Quoter
from fanout.trading.report.marks import Marks
from fanout.trading.reports import Fill, QuoteReport, Report, RiskDecision
from fanout.trading.risk import Risk, RiskRecord, Touch
from fanout.trading.strategies.base import Quotes, Strategy, View
from fanout.trading.strategies.sane import checked, in_words

_Top = tuple[Level | None, Level | None, int, str]
"""What the strategy was asked for: best bid, best ask, position, why fills are frozen."""


_FAILURES: Final = (Exception, SystemExit)
"""What a strategy may raise without an end of the run. A KeyboardInterrupt is a person's."""


class DeskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`min_life_ns` is how long a quote works at least before it is moved. A side that the
    strategy no longer wants is cancelled at once. `kill_on_feed_loss` pulls the kill switch when
    fills are frozen after the feed was trusted once."""

    min_life_ns: int
    kill_on_feed_loss: bool = False

    def __post_init__(self) -> None:
        if self.min_life_ns < 0:
            raise LimitsError(f"min_life_ns is {self.min_life_ns}; it has to be 0 or above")


class Desk:
    """A strategy on one symbol. Several desks may share an exchange, each with a symbol of its own:
    then the caller hands each record to the exchange once, and the reports to `meet` and `answer`
    of all.

    `kill` and `risk` are those of an earlier run, where there was one."""

    def __init__(
        self,
        exchange: PaperExchange,
        symbol: str,
        strategy: Strategy,
        *,
        limits: Limits,
        settings: DeskSettings,
        kill: KillSwitch | None = None,
        risk: RiskRecord | None = None,
    ) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.kill = KillSwitch(symbol=symbol) if kill is None else kill
        self._strategy = strategy
        self._limits = limits
        self._settings = settings
        self._lead = exchange.settings.lead
        self._book = exchange.books[symbol]
        self._risk: Risk | None = None
        self._risk_record = risk
        self._quoter: Quoter | None = None
        """Both are made with the first book, which brings the instrument."""
        self._seen: _Top | None = None
        self._update_id = 0
        self._updated_ns = 0
        self._quoted: QuoteReport | None = None
        self._marks = Marks(symbol)
        self._retry_ns: int | None = None
        self._was_trusted = False
        self._watches_age = Check.STALE_DATA in limits.kills

    @property
    def risk_record(self) -> RiskRecord:
        """What the limits of losses remember, for a file, as `kill.export()` is."""
        if self._risk is not None:
            return self._risk.export()
        return RiskRecord() if self._risk_record is None else self._risk_record

    @property
    def risk(self) -> Risk | None:
        """The limits with what they remember; None before the first book."""
        return self._risk

    @property
    def limits(self) -> Limits:
        """The limits, as they were given."""
        return self._limits

    @property
    def touch(self) -> Touch:
        """What the market shows."""
        bid, ask = self._book.best_bid, self._book.best_ask
        return Touch(
            bid=None if bid is None else bid.price,
            ask=None if ask is None else ask.price,
            updated_ns=self._updated_ns,
        )

    @property
    def wake_ns(self) -> float:
        """When the desk has something to do even if no record comes, infinity if it has not: a
        quote reaches its minimum life, data that is stale kills, or prices are to be reported."""
        wake_ns = self._marks.due_ns + 1
        if self._retry_ns is not None:
            wake_ns = min(wake_ns, self._retry_ns)
        limit = self._limits.stale_ms
        if limit is None or not self._watches_age or not self.kill.is_armed or self._risk is None:
            return wake_ns
        bid, ask, _, why = self._seen or (None, None, 0, "")
        if why or bid is None or ask is None:
            return wake_ns
        return min(wake_ns, self._updated_ns + limit * 1_000_000 + 1)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is to be answered before `wake_ns` to a record that changes neither the
        book nor the orders."""
        return self._seen is not None and self.kill.is_armed

    # What comes in.

    def take(self, record: Received) -> list[Report]:
        """Hand a record to the exchange, and answer. Returns all that it caused, in order."""
        reports = self.exchange.take(record)
        return [*self.meet(reports), *reports, *self.answer(reports)]

    def advance(self, now_ns: int) -> list[Report]:
        """Let time pass without a record, and answer. Returns all that it caused, in order."""
        reports = self.exchange.advance(now_ns)
        return [*self.meet(reports), *reports, *self.answer(reports)]

    def meet(self, reports: list[Report]) -> list[Report]:
        """What belongs in front of the reports of the exchange, ahead of the answer to them: the
        best prices that fills among them met."""
        return self._marks.before(reports) if reports else []

    def answer(self, reports: list[Report]) -> list[Report]:
        """Answer the newest record, of which these are the reports of the exchange. Returns what
        the answer caused, without these."""
        said: list[Report] = []
        top, now_ns = self._top(), self.exchange.now_ns
        is_paused = self._book.is_paused and not top[3]
        is_news = reports or top != self._seen or now_ns > self._marks.due_ns
        if is_news and not is_paused:
            said += self._marks.after(top, now_ns)
        for report in reports:
            if type(report) is Fill and report.symbol == self.symbol:
                self._tell(report, said)
        is_due = self._retry_ns is not None and now_ns >= self._retry_ns
        if is_paused:
            self._seen = None  # the rest of an update is about to come, and decides
        elif reports or is_due or top != self._seen:
            self._seen = top
            self._decide(top, said)
        elif self._watches_age:
            self._watch(said)
        self._prove(said)
        return said

    def _top(self) -> _Top:
        book = self._book
        if book.update_id != self._update_id:
            self._update_id = book.update_id
            self._updated_ns = self.exchange.now_ns
            if self._quoter is not None and self._quoter.waits_for_book:
                self._seen = None
        held = self.exchange.position(self.symbol, self._lead)
        why = self.exchange.frozen_why(self.symbol)
        return book.best_bid, book.best_ask, 0 if held is None else held.quantity, why

    # The kill switch.

    def pull(self, cause: KillCause, why: str) -> list[Report]:
        """Pull the kill switch: cancel every order of the symbol, and send none any more."""
        said: list[Report] = []
        self._pull(cause, why, said)
        self._prove(said)
        return said

    def prove(self) -> list[Report]:
        """Latch the kill switch if it was pulled and nothing is open any more."""
        said: list[Report] = []
        self._prove(said)
        return said

    def reset(self, who: str) -> list[Report]:
        """Arm the kill switch again. Raises `TransitionError` while an order is open."""
        open_orders = self.exchange.open_orders(self.symbol)
        if open_orders:
            named = ", ".join(map(str, open_orders[:10]))
            raise TransitionError(f"still open, so reset cannot happen: order {named}")
        self._seen = None
        return [self.kill.reset(who, self.exchange.now_ns)]

    def _pull(self, cause: KillCause, why: str, said: list[Report]) -> None:
        open_orders = self.exchange.open_orders(self.symbol)
        report = self.kill.pull(cause, why, self.exchange.now_ns, open_orders)
        if report is None:
            return
        said.append(report)
        self._cancel(open_orders, said)
        try:
            self._strategy.stopped(why)
        except _FAILURES as error:
            # The orders are being cancelled already, and a strategy cannot keep them from it.
            now_ns = self.exchange.now_ns
            why = _raised("stopped", error)
            said.append(RiskDecision(time_ns=now_ns, symbol=self.symbol, is_allowed=False, why=why))

    def _cancel(self, order_ids: tuple[int, ...], said: list[Report]) -> None:
        for order_id in order_ids:
            said += self.exchange.cancel(order_id)

    def _prove(self, said: list[Report]) -> None:
        """Latch the switch once nothing is open. An order may be open without a cancel: the run
        before this one ended between the pull and the cancel."""
        if self.kill.is_armed:
            return
        open_orders = self.exchange.open_orders(self.symbol)
        self._cancel(open_orders, said)
        report = self.kill.prove(open_orders, self.exchange.now_ns)
        if report is not None:
            said.append(report)

    # The limits.

    def _watch(self, said: list[Report]) -> bool:
        """Whether the desk may go on: no limit that is set to kill is exceeded."""
        if not self._limits.kills:
            return self.kill.is_armed
        risk, (bid, ask, _, _) = self._risk, self._seen or (None, None, 0, "")
        if not self.kill.is_armed or risk is None or bid is None or ask is None:
            return self.kill.is_armed
        for breach in risk.check_now(self._touch(bid, ask), self.exchange.now_ns):
            if breach.check in self._limits.kills:
                self._pull(KillCause.LIMIT, breach.why, said)
                return False
        return True

    def _touch(self, bid: Level, ask: Level) -> Touch:
        return Touch(bid=bid.price, ask=ask.price, updated_ns=self._updated_ns)

    def _mark(self, bid: Level, ask: Level) -> Quoter:
        """Note what the account is worth now. Returns the quoter. Raises `LimitsError` with the
        first book, where no order of its instrument could keep a limit."""
        if self._risk is None or self._quoter is None:
            assert self._book.instrument is not None, "the book is known"
            self._risk = Risk(self._limits, self._book.instrument, self._risk_record)
            life_ns = self._settings.min_life_ns
            self._quoter = Quoter(self.exchange, self.symbol, self._risk, min_life_ns=life_ns)
        held = self.exchange.position(self.symbol, self._lead)
        if bid.price + ask.price > 0:
            equity = 0 if held is None else held.equity(bid.price + ask.price, parts=2)
            self._risk.mark(equity, self.exchange.now_ns)
        return self._quoter

    # The strategy.

    def _tell(self, fill: Fill, said: list[Report]) -> None:
        if fill.model is not self._lead:
            return
        try:
            self._strategy.filled(fill)
        except _FAILURES as error:
            self._pull(KillCause.STRATEGY, _raised("filled", error), said)

    def _decide(self, top: _Top, said: list[Report]) -> None:
        bid, ask, position, frozen_why = top
        self._retry_ns = None
        if not self.kill.is_armed:
            return
        if frozen_why or bid is None or ask is None:
            self._stand_aside(frozen_why, said)
            return
        self._was_trusted = True
        try:
            quoter = self._mark(bid, ask)
        except LimitsError as error:
            self._pull(KillCause.LIMIT, str(error), said)
            return
        if self._watch(said):
            quotes = self._asked(bid, ask, position, said)
            if quotes is not None:
                self._work(quoter, quotes, self._touch(bid, ask), said)

    def _stand_aside(self, frozen_why: str, said: list[Report]) -> None:
        if frozen_why and self._was_trusted and self._settings.kill_on_feed_loss:
            self._pull(KillCause.FEED, frozen_why, said)
            return
        self._cancel(self.exchange.open_orders(self.symbol), said)

    def _asked(self, bid: Level, ask: Level, position: int, said: list[Report]) -> Quotes | None:
        """What the strategy wants; None if it pulled the kill switch."""
        instrument = self._book.instrument
        assert instrument is not None, "the book is known"
        now_ns = self.exchange.now_ns
        view = View(time_ns=now_ns, instrument=instrument, bid=bid, ask=ask, position=position)
        try:
            quotes = self._strategy.quote(view)
            if quotes is None:
                return Quotes(bids=(), asks=(), fair_value=view.mid, skew=0.0)
            return checked(quotes, instrument)
        except StrategyError as error:
            self._pull(KillCause.STRATEGY, in_words(error), said)
        except _FAILURES as error:
            self._pull(KillCause.STRATEGY, _raised("quote", error), said)
        return None

    def _work(self, quoter: Quoter, quotes: Quotes, touch: Touch, said: list[Report]) -> None:
        quoter.work(quotes, touch)
        self._retry_ns = quoter.retry_ns
        self._say_quotes(quotes, tuple(quoter.refused), said)
        said += quoter.said
        if quoter.fatal is not None:
            self._pull(KillCause.LIMIT, quoter.fatal.why, said)

    def _say_quotes(self, quotes: Quotes, risk: tuple[str, ...], said: list[Report]) -> None:
        """Report what is wanted and why, where that has changed."""
        bid = quotes.bids[0] if quotes.bids else (None, 0)
        ask = quotes.asks[0] if quotes.asks else (None, 0)
        report = QuoteReport(
            time_ns=0,
            symbol=self.symbol,
            bid_price=bid[0],
            bid_quantity=bid[1],
            ask_price=ask[0],
            ask_quantity=ask[1],
            fair_value=quotes.fair_value,
            skew=quotes.skew,
            clamps=quotes.clamps,
            risk=risk,
        )
        if report != self._quoted:
            self._quoted = report
            said.append(msgspec.structs.replace(report, time_ns=self.exchange.now_ns))


def _raised(method: str, error: BaseException) -> str:
    return f"the strategy's {method}() raised {type(error).__name__}: {in_words(error)}"
