"""Bybit's listing. Pure.

    GET /v5/market/instruments-info?category=linear&limit=1000
    {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[
     {"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC",
      "quoteCoin":"USDT","priceFilter":{"tickSize":"0.10"},"lotSizeFilter":{"qtyStep":"0.001"}}],
     "nextPageCursor":"first%3D..."}}

Rows of spot have no contract type, and `basePrecision` in place of `qtyStep`. Spot has no pages.
Quantities of linear contracts are in the base. By default the listing has only what trades.
https://bybit-exchange.github.io/docs/v5/market/instrument
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import InstrumentType
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import ABSENT, asset, exponent_of, in_units, named, parse_rows
from fanout.venues.values import Listed, Listing, Request

PATH: Final = "/v5/market/instruments-info"
ROWS: Final = "1000"
"""Most rows of a page."""

TRADING: Final = "Trading"
SPOT: Final = "spot"
_TYPES: Final = {
    "LinearPerpetual": InstrumentType.LINEAR_PERPETUAL,
    "LinearFutures": InstrumentType.FUTURE,
}


class _PriceFilter(msgspec.Struct):
    tickSize: str  # noqa: N815  the venue's name


class _LotFilter(msgspec.Struct):
    qtyStep: str = ""  # noqa: N815
    basePrecision: str = ""  # noqa: N815


class _Row(msgspec.Struct):
    symbol: str
    status: str
    priceFilter: _PriceFilter  # noqa: N815
    lotSizeFilter: _LotFilter  # noqa: N815
    contractType: str = ""  # noqa: N815
    baseCoin: msgspec.Raw = ABSENT  # noqa: N815
    quoteCoin: msgspec.Raw = ABSENT  # noqa: N815


class _Page(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list")
    nextPageCursor: str = ""  # noqa: N815


class _Answer(msgspec.Struct):
    result: _Page


_decode = msgspec.json.Decoder(_Answer).decode
_decode_row = msgspec.json.Decoder(_Row).decode


def listing_request(category: str) -> Request:
    return Request(path=PATH, query={"category": category, "limit": ROWS})


def next_page(request: Request, body: bytes) -> tuple[Request, ...]:
    """The request for the page after this one, if there is one. Raises `VenueMessageError`."""
    # The cursor is percent-encoded as it comes, and the REST client encodes it again.
    cursor = unquote(_page(body).nextPageCursor)
    if not cursor or cursor == request.query.get("cursor"):
        return ()
    return (Request(path=PATH, query={**request.query, "cursor": cursor}),)


def parse_listing(bodies: Iterable[bytes], venue: str, category: str) -> Listing:
    """Raises `VenueMessageError`."""
    rows = [raw for body in bodies for raw in _page(body).rows]
    return parse_rows(
        rows, venue, lambda raw: _listed(_decode_row(raw), venue, category), named("symbol")
    )


def _page(body: bytes) -> _Page:
    try:
        return _decode(body).result
    except BROKEN as error:
        raise VenueMessageError("listing is not as documented", error) from error


def _listed(row: _Row, venue: str, category: str) -> Listed:
    tick = row.priceFilter.tickSize
    step = row.lotSizeFilter.basePrecision if category == SPOT else row.lotSizeFilter.qtyStep
    price_exponent, quantity_exponent = exponent_of(tick), exponent_of(step)
    fault = None
    if row.status != TRADING:
        fault = f"does not trade at {venue} now: status {shown(row.status)}"
    return Listed(
        symbol=row.symbol,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=-3,
        fault=fault,
        tick=in_units(tick, price_exponent),
        lot=in_units(step, quantity_exponent),
        base=asset(row.baseCoin),
        quote=asset(row.quoteCoin),
        type=InstrumentType.SPOT
        if category == SPOT
        else _TYPES.get(row.contractType, InstrumentType.OTHER),
    )
