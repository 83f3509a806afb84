"""A market that knows no venue: instruments, trades, ids, history, recordings.

Prices and quantities are the decimal strings that a venue spells, times are milliseconds, and a row
has a kind. How a venue says any of it is the affair of `dialects`, which nothing here imports.
"""
