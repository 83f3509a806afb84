"""Deribit: options, futures, perpetuals, spot and combos, at one URL."""

from fanout.venues.deribit.venue import Deribit

__all__ = ["Deribit"]
