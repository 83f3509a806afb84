"""The dialects, by their names in a config and in `fanout simulate --dialect`."""

from typing import Final

from fanout.errors import UsageError
from fanout.simulator.dialects.base import Dialect
from fanout.simulator.dialects.binance_spot import BinanceSpot
from fanout.simulator.dialects.binance_usdm import BinanceUsdm
from fanout.simulator.dialects.bitfinex import Bitfinex
from fanout.simulator.dialects.bybit import BybitLinear, BybitSpot
from fanout.simulator.dialects.coinbase import CoinbaseAdvanced, CoinbaseExchange
from fanout.simulator.dialects.deribit import Deribit
from fanout.simulator.dialects.okx import Okx
from fanout.simulator.market.listing import Listing

DEFAULT: Final = "binance-usdm"
_ALL: Final[tuple[Dialect, ...]] = (
    BinanceUsdm(),
    BinanceSpot(),
    Bitfinex(),
    BybitLinear(),
    BybitSpot(),
    CoinbaseExchange(),
    CoinbaseAdvanced(),
    Deribit(),
    Okx(),
)
DIALECTS: Final = {each.name: each for each in _ALL}


def dialect_of(name: str) -> Dialect:
    """Raises `UsageError` for an unknown name."""
    found = DIALECTS.get(name)
    if found is None:
        raise UsageError(f"there is no dialect {name!r}; choose from {', '.join(DIALECTS)}")
    return found


def symbols_of(dialect: Dialect, count: int) -> tuple[str, ...]:
    """`count` symbols: first those of the dialect's table, then made-up ones."""
    table = list(dialect.table)[:count]
    return (*table, *map(dialect.made_up_symbol, range(len(table) + 1, count + 1)))


def listing_of(dialect: Dialect, symbol: str) -> Listing | None:
    """The instrument of a symbol of the table, or of a made-up symbol; None for any other."""
    return dialect.table.get(symbol) or dialect.made_up(symbol)
