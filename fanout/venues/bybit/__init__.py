"""Bybit v5: linear contracts and spot. They share everything but their category and some limits."""

from fanout.venues.bybit.venue import Bybit, BybitSpot

__all__ = ["Bybit", "BybitSpot"]
