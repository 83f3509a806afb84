"""The body of `GET /fapi/v1/exchangeInfo`, in the shape documented and recorded in 2026."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.binance.rest import ODD
from fanout.simulator.dialects.binance_usdm.table import CURRENT_QUARTER
from fanout.simulator.dialects.listings import odd_rows
from fanout.simulator.market.listing import Listing, Quirk

ONBOARDED_MS: Final = 1_569_398_400_000
NEVER_MS: Final = 4_133_404_800_000
QUARTER_ENDS_MS: Final = 1_798_185_600_000  # 2026-12-25 08:00 UTC

_ORDER_LIMITS: Final = (
    ("ORDERS", "MINUTE", 1, 1200),
    ("ORDERS", "SECOND", 10, 300),
)


def exchange_info(
    listings: Mapping[str, Listing],
    quirks: Mapping[str, tuple[Quirk, ...]],
    now_ms: int,
    weight_limit: int,
) -> bytes:
    limits = (("REQUEST_WEIGHT", "MINUTE", 1, weight_limit), *_ORDER_LIMITS)
    return msgspec.json.encode(
        {
            "timezone": "UTC",
            "serverTime": now_ms,
            "futuresType": "U_MARGINED",
            "rateLimits": [_rate_limit(*limit) for limit in limits],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
            "symbols": odd_rows(listings.values(), quirks, _symbol, ODD),
        }
    )


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": limit,
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    pair = listing.symbol.partition("_")[0]
    delivered = listing.contract_type == CURRENT_QUARTER
    return {
        "symbol": listing.symbol,
        "pair": pair,
        "contractType": listing.contract_type,
        "deliveryDate": QUARTER_ENDS_MS if delivered else NEVER_MS,
        "onboardDate": ONBOARDED_MS,
        "status": listing.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": pair.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": listing.price_precision,
        "quantityPrecision": listing.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": listing.underlying_type,
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": _filters(listing),
        "orderTypes": ["LIMIT", "MARKET", "STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD", "RPI"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    tick, step = listing.tick_size, listing.step_size
    lot = {"minQty": step, "maxQty": "10000000", "stepSize": step}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500"},
    ]
