"""All desks of a run, and the time between the records.

    streams -> Floor.take -> an exchange for each stream -> a desk for each symbol -> reports

Between two records, orders are acknowledged, cancels work, quotes reach their minimum life and data
becomes stale. The floor does each of these at its own time, in order, before it hands on the next
record. So it makes no difference whether time passed by heartbeats, as it does live, or only showed
with the next record, as in a journal: the reports are the same.

The orders of all exchanges have one sequence of numbers, since they share a journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.clients.outcomes import Received
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.kill import KillCause, KillState, KillSwitch
from fanout.trading.limits import Limits
from fanout.trading.paper import OrderNumbers, PaperExchange, time_of
from fanout.trading.reports import AccountReport, Fill, QuoteReport, Report
from fanout.trading.running.earlier import Earlier
from fanout.trading.settings import ExchangeSettings
from fanout.trading.strategies.base import Strategy

ACCOUNT_EVERY_NS: Final = 1_000_000_000
"""How often the account is reported at most, apart from fills. A restart forgets the highs of the
account since the last time."""

_OF_ONE_SYMBOL: Final = (BookUpdate, Trade, Quote, OrderUpdate)

_NEVER: Final = float("inf")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One desk: its symbol at a stream, and what it works with."""

    stream: int
    instrument: Instrument
    strategy: Strategy
    limits: Limits
    settings: DeskSettings


class _Seat:
    """A desk, and what was reported of it last."""

    __slots__ = ("account", "account_ns", "desk", "instrument", "quote", "wake_ns")

    def __init__(self, desk: Desk, instrument: Instrument, quote: QuoteReport | None) -> None:
        self.desk = desk
        self.instrument = instrument
        self.quote = quote
        self.account = desk.risk_record
        self.account_ns = 0
        self.wake_ns: float = 0
        """`desk.wake_ns` as it was after the newest answer."""


