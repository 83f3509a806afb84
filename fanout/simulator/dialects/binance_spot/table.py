"""The instruments of the simulated Binance spot: plausible pairs, and one that does not trade.

Spot spells every price and quantity with eight decimals, whatever the tick size: a tick size of
"0.01000000" moves a price such as "61837.63000000" by cents.
"""

from typing import Final

from fanout.simulator.market.listing import Listing

PLACES: Final = 8


def spelled(number: str) -> str:
    """A unit or a price with the decimals that spot shows."""
    whole, _, part = number.partition(".")
    return f"{whole}.{part:0<{PLACES}}"


def _pair(
    symbol: str, price: str, tick: str, step: str, first_id: int, weight: float = 0
) -> Listing:
    return Listing(symbol, spelled(price), spelled(tick), spelled(step), first_id, weight)


_PAIRS = (
    _pair("BTCUSDT", "83671.20", "0.01", "0.00001", 5_421_730_912, 40),
    _pair("ETHUSDT", "3119.87", "0.01", "0.0001", 2_903_441_870, 34),
    _pair("SOLUSDT", "142.35", "0.01", "0.001", 1_620_118_733, 14),
    _pair("XRPUSDT", "2.4181", "0.0001", "0.1", 1_310_552_094, 12),
    _pair("USDCUSDT", "0.9998", "0.0001", "1", 402_771_655, 10),
    _pair("DOGEUSDT", "0.17121", "0.00001", "1", 1_044_300_981, 8),
    _pair("BNBUSDT", "912.31", "0.01", "0.001", 1_288_093_447, 8),
    _pair("PEPEUSDT", "0.00000445", "0.00000001", "1", 640_229_718, 6),
    _pair("SUIUSDT", "2.0314", "0.0001", "0.1", 331_870_266, 5),
    _pair("ADAUSDT", "0.5511", "0.0001", "0.1", 812_655_930, 5),
    _pair("LINKUSDT", "16.20", "0.01", "0.01", 690_714_552, 4),
    _pair("AVAXUSDT", "18.73", "0.01", "0.01", 605_338_127, 4),
    _pair("LTCUSDT", "94.60", "0.01", "0.001", 577_190_840, 3),
    _pair("BCHUSDT", "488.0", "0.1", "0.001", 388_451_006, 3),
    _pair("SHIBUSDT", "0.00000971", "0.00000001", "1", 560_072_391, 3),
    _pair("NEARUSDT", "2.213", "0.001", "0.1", 420_366_178, 3),
    _pair("TRXUSDT", "0.2917", "0.0001", "0.1", 470_918_225, 3),
    _pair("DOTUSDT", "3.017", "0.001", "0.01", 455_207_613, 2),
    _pair("UNIUSDT", "6.122", "0.001", "0.01", 301_559_487, 2),
    _pair("ETHBTC", "0.03728", "0.00001", "0.0001", 520_886_340, 2),
    _pair("币安人生USDT", "0.1452", "0.0001", "0.1", 90_417, 2),
)

TABLE: Final = {listing.symbol: listing for listing in _PAIRS}

UNTRADED: Final = (
    Listing("BCCBTC", spelled("0"), spelled("0.000001"), spelled("0.001"), status="BREAK"),
)
"""Rows without trades. They are in every listing, so that a client has to tell them apart."""
