"""Coinbase: the Exchange feed, and Advanced Trade. They share the account of subscriptions and of
books. Messages and guarantees differ."""

from fanout.venues.coinbase.advanced import CoinbaseAdvanced
from fanout.venues.coinbase.exchange import Coinbase

__all__ = ["Coinbase", "CoinbaseAdvanced"]