class Floor:
    """All desks of a run. See the module. `earlier` is what earlier starts have left. Raises
    `LimitsError` where that does not fit the plans."""

    def __init__(
        self, settings: ExchangeSettings, plans: Sequence[Plan], earlier: Earlier | None = None
    ) -> None:
        self.now_ns = 0
        """The newest time that has passed everywhere, unix ns."""
        self._event_ns = 0
        """The time of the newest record or event. Heartbeats move `now_ns` beyond it, and a journal
        has none of them. So nothing that is reported may depend on more than this."""
        numbers, streams = OrderNumbers(), 1 + max(each.stream for each in plans)
        self.exchanges = tuple(
            PaperExchange(settings, _symbols(plans, stream), numbers=numbers)
            for stream in range(streams)
        )
        self.next_ns = _NEVER
        """No event is due before that."""
        self._has_begun = False
        """Whether a record with a time has come. The book with which a stream begins has none, and
        what follows may be long after an earlier start. So no desk acts before."""
        self._early: list[Report] = []
        """What was reported before."""
        self._seats: dict[str, _Seat] = {}
        self._of_stream: list[list[_Seat]] = [[] for _ in self.exchanges]
        self.restored = self._open(plans, Earlier() if earlier is None else earlier)
        """What ended with the earlier run, and what its kill switch cancels now."""

    def _open(self, plans: Sequence[Plan], earlier: Earlier) -> list[Report]:
        """A desk for each plan, as earlier starts have left it."""
        earlier.require_same({each.instrument.symbol: each.instrument for each in plans})
        said: list[Report] = []
        for plan in plans:
            exchange, symbol = self.exchanges[plan.stream], plan.instrument.symbol
            left = earlier.left_of(symbol)
            if left is not None:
                left.past.use(plan.instrument, earlier.newest_ns)
                said += exchange.adopt(left.past)
            desk = Desk(
                exchange,
                symbol,
                plan.strategy,
                limits=plan.limits,
                settings=plan.settings,
                kill=KillSwitch(None if left is None else left.kill, symbol=symbol),
                risk=None if left is None else left.risk,
            )
            seat = _Seat(desk, plan.instrument, None if left is None else left.quote)
            self._seats[symbol] = seat
            self._of_stream[plan.stream].append(seat)
        self.now_ns = self._event_ns = earlier.newest_ns
        for seat in self._seats.values():
            said += self._stop_again(seat.desk)
        self._note_due()
        return said

    def _stop_again(self, desk: Desk) -> list[Report]:
        """Go on with a kill that was under way when the run ended."""
        said: list[Report] = []
        if not desk.kill.is_armed:
            desk.exchange.advance(self.now_ns)
            for order_id in desk.exchange.open_orders(desk.symbol):
                said += desk.exchange.cancel(order_id)
            said += desk.prove()
        return said

    @property
    def desks(self) -> tuple[Desk, ...]:
        """All desks, in the order of the plans."""
        return tuple(seat.desk for seat in self._seats.values())

    @property
    def is_any_armed(self) -> bool:
        """Whether a desk may send orders."""
        return any(each.kill.is_armed for each in self.desks)

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol that is traded."""
        return self._seats[symbol].instrument

    def newest_quote(self, symbol: str) -> QuoteReport | None:
        """What the strategy wanted last; None before the first time."""
        return self._seats[symbol].quote

    # What comes in.

    def take(self, stream: int, record: Received) -> list[Report]:
        """Take the next record of a stream. Returns all that it and the time before it caused."""
        said: list[Report] = []
        time_ns = time_of(record)
        if time_ns > self._event_ns:
            if time_ns >= self.next_ns:
                self._pass_until(time_ns, said)
            self._event_ns = time_ns
            self.now_ns = max(self.now_ns, time_ns)
        if not self._has_begun:
            return [*said, *self._begin(stream, record)]
        exchange = self.exchanges[stream]
        if exchange.now_ns < self._event_ns and len(self.exchanges) > 1:
            exchange.advance(self._event_ns)
        reports = exchange.take(record)
        if isinstance(record, _OF_ONE_SYMBOL) and not reports:
            seat = self._seats.get(record.instrument.symbol)
            if seat is None:
                pass
            elif type(record) is Trade and self._is_quiet(seat):
                self._account(seat, reports, said)
            else:
                self._answer(seat, reports, said)
        else:
            self._answer_all(stream, reports, said)
        if self.next_ns <= self.now_ns:
            self._pass_until(self.now_ns, said)
        return said

    def _begin(self, stream: int, record: Received) -> list[Report]:
        """Take a record before which no time was known."""
        self._early += self.exchanges[stream].take(record)
        if not getattr(record, "received_ns", 0):
            return []
        self._has_begun = True
        early, self._early = self._early, []
        said: list[Report] = [replace(each, time_ns=self.now_ns) for each in early]
        for other, exchange in enumerate(self.exchanges):
            exchange.advance(self.now_ns)
            self._answer_all(other, [], said)
        return said

    def advance(self, now_ns: int) -> list[Report]:
        """Let time pass without a record: every stream has shown all that it has until `now_ns`."""
        said: list[Report] = []
        if now_ns > self.now_ns:
            if now_ns >= self.next_ns:
                self._pass_until(now_ns, said)
            self.now_ns = now_ns
        return said

    def _pass_until(self, now_ns: int, said: list[Report]) -> None:
        """Do what is due until then, each thing at its own time."""
        while True:
            self._note_due()
            due_ns = self.next_ns
            if due_ns > now_ns:
                return
            self._event_ns = int(due_ns)
            self.now_ns = max(self.now_ns, self._event_ns)
            for stream, exchange in enumerate(self.exchanges):
                self._answer_all(stream, exchange.advance(self._event_ns), said)

    def _note_due(self) -> None:
        """What is due already is not waited for: it has had its turn."""
        times = [each.next_due_ns + 1 for each in self.exchanges]
        times += [seat.desk.wake_ns for seat in self._seats.values()]
        self.next_ns = min((each for each in times if each > self._event_ns), default=_NEVER)

    def _answer_all(self, stream: int, reports: list[Report], said: list[Report]) -> None:
        for seat in self._of_stream[stream]:
            said += seat.desk.meet(reports)
        said += reports
        for seat in self._of_stream[stream]:
            symbol = seat.desk.symbol
            own = [each for each in reports if getattr(each, "symbol", symbol) == symbol]
            self._answer(seat, own, said)

    def _is_quiet(self, seat: _Seat) -> bool:
        """Whether a trade that caused nothing leaves the desk as it is. Most trades do, and come in
        bursts."""
        return seat.desk.exchange.now_ns < seat.wake_ns and seat.desk.is_at_rest

    def _answer(self, seat: _Seat, reports: list[Report], said: list[Report]) -> None:
        desk = seat.desk
        if not self._has_begun:
            said += desk.prove()
            return
        answers = desk.answer(reports)
        if answers:
            said += answers
            for each in answers:
                if type(each) is QuoteReport:
                    seat.quote = each
        self._account(seat, reports, said)
        seat.wake_ns = desk.wake_ns
        wake_ns = min(seat.wake_ns, desk.exchange.next_due_ns + 1)
        if wake_ns < self.next_ns:
            self.next_ns = wake_ns

    def _account(self, seat: _Seat, reports: list[Report], said: list[Report]) -> None:
        """Report the account and the positions after a fill, and now and again."""
        desk = seat.desk
        now_ns = desk.exchange.now_ns
        is_filled = reports and any(type(each) is Fill for each in reports)
        if not is_filled and now_ns - seat.account_ns < ACCOUNT_EVERY_NS:
            return
        seat.account_ns = now_ns
        record = desk.risk_record
        if record == seat.account and not is_filled:
            return
        seat.account = record
        said += desk.exchange.position_reports(desk.symbol)
        if record.day is not None:
            said.append(
                AccountReport(
                    time_ns=now_ns,
                    symbol=desk.symbol,
                    day=record.day,
                    at_start=record.at_start,
                    highest=record.highest,
                    equity=record.equity,
                )
            )

    # The kill switch.

    def pull(self, cause: KillCause, why: str) -> list[Report]:
        """Pull the kill switch of every desk that is armed."""
        said: list[Report] = []
        for seat in self._seats.values():
            seat.desk.exchange.advance(self.now_ns)
            if seat.desk.kill.is_armed:
                said += seat.desk.pull(cause, why)
        self._note_due()
        return said

    def settle(self) -> list[Report]:
        """Let the time pass that the cancels of a pull still need, where no record comes."""
        latencies = self.exchanges[0].settings.latencies
        wait_ns = latencies.acknowledge_ns + latencies.cancel_ns + 1
        is_open = any(each.kill.state is KillState.CANCELLING for each in self.desks)
        return self.advance(self.now_ns + wait_ns) if is_open else []

    def reset(self, who: str) -> list[Report]:
        """Arm every kill switch that is latched. Raises `TransitionError` while an order of one of
        them is open: then none is armed."""
        pulled = [each for each in self.desks if not each.kill.is_armed]
        for desk in pulled:
            desk.kill.require_latched()
        said: list[Report] = []
        for desk in pulled:
            desk.exchange.advance(self.now_ns)
            said += desk.reset(who)
        return said


def _symbols(plans: Sequence[Plan], stream: int) -> list[str]:
    return [each.instrument.symbol for each in plans if each.stream == stream]
