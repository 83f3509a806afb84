"""The instruments of the simulated Binance USDⓈ-M: plausible perpetuals, and two rows that do not
trade here.

Prices, decimals and ids follow what production showed in autumn 2026, where it was recorded, and
are plausible otherwise. Most trade ids are over 2**32, as they are there; one is small. A tick size
is spelled as the exchange spells it: "0.10" has two decimals, as every BTCUSDT price on the wire
has, though the market moves by tenths. So `pricePrecision` is the number of decimals and not the
tick size, as Binance's documents warn.
"""

from typing import Final

import msgspec

from fanout.simulator.market.listing import Listing

PERPETUAL: Final = "PERPETUAL"
TRADIFI_PERPETUAL: Final = "TRADIFI_PERPETUAL"
CURRENT_QUARTER: Final = "CURRENT_QUARTER"

_PERPETUALS = (
    Listing("BTCUSDT", "83680.00", "0.10", "0.001", 8_153_634_393, 40),
    Listing("ETHUSDT", "3120.45", "0.01", "0.001", 7_412_005_118, 36),
    Listing("SOLUSDT", "142.3700", "0.0100", "0.01", 4_801_553_020, 14),
    Listing(
        "XAUUSDT",
        "4105.32",
        "0.01",
        "0.001",
        301_448_870,
        12,
        TRADIFI_PERPETUAL,
        underlying_type="COMMODITY",
    ),
    Listing("XRPUSDT", "2.4183", "0.0001", "0.1", 4_390_117_655, 10),
    Listing("DOGEUSDT", "0.171230", "0.000010", "1", 3_488_255_295, 8),
    Listing("BNBUSDT", "912.340", "0.010", "0.01", 4_466_930_012, 7),
    Listing("1000PEPEUSDT", "0.0044478", "0.0000001", "1", 2_804_511_605, 6),
    Listing("SUIUSDT", "2.031500", "0.000100", "0.1", 1_377_020_484, 5),
    Listing("ADAUSDT", "0.55120", "0.00010", "1", 2_610_884_301, 5),
    Listing("LINKUSDT", "16.204", "0.001", "0.01", 2_011_734_908, 4),
    Listing("AVAXUSDT", "18.7310", "0.0010", "1", 2_155_390_777, 4),
    Listing("LTCUSDT", "94.61", "0.01", "0.001", 1_842_206_519, 3),
    Listing("BCHUSDT", "488.05", "0.01", "0.001", 1_390_655_042, 3),
    Listing("1000SHIBUSDT", "0.009713", "0.000001", "1", 1_702_118_366, 3),
    Listing("NEARUSDT", "2.2140", "0.0010", "1", 1_510_447_233, 3),
    Listing("TRXUSDT", "0.29170", "0.00001", "1", 1_120_930_664, 2),
    Listing("DOTUSDT", "3.018", "0.001", "0.1", 1_604_771_290, 2),
    Listing("UNIUSDT", "6.1230", "0.0010", "1", 1_022_556_871, 2),
    Listing("币安人生USDT", "0.14530", "0.00001", "1", 184_203, 2),
)

TABLE: Final = {
    listing.symbol: msgspec.structs.replace(
        listing, contract_type=listing.contract_type or PERPETUAL
    )
    for listing in _PERPETUALS
}

UNTRADED: Final = (
    Listing("BTCUSDT_261225", "84410.0", "0.1", "0.001", contract_type=CURRENT_QUARTER),
    Listing("LUNAUSDT", "0.0000", "0.0001", "1", contract_type=PERPETUAL, status="SETTLING"),
)
"""Rows without trades. They are in every listing, so that a client has to tell them apart."""
