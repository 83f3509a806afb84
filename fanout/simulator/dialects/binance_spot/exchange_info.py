"""The body of `GET /api/v3/exchangeInfo`, in the documented shape."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.binance.rest import ODD
from fanout.simulator.dialects.listings import odd_rows
from fanout.simulator.dialects.rest import RejectedError
from fanout.simulator.market.listing import Listing, Quirk

_QUOTES: Final = ("USDT", "USDC", "BTC", "ETH", "BNB")


def exchange_info(
    listings: Mapping[str, Listing],
    quirks: Mapping[str, tuple[Quirk, ...]],
    now: int,
    weight_limit: int,
) -> bytes:
    limits = (
        ("REQUEST_WEIGHT", "MINUTE", 1, weight_limit),
        ("ORDERS", "SECOND", 10, 100),
        ("ORDERS", "DAY", 1, 200_000),
        ("RAW_REQUESTS", "MINUTE", 5, 61_000),
    )
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return msgspec.json.encode(
        {
            "timezone": "UTC",
            "serverTime": now,
            "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
            "exchangeFilters": [],
            "symbols": odd_rows(listings.values(), quirks, _symbol, ODD),
        }
    )


def chosen(listings: Mapping[str, Listing], query: Mapping[str, str]) -> Mapping[str, Listing]:
    """The listings that `symbol` or `symbols` names; all of them without either."""
    if "symbol" in query:
        names = [query["symbol"]]
    elif "symbols" in query:
        names = _names(query["symbols"])
    else:
        return listings
    if any(name not in listings for name in names):
        raise RejectedError(400, -1121, "Invalid symbol.")
    return {name: listings[name] for name in names}


def _names(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, RecursionError) as error:
        message = "Illegal characters found in parameter 'symbols'."
        raise RejectedError(400, -1100, message) from error


def _symbol(listing: Listing) -> dict[str, Any]:
    quote = next((each for each in _QUOTES if listing.symbol.endswith(each)), "USDT")
    return {
        "symbol": listing.symbol,
        "status": listing.status,
        "baseAsset": listing.symbol.removesuffix(quote),
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _filters(listing),
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    tick, step = listing.tick_size, listing.step_size
    prices = {"minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick}
    return [
        {"filterType": "PRICE_FILTER", **prices},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    ]
