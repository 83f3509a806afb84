"""Coinbase's listings. Pure.

    GET /products                                     the Exchange
    [{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01",
      "base_increment":"0.00000001","status":"online","trading_disabled":false,...}]
    https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-all-known-trading-pairs

    GET /api/v3/brokerage/market/products?product_type=SPOT          Advanced Trade
    {"products":[{"product_id":"BTC-USD","price_increment":"0.01","base_increment":"0.00000001",
      "base_currency_id":"BTC","quote_currency_id":"USD","product_type":"SPOT","status":"online",
      "alias":"","trading_disabled":false,...}],"num_products":1,
     "pagination":{"next_cursor":"","has_next":false,...}}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products

Advanced Trade's documentation says that all types of products come without `product_type`. Other
libraries find only spot there, and ask for futures in a request of their own (ccxt). So the service
names both types. An answer is a page, and `has_next` tells whether `cursor` brings another.

At Advanced Trade BTC-USDC is an alias of BTC-USD: the stream sends BTC-USD for it. Futures have an
empty status, and their quantities are contracts.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import InstrumentType
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import ABSENT, RowError, asset, exponent_of, in_units, named, parse_rows
from fanout.venues.values import Listed, Listing, Request

ONLINE: Final = "online"
TIME_EXPONENT: Final = -6

ADVANCED_PATH: Final = "/api/v3/brokerage/market/products"
SPOT: Final = "SPOT"
FUTURE: Final = "FUTURE"

_WRONG: Final = "listing is not as documented"


class _Switches(msgspec.Struct):
    """What keeps a product from trading. `post_only` accepts no order that would trade at once,
    and an auction trades only at its end."""

    status: str
    trading_disabled: bool = False
    is_disabled: bool = False
    cancel_only: bool = False
    post_only: bool = False
    auction_mode: bool = False


class _ExchangeRow(_Switches, kw_only=True):
    id: str
    quote_increment: str
    base_increment: str
    base_currency: msgspec.Raw = ABSENT
    quote_currency: msgspec.Raw = ABSENT


class _Future(msgspec.Struct):
    contract_size: str = ""
    contract_expiry_type: str = ""
    contract_root_unit: msgspec.Raw = ABSENT


class _AdvancedRow(_Switches, kw_only=True):
    product_id: str
    price_increment: str
    base_increment: str
    product_type: str = ""
    alias: str = ""
    base_currency_id: msgspec.Raw = ABSENT
    quote_currency_id: msgspec.Raw = ABSENT
    future_product_details: msgspec.Raw = ABSENT


class _Pagination(msgspec.Struct):
    has_next: bool = False
    next_cursor: str = ""


class _Products(msgspec.Struct):
    products: list[msgspec.Raw]
    pagination: _Pagination | None = None


_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_exchange = msgspec.json.Decoder(_ExchangeRow).decode
_decode_products = msgspec.json.Decoder(_Products).decode
_decode_advanced = msgspec.json.Decoder(_AdvancedRow).decode
_decode_future = msgspec.json.Decoder(_Future | None).decode


def parse_exchange(body: bytes, venue: str) -> Listing:
    """Raises `VenueMessageError`."""
    try:
        rows = _decode_rows(body)
    except BROKEN as error:
        raise VenueMessageError(_WRONG, error) from error
    return parse_rows(
        rows, venue, lambda raw: _of_exchange(_decode_exchange(raw), venue), named("id")
    )


def advanced_requests() -> tuple[Request, ...]:
    """The first page of each type of product. The venue may have no futures to show."""
    return (
        Request(path=ADVANCED_PATH, query={"product_type": SPOT}),
        Request(path=ADVANCED_PATH, query={"product_type": FUTURE}, is_optional=True),
    )


def next_page(request: Request, body: bytes) -> tuple[Request, ...]:
    """The request for the page after this one, if there is one. Raises `VenueMessageError`."""
    page = _page(body).pagination
    if page is None or not page.has_next or page.next_cursor in ("", request.query.get("cursor")):
        return ()
    return (replace(request, query={**request.query, "cursor": page.next_cursor}),)


def parse_advanced(bodies: Iterable[bytes], venue: str) -> Listing:
    """Parse all pages. Raises `VenueMessageError`."""
    rows = [raw for body in bodies for raw in _page(body).products]
    return parse_rows(
        rows, venue, lambda raw: _of_advanced(_decode_advanced(raw), venue), named("product_id")
    )


def _page(body: bytes) -> _Products:
    try:
        return _decode_products(body)
    except BROKEN as error:
        raise VenueMessageError(_WRONG, error) from error


def _of_exchange(row: _ExchangeRow, venue: str) -> Listed:
    price_exponent, quantity_exponent = (
        exponent_of(row.quote_increment),
        exponent_of(row.base_increment),
    )
    return Listed(
        symbol=row.id,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=TIME_EXPONENT,
        fault=_fault(row, venue, (ONLINE,)),
        tick=in_units(row.quote_increment, price_exponent),
        lot=in_units(row.base_increment, quantity_exponent),
        base=asset(row.base_currency),
        quote=asset(row.quote_currency),
        type=InstrumentType.SPOT,
    )


def _of_advanced(row: _AdvancedRow, venue: str) -> Listed:
    price_exponent, quantity_exponent = (
        exponent_of(row.price_increment),
        exponent_of(row.base_increment),
    )
    future = _future(row.future_product_details)
    mantissa, exponent = _contract(future)
    fault = _fault(row, venue, (ONLINE, "") if row.product_type == FUTURE else (ONLINE,))
    if row.alias:
        alias = shown(row.alias)
        fault = f"is an alias of {alias} at {venue}, whose stream names {alias}: use that"
    return Listed(
        symbol=row.product_id,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=TIME_EXPONENT,
        fault=fault,
        tick=in_units(row.price_increment, price_exponent),
        lot=in_units(row.base_increment, quantity_exponent),
        base=asset(row.base_currency_id) or asset(future.contract_root_unit),
        quote=asset(row.quote_currency_id),
        type=_type(row.product_type, future),
        contract_mantissa=mantissa,
        contract_exponent=exponent,
    )


def _fault(row: _Switches, venue: str, good: tuple[str, ...]) -> str | None:
    """Why a product does not trade; None if it does."""
    if row.status not in good:
        return f"does not trade at {venue} now: status {shown(row.status)}"
    for switch in ("trading_disabled", "is_disabled", "cancel_only", "post_only", "auction_mode"):
        if getattr(row, switch):
            return f"does not trade at {venue} now: {switch}"
    return None


def _future(raw: msgspec.Raw) -> _Future:
    """The terms of a future; without values for spot, and where they are unreadable."""
    try:
        return _decode_future(raw) or _Future()
    except BROKEN:
        return _Future()


def _type(product: str, future: _Future) -> InstrumentType:
    if product == SPOT:
        return InstrumentType.SPOT
    if product != FUTURE:
        return InstrumentType.OTHER
    is_perpetual = future.contract_expiry_type == "PERPETUAL"
    return InstrumentType.LINEAR_PERPETUAL if is_perpetual else InstrumentType.FUTURE


def _contract(future: _Future) -> tuple[int, int]:
    """The size of a contract as mantissa and exponent; 1 for spot, and where it is unreadable."""
    try:
        exponent = exponent_of(future.contract_size)
    except RowError:
        return 1, 0
    return in_units(future.contract_size, exponent), exponent
