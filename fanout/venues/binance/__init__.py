"""Binance USDⓈ-M perpetuals."""

from fanout.venues.binance.adapter import BinanceUsdm

__all__ = ["BinanceUsdm"]
