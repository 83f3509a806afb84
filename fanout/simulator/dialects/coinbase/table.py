"""The instruments of the simulated Coinbase: plausible pairs, and rows that do not trade.

BTC-USD's price, decimals and ids follow what production showed in 2026. The others are plausible.
"""

from typing import Final

import msgspec

from fanout.simulator.market.listing import TRADING, Listing
from fanout.simulator.market.made_up import made_up as made_up_pair

INTERVAL_MS: Final = 50
"""In which changes of a book are collected: documented at the Exchange for `level2_batch`, and
assumed for Advanced Trade."""

DELISTED: Final = "delisted"

_PAIRS = (
    Listing("BTC-USD", "84140.83", "0.01", "0.00000001", 1_099_995_623, 40),
    Listing("ETH-USD", "3119.87", "0.01", "0.00000001", 786_441_870, 34),
    Listing("SOL-USD", "142.35", "0.01", "0.00000001", 420_118_733, 14),
    Listing("XRP-USD", "2.4181", "0.0001", "0.000001", 210_552_094, 12),
    Listing("DOGE-USD", "0.17121", "0.00001", "0.1", 144_300_981, 8),
    Listing("USDT-USD", "0.99980", "0.00001", "0.01", 92_771_655, 8),
    Listing("ADA-USD", "0.5511", "0.0001", "0.00000001", 112_655_930, 5),
    Listing("LINK-USD", "16.202", "0.001", "0.01", 90_714_552, 4),
    Listing("AVAX-USD", "18.73", "0.01", "0.00000001", 105_338_127, 4),
    Listing("LTC-USD", "94.60", "0.01", "0.00000001", 127_190_840, 3),
    Listing("BCH-USD", "488.05", "0.01", "0.00000001", 88_451_006, 3),
    Listing("BTC-EUR", "72210.44", "0.01", "0.00000001", 81_300_981, 3),
    Listing("ETH-BTC", "0.03728", "0.00001", "0.00000001", 60_886_340, 2),
    Listing("SHIB-USD", "0.00000971", "0.00000001", "1", 64_072_391, 2),
    Listing("BAND-GBP", "0.7775", "0.0001", "0.01", 881_613, 2),
)

TABLE: Final = {listing.symbol: listing for listing in _PAIRS}

UNTRADED: Final = (Listing("LUNA-USD", "0.0000", "0.0001", "0.001", status=DELISTED),)
"""Rows without trades. They are in every listing."""

ALIASES: Final = tuple(
    msgspec.structs.replace(TABLE[symbol], symbol=f"{symbol}C", weight=0)
    for symbol in ("BTC-USD", "ETH-USD")
)
"""Rows of Advanced Trade for other names of pairs that trade: BTC-USDC is BTC-USD."""


def alias_of(symbol: str) -> str:
    """The name that the stream uses for a pair in USDC; empty for any other."""
    return symbol.removesuffix("C") if symbol.endswith("-USDC") else ""


def status_of(listing: Listing) -> str:
    return "online" if listing.status == TRADING else listing.status.lower()


def made_up_symbol(number: int) -> str:
    return f"S{number:04}-USD"


def made_up(symbol: str) -> Listing | None:
    found = made_up_pair(symbol.replace("-USD", "USDT", 1)) if symbol.endswith("-USD") else None
    return None if found is None else msgspec.structs.replace(found, symbol=symbol)
