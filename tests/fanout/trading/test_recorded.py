"""Both recordings through all strategies, twice: the same bytes, and nothing that should not be."""

import msgspec
import pytest
from msgspec.structs import replace

from fanout.protocol import Side
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.orders import Latencies
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import Fill
from fanout.trading.settings import ExchangeSettings
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Strategy
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft
from tests.fanout.trading.recorded import Record, records_of
from tests.fanout.trading.test_risk import OFF
from tests.fanout.trading.world import MS

LIMIT = 1_000
LIMITS = replace(OFF, position=LIMIT, open_orders=4, orders_per_second=50)
SETTINGS = ExchangeSettings(
    latencies=Latencies(acknowledge_ns=5 * MS, cancel_ns=5 * MS), maker_fee=20_000
)


def strategies(mid: float) -> list[Strategy]:
    sigma, k = mid / 30_000, 120_000 / mid
    sizes = {"quantity": 100, "position_limit": LIMIT}
    return [
        Basic(spread_bps=0.5, min_spread=0.01, max_spread=50, skew_bps=0.5, **sizes),
        AvellanedaStoikov(gamma=0.01, sigma=sigma, k=k, tau=10, **sizes),
        Glft(gamma=0.05, sigma=sigma, k=k, a=20, delta=0.1, **sizes),
    ]


def run(symbol: str, records: list[Record], strategy: Strategy) -> tuple[bytes, int]:
    """The reports of a run as bytes, and the number of fills."""
    exchange = PaperExchange(SETTINGS, [symbol])
    settings = DeskSettings(min_life_ns=200 * MS)
    desk = Desk(exchange, symbol, strategy, limits=LIMITS, settings=settings)
    said = []
    for number, record in enumerate(records):
        said += desk.take(record)
        if number % 50 == 0:
            check_limits(exchange, symbol)
    assert desk.kill.is_armed
    fills = sum([isinstance(each, Fill) for each in said])
    return msgspec.json.encode([*said, *exchange.position_reports(symbol)]), fills


def check_limits(exchange: PaperExchange, symbol: str) -> None:
    for model in MODELS:
        position = exchange.position(symbol, model)
        held = 0 if position is None else position.quantity
        assert held + exchange.working(symbol, model, Side.BID) <= LIMIT
        assert held - exchange.working(symbol, model, Side.ASK) >= -LIMIT


@pytest.mark.long
@pytest.mark.parametrize(
    ("symbol", "mid", "tick"), [("BTCUSDT", 60_000.0, 10), ("ETHUSDT", 2_500.0, 1)]
)
def test_a_recording_gives_the_same_bytes_twice(symbol: str, mid: float, tick: int) -> None:
    records = records_of(symbol, tick=tick)
    for strategy in strategies(mid):
        first, fills = run(symbol, records, strategy)
        assert fills > 0
        assert run(symbol, records, strategy) == (first, fills)
