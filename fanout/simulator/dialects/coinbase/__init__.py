"""Coinbase as the simulator speaks it: the Exchange feed and Advanced Trade. It shares no code with
the service's venues, so that one misreading cannot hide in both."""

from fanout.simulator.dialects.coinbase.advanced import CoinbaseAdvanced
from fanout.simulator.dialects.coinbase.exchange import CoinbaseExchange

__all__ = ["CoinbaseAdvanced", "CoinbaseExchange"]
