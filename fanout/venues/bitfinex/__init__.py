"""Bitfinex: pairs and perpetuals, at one URL."""

from fanout.venues.bitfinex.venue import Bitfinex

__all__ = ["Bitfinex"]
