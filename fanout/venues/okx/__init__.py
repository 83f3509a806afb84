"""OKX: spot, perpetuals, futures and options, by their names at OKX."""

from fanout.venues.okx.venue import Okx

__all__ = ["Okx"]
