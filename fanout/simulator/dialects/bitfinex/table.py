"""The instruments of the simulated Bitfinex: plausible pairs, a test pair and perpetuals.

Prices have five significant digits, so the tick size follows from the price. Amounts have eight
decimals.
"""

import re
from typing import Final

import msgspec

from fanout.simulator.dialects.bitfinex.rest import PERPETUAL
from fanout.simulator.market import made_up as numbered
from fanout.simulator.market.listing import Listing

STEP: Final = "0.00000001"

_MADE_UP: Final = re.compile(r"t(S[0-9]{4,5}):(USDT)")


def contract_type(symbol: str) -> str:
    return PERPETUAL if symbol.endswith("F0") else ""


def _pair(symbol: str, price: str, tick: str, first_id: int, weight: float = 0) -> Listing:
    return Listing(symbol, price, tick, STEP, first_id, weight, contract_type(symbol))


_PAIRS = (
    _pair("tBTCUSD", "83671", "1", 1_902_730_912, 40),
    _pair("tETHUSD", "3119.8", "0.1", 1_802_441_870, 34),
    _pair("tBTCUST", "83690", "1", 1_850_118_733, 14),
    _pair("tBTCF0:USTF0", "83655", "1", 1_810_552_094, 12),
    _pair("tETHF0:USTF0", "3118.9", "0.1", 1_702_771_655, 10),
    _pair("tXRPUSD", "2.4181", "0.0001", 1_744_300_981, 8),
    _pair("tSOLUSD", "142.35", "0.01", 1_788_093_447, 8),
    _pair("tLTCUSD", "94.602", "0.001", 1_640_229_718, 6),
    _pair("tDOGE:USD", "0.17121", "0.00001", 1_631_870_266, 5),
    _pair("tETHBTC", "0.037281", "0.000001", 1_612_655_930, 5),
    _pair("tSHIB:USD", "0.0000097114", "0.0000000001", 1_560_072_391, 3),
    _pair("tPEPE:USD", "0.0000044512", "0.0000000001", 1_490_714_552, 3),
    _pair("tTESTBTC:TESTUSD", "83500", "1", 1_305_338_127, 1),
)

TABLE: Final = {listing.symbol: listing for listing in _PAIRS}


def made_up_symbol(number: int) -> str:
    return f"tS{number:04}:USDT"


def made_up(symbol: str) -> Listing | None:
    """The listing of a made-up symbol; None for any other."""
    match = _MADE_UP.fullmatch(symbol)
    found = numbered.made_up(match[1] + match[2]) if match else None
    return None if found is None else msgspec.structs.replace(found, symbol=symbol)
