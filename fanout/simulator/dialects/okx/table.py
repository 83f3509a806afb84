"""The instruments of the simulated OKX: pairs, perpetuals, a future, options, and two that do not
trade. A symbol tells the type, the currencies and the expiry."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from fanout.simulator.market.listing import Listing

LIVE: Final = "live"

_EXPIRES_AT: Final = timedelta(hours=8)  # of the day that a symbol names, UTC
_OPTION: Final = {"BTC": "0.01", "ETH": "0.1"}
_INVERSE: Final = {"BTC": "100"}
"""Sizes of contracts, in the base and in the quote. At other currencies they are "1" and "10"."""


def described(listing: Listing) -> Listing:
    """The listing with what its symbol tells. A size of contracts that it has stays."""
    base, quote, *rest = listing.symbol.split("-")
    if not rest:
        return msgspec.structs.replace(listing, contract_type="SPOT", base=base, quote=quote)
    is_option, is_coin = len(rest) > 1, quote == "USD"
    kind = "SWAP" if rest == ["SWAP"] else "OPTION" if is_option else "FUTURES"
    size = _OPTION.get(base, "1") if is_option else _INVERSE.get(base, "10") if is_coin else "1"
    return msgspec.structs.replace(
        listing,
        contract_type=kind,
        base=base,
        quote=quote,
        settled_in=base if is_coin else quote,
        contract_size=listing.contract_size or size,
        expires_ms=None if kind == "SWAP" else _expiry_ms(rest[0]),
    )


def _expiry_ms(day: str) -> int:
    """Raises ValueError for a text that is no day, like 261225."""
    at = datetime.strptime(day, "%y%m%d").replace(tzinfo=UTC) + _EXPIRES_AT
    return int(at.timestamp() * 1_000)


def _all(*listings: Listing) -> dict[str, Listing]:
    return {each.symbol: described(each) for each in listings}


TABLE: Final = _all(
    Listing("BTC-USDT-SWAP", "83679.9", "0.1", "0.01", 1_219_066_264, 40, contract_size="0.01"),
    Listing("ETH-USDT-SWAP", "3120.11", "0.01", "0.01", 1_093_300_180, 34, contract_size="0.1"),
    Listing("BTC-USDT", "83671.2", "0.1", "0.00000001", 812_730_912, 30),
    Listing("ETH-USDT", "3119.87", "0.01", "0.000001", 603_441_870, 20),
    Listing("SOL-USDT-SWAP", "142.41", "0.01", "0.01", 618_201_377, 10, contract_size="1"),
    Listing("DOGE-USDT-SWAP", "0.17121", "0.00001", "0.01", 404_300_981, 8, contract_size="1000"),
    Listing("SOL-USDT", "142.35", "0.01", "0.000001", 320_118_733, 8),
    Listing("BTC-USD-SWAP", "83654.3", "0.1", "0.1", 473_543_957, 6),
    Listing("XRP-USDT", "2.4181", "0.0001", "0.000001", 210_552_094, 6),
    Listing("PEPE-USDT", "0.00000445", "0.000000001", "1", 140_229_718, 3),
    Listing("BTC-USD-261225", "84210.5", "0.1", "0.1", 17_400_303, 2),
    Listing("UNI-USD-SWAP", "6.122", "0.001", "1", 11_559_487, 1),
    Listing("BTC-USD-261225-90000-C", "0.0415", "0.0001", "1", 81, 0.5),
    Listing("ETH-USD-261225-3000-P", "0.0725", "0.0001", "1", 214, 0.5),
)

UNTRADED: Final = tuple(
    _all(
        Listing("LUNA-USDT", "0", "0.0001", "0.0001", status="suspend"),
        Listing("NEW-USDT-SWAP", "0", "", "", status="preopen"),
    ).values()
)
"""Rows without trades, in every listing. The second one has no steps yet, as OKX lists it."""
