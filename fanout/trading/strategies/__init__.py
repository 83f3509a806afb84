"""Strategies: what a market maker quotes, given the market and its position."""
