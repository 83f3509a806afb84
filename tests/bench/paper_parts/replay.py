"""The journal of the recording, through the paper exchange with ten orders.

Five orders a side stand at the best price and at the four ticks behind it. Each ten seconds of the
recording they are cancelled, and sent anew. What is filled in between is not replaced.
"""

import time
from typing import Final

import msgspec

from fanout.clients.journal import JournalClient
from fanout.protocol import Side
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.orders import Latencies, OrderRequest, OrderType
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import Fill
from fanout.trading.settings import ExchangeSettings
from tests.bench.paper_parts.recorded import INSTRUMENT

SYMBOL: Final = INSTRUMENT.symbol
A_SIDE: Final = 5
QUANTITY: Final = 100
RENEW_NS: Final = 10_000_000_000
LATENCY_NS: Final = 5_000_000
SETTINGS: Final = ExchangeSettings(
    latencies=Latencies(acknowledge_ns=LATENCY_NS, cancel_ns=LATENCY_NS)
)


class Replayed(msgspec.Struct, frozen=True):
    """One pass: CPU seconds, records, orders sent, and fills by model."""

    spent_s: float
    records: int
    orders: int
    fills: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Records in a second."""
        return self.records / self.spent_s


def replayed(url: str, *, orders: bool = True) -> Replayed:
    """One pass over the journal, decoding and all; without `orders` nothing is sent."""
    began_ns = time.thread_time_ns()
    exchange = PaperExchange(SETTINGS, [SYMBOL])
    book, take = exchange.books[SYMBOL], exchange.take
    sent = due_ns = 0
    fills = [0 for _ in MODELS]
    with JournalClient(url) as client:
        for record in client:
            reports = take(record)
            if reports:
                for report in reports:
                    if type(report) is Fill:
                        fills[report.model] += 1
            if exchange.now_ns >= due_ns and orders and book.is_known:
                due_ns = exchange.now_ns + RENEW_NS
                sent += _renew(exchange)
        records = client.statistics.trades + client.statistics.updates
    return Replayed((time.thread_time_ns() - began_ns) / 1e9, records, sent, tuple(fills))


def _renew(exchange: PaperExchange) -> int:
    bid, ask = exchange.books[SYMBOL].best_bid, exchange.books[SYMBOL].best_ask
    if bid is None or ask is None or bid.price >= ask.price:
        return 0
    exchange.cancel_all()
    for place in range(A_SIDE):
        step = place * INSTRUMENT.tick
        for side, price in ((Side.BID, bid.price - step), (Side.ASK, ask.price + step)):
            exchange.submit(
                OrderRequest(
                    symbol=SYMBOL,
                    side=side,
                    price=price,
                    quantity=QUANTITY,
                    type=OrderType.POST_ONLY,
                )
            )
    return 2 * A_SIDE


def decoded(url: str) -> Replayed:
    """One pass that only decodes."""
    began_ns = time.thread_time_ns()
    with JournalClient(url) as client:
        for _ in client:
            pass
        records = client.statistics.trades + client.statistics.updates
    return Replayed((time.thread_time_ns() - began_ns) / 1e9, records, 0, ())
