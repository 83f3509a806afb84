"""Journals of runs, report by report, for tests of what is made of them."""

from pathlib import Path

from msgspec.structs import replace

from fanout.protocol import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.exchange.queues import Model
from fanout.trading.orders import OrderEvent, OrderState, OrderType, TimeInForce
from fanout.trading.report.figures import ModelFigures, RunFigures, SymbolFigures
from fanout.trading.report.summary import RunSummary
from fanout.trading.reports import (
    Fill,
    KillReport,
    Mark,
    OrderReport,
    QuoteReport,
    RiskDecision,
    Trust,
)
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.journal import VERSION, Entry, Started, encode, file_name
from tests.fanout.trading.world import BUY, CONSERVATIVE, X

START_NS = 1_795_219_200_000_000_000
MS = 1_000_000
S = 1_000_000_000


class Run:
    """The entries of a run, in the order in which the methods were called. Times are in ms from the
    start, of the newest entry unless one is given."""

    def __init__(self, instrument: Instrument = X, venue: str = "test") -> None:
        self.instrument = instrument
        self.entries: list[Entry] = []
        self._venue = venue
        self._held = dict.fromkeys(Model, 0)
        self._orders: dict[tuple[int, Model], int] = {}
        self.ns = START_NS
        self.start()

    def start(self, instrument: Instrument | None = None) -> "Run":
        self.entries.append(
            Started(
                version=VERSION,
                fanout="0.1",
                venue=self._venue,
                instruments=(instrument or self.instrument,),
                settings={"strategy": {"name": "basic"}},
                inputs=("journal:///data",),
            )
        )
        return self

    def next_file(self, *, is_start: bool = False) -> "Run":
        """A file that begins with a checkpoint: of this start, or of a new one."""
        left = Earlier.of(self.entries).checkpoint()
        parts = [each.part for each in self.entries if isinstance(each, Started)]
        self.start()
        assert isinstance(self.entries[-1], Started)
        self.entries[-1] = replace(self.entries[-1], part=1 if is_start else parts[-1] + 1)
        self.entries.append(left)
        return self

    def forget(self, files: int) -> "Run":
        """The oldest files are gone."""
        begins = [at for at, each in enumerate(self.entries) if isinstance(each, Started)]
        del self.entries[: begins[files]]
        return self

    def at(self, ms: float | None) -> int:
        if ms is not None:
            self.ns = START_NS + round(ms * MS)
        return self.ns

    def mark(self, bid: int | None, ask: int | None, ms: float | None = None) -> "Run":
        time_ns = self.at(ms)
        return self.add(
            Mark(time_ns=time_ns, symbol=self.symbol, bid=bid, ask=ask, since_ns=time_ns)
        )

    def order(
        self,
        order_id: int,
        side: Side = BUY,
        quantity: int = 10,
        ms: float | None = None,
        model: Model = CONSERVATIVE,
        event: OrderEvent = OrderEvent.ACKNOWLEDGE,
        state: OrderState = OrderState.OPEN,
    ) -> "Run":
        self._orders[order_id, model] = quantity
        return self.add(
            OrderReport(
                time_ns=self.at(ms),
                order_id=order_id,
                model=model,
                event=event,
                state=state,
                symbol=self.symbol,
                side=side,
                price=100,
                order_type=OrderType.POST_ONLY,
                time_in_force=TimeInForce.GTC,
                quantity=quantity,
                remaining=quantity,
            )
        )

    def fill(
        self,
        order_id: int,
        side: Side,
        price: int,
        quantity: int,
        ms: float | None = None,
        model: Model = CONSERVATIVE,
        fee: str = "0",
        is_maker: bool = True,
    ) -> "Run":
        self._held[model] += quantity if side is BUY else -quantity
        left = self._orders.get((order_id, model), quantity) - quantity
        self._orders[order_id, model] = left
        return self.add(
            Fill(
                time_ns=self.at(ms),
                order_id=order_id,
                model=model,
                symbol=self.symbol,
                side=side,
                price=price,
                quantity=quantity,
                remaining=left,
                state=OrderState.OPEN if left else OrderState.FILLED,
                is_maker=is_maker,
                fee=fee,
                trade_id=7 if is_maker else None,
                position=self._held[model],
            )
        )

    def quote(self, bid: int | None, ask: int | None, ms: float | None = None) -> "Run":
        return self.add(
            QuoteReport(
                time_ns=self.at(ms),
                symbol=self.symbol,
                bid_price=bid,
                bid_quantity=10,
                ask_price=ask,
                ask_quantity=10,
                fair_value=100.0,
                skew=0.0,
            )
        )

    def refuse(self, check: str, ms: float | None = None) -> "Run":
        return self.add(
            RiskDecision(time_ns=self.at(ms), symbol=self.symbol, is_allowed=False, check=check)
        )

    def kill(self, state: str, why: str, ms: float | None = None) -> "Run":
        return self.add(
            KillReport(time_ns=self.at(ms), symbol=self.symbol, state=state, cause="limit", why=why)
        )

    def trust(self, is_frozen: bool, ms: float | None = None) -> "Run":
        return self.add(
            Trust(time_ns=self.at(ms), symbol=self.symbol, is_frozen=is_frozen, why="lost")
        )

    def add(self, entry: Entry) -> "Run":
        self.entries.append(entry)
        return self

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    def figures(self) -> RunFigures:
        summary = RunSummary()
        for each in self.entries:
            summary.take(each)
        return summary.figures()

    def of_symbol(self) -> SymbolFigures:
        return self.figures().symbols[0]

    def of_model(self, model: Model = CONSERVATIVE) -> ModelFigures:
        return self.of_symbol().models[model]

    def write(self, directory: Path) -> Path:
        """As a journal on the disk, a file for each start."""
        directory.mkdir(exist_ok=True)
        number = 0
        for each in self.entries:
            number += isinstance(each, Started)
            with (directory / file_name(number)).open("ab") as file:
                file.write(encode(each))
        return directory
