"""The instruments of the simulated Bybit: perpetuals, futures, pairs, and some that do not trade.

A contract's type, coins and end follow from its symbol, so listings that are made up or recorded
have them too.
"""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from fanout.simulator.market.listing import Listing

PERPETUAL: Final = "LinearPerpetual"
FUTURE: Final = "LinearFutures"
SPOT_CATEGORY: Final = "spot"
COINS: Final = ("USDT", "USDC", "BTC")

_FUTURE: Final = re.compile(r"([A-Z0-9]+?)(USDT)?-([0-9]{1,2}[A-Z]{3}[0-9]{2})")


def described(listing: Listing, category: str) -> Listing:
    """With the coins, and at linear the type and the end, that the symbol says."""
    symbol = listing.symbol
    if category == SPOT_CATEGORY:
        base, quote = _coins(symbol)
        return msgspec.structs.replace(listing, base=base, quote=quote)
    future = _FUTURE.fullmatch(symbol)
    base, quote = (future[1], future[2] or "USDC") if future else _coins(symbol)
    return msgspec.structs.replace(
        listing,
        contract_type=FUTURE if future else PERPETUAL,
        base=base,
        quote=quote,
        settled_in=quote,
        expires_ms=_ends_ms(future[3]) if future else None,
    )


def _coins(symbol: str) -> tuple[str, str]:
    for coin in COINS:
        if symbol.endswith(coin):
            return symbol.removesuffix(coin), coin
    return symbol.removesuffix("PERP"), "USDC"


def _ends_ms(day: str) -> int:
    """At 8 o'clock in UTC."""
    end = datetime.strptime(f"{day:0>7} 08", "%d%b%y %H").replace(tzinfo=UTC)
    return int(end.timestamp()) * 1_000


def _contract(symbol: str, price: str, tick: str, step: str, weight: float) -> Listing:
    return described(Listing(symbol, price, tick, step, weight=weight), "linear")


def _pair(
    symbol: str, price: str, tick: str, step: str, first_trade_id: int, weight: float
) -> Listing:
    return described(Listing(symbol, price, tick, step, first_trade_id, weight), SPOT_CATEGORY)


_CONTRACTS: Final = (
    _contract("BTCUSDT", "83671.20", "0.10", "0.001", 40),
    _contract("ETHUSDT", "3119.87", "0.01", "0.01", 34),
    _contract("SOLUSDT", "142.350", "0.010", "0.1", 14),
    _contract("XRPUSDT", "2.4181", "0.0001", "0.1", 12),
    _contract("DOGEUSDT", "0.17121", "0.00001", "1", 8),
    _contract("1000PEPEUSDT", "0.0044478", "0.0000001", "100", 6),
    _contract("BTCPERP", "83660.0", "0.5", "0.001", 3),
    _contract("BTC-26DEC26", "84210.5", "0.5", "0.001", 1),
)
_PAIRS: Final = (
    _pair("BTCUSDT", "83668.1", "0.1", "0.000001", 2_100_000_000_007_764_263, 30),
    _pair("ETHUSDT", "3119.55", "0.01", "0.00001", 2_100_000_000_001_331_270, 20),
    _pair("SOLUSDT", "142.33", "0.01", "0.001", 2_100_000_000_000_902_118, 10),
    _pair("PEPEUSDT", "0.000004449", "0.000000001", "1", 2_100_000_000_000_113_007, 4),
    _pair("ETHBTC", "0.037281", "0.000001", "0.0001", 2_100_000_000_000_045_991, 1),
)

LINEAR: Final = {each.symbol: each for each in _CONTRACTS}
SPOT: Final = {each.symbol: each for each in _PAIRS}

UNTRADED_LINEAR: Final = (
    described(Listing("OLDUSDT", "0", "0.0001", "0.1", status="Closed"), "linear"),
)
UNTRADED_SPOT: Final = (
    described(Listing("LUNAUSDT", "0", "0.0001", "0.01", status="Closed"), SPOT_CATEGORY),
)
