"""Bitfinex's listing: the names of its pairs, and units that follow from their prices. Pure.

    GET /v2/conf/pub:list:pair:exchange,pub:list:pair:futures
    [["BTCUSD","TESTBTC:TESTUSD",...],["BTCF0:USTF0",...]]
    GET /v2/tickers?symbols=ALL
    [["tBTCUSD",BID,BID_SIZE,ASK,ASK_SIZE,CHANGE,CHANGE_RELATIVE,LAST_PRICE,VOLUME,HIGH,LOW],...]

https://docs.bitfinex.com/reference/rest-public-conf, .../rest-public-tickers

The venue has no tick sizes. Orders have prices of five significant digits. But trades have prices
of eight decimals too, where the venue made them itself (69 of 537 trades of tBTCUSD recorded in
2018, 16 of 30 of tETHJPY in 2021), and books have such levels far from the best ones. So an
exponent is -8, or finer if five digits of the last price need it. One digit more is spare, since a
price that falls below a power of ten gets a decimal more.

A pair without a price of its own gets -8. The feed makes exponents finer when a value needs it, see
`Bitfinex.still_fits`.
"""

from collections.abc import Mapping
from typing import Any, Final

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import EXPONENTS, MAX_ASSET_BYTES, InstrumentType
from fanout.protocol.text import name_fault
from fanout.venues.bitfinex.messages import DECIMALS, price_text
from fanout.venues.bitfinex.rest import rows_of
from fanout.venues.rows import RowError, parse_rows
from fanout.venues.values import Listed, Listing, Request

TIME_EXPONENT: Final = -3
DIGITS: Final = 5
SPARE_DIGITS: Final = 1

PAIRS: Final = "/v2/conf/pub:list:pair:exchange,pub:list:pair:futures"
TICKERS: Final = "/v2/tickers"

_FAULT: Final = "listing is not as documented"
_LAST_PRICE: Final = 7
_SHORT_ASSET: Final = 3
_PERPETUAL: Final = "F0"
_KINDS: Final = (InstrumentType.SPOT, InstrumentType.LINEAR_PERPETUAL)
"""Of the lists of pairs, in their order."""

_Row = tuple[InstrumentType, Any]


def listing_requests() -> tuple[Request, ...]:
    """The tickers cost more: an address may ask for them 30 times a minute."""
    return (
        Request(path=PAIRS, weight=1),
        Request(path=TICKERS, query={"symbols": "ALL"}, weight=3),
    )


def parse_listing(bodies: tuple[bytes, ...], venue: str) -> Listing:
    """Raises `VenueMessageError`."""
    pairs, *tickers = bodies
    lists = rows_of(pairs, _FAULT)
    if len(lists) != len(_KINDS) or any(type(each) is not list for each in lists):
        raise VenueMessageError(_FAULT, shown(repr(lists)[:80]))
    rows = [(kind, pair) for kind, each in zip(_KINDS, lists, strict=True) for pair in each]
    exponents = _exponents(tickers)
    return parse_rows(rows, venue, lambda row: _listed(row, exponents), _name)


def _exponents(bodies: list[bytes]) -> dict[str, int]:
    """The exponents of prices, by symbol. A ticker that cannot be read has none."""
    found: dict[str, int] = {}
    for body in bodies:
        for row in rows_of(body, _FAULT):
            if type(row) is list and len(row) > _LAST_PRICE and type(row[0]) is str:
                try:
                    found[row[0]] = price_exponent(price_text(row[_LAST_PRICE]))
                except VenueMessageError:
                    continue
    return found


def price_exponent(price: str) -> int:
    """The exponent of prices near this one."""
    whole, _, fraction = price.lstrip("-").partition(".")
    whole = whole.lstrip("0")
    digits = fraction.lstrip("0")
    if not whole and not digits:
        return -DECIMALS
    power = len(whole) - 1 if whole else len(digits) - len(fraction) - 1
    return max(EXPONENTS.start, min(-DECIMALS, power - DIGITS + 1 - SPARE_DIGITS))


def _listed(row: _Row, exponents: Mapping[str, int]) -> Listed:
    kind, pair = row
    if type(pair) is not str or not pair:
        raise RowError(f"a pair {shown(repr(pair)[:80])}")
    symbol = f"t{pair}"
    base, quote = _assets(pair)
    return Listed(
        symbol=symbol,
        price_exponent=exponents.get(symbol, -DECIMALS),
        quantity_exponent=-DECIMALS,
        time_exponent=TIME_EXPONENT,
        base=_asset(base, kind),
        quote=_asset(quote, kind),
        type=kind,
    )


def _name(row: _Row) -> str:
    """The symbol of a row; empty if it is unreadable."""
    pair = row[1]
    return f"t{shown(pair)}" if type(pair) is str and pair else ""


def _assets(pair: str) -> tuple[str, str]:
    """The base and the quote. Names of three letters stand without a colon between them."""
    if ":" in pair:
        base, _, quote = pair.partition(":")
        return base, quote
    if len(pair) == 2 * _SHORT_ASSET:
        return pair[:_SHORT_ASSET], pair[_SHORT_ASSET:]
    return "", ""


def _asset(name: str, kind: InstrumentType) -> str:
    """An asset's name without the mark of a perpetual; empty, which means unknown, if no header can
    carry it."""
    if kind is not InstrumentType.SPOT:
        name = name.removesuffix(_PERPETUAL)
    return "" if name_fault(name) or len(name.encode()) > MAX_ASSET_BYTES else name
