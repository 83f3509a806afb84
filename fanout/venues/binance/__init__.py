"""Binance: USDⓈ-M perpetuals and spot. They share their dialogue and the shapes of their REST."""

from fanout.venues.binance.spot import BinanceSpot
from fanout.venues.binance.usdm import BinanceUsdm

__all__ = ["BinanceSpot", "BinanceUsdm"]
