"""A market that depends on no venue: instruments, trades, books, ids, history, recordings.

Prices and quantities are decimal strings as a venue spells them, times are milliseconds, and a row
has a kind. `dialects` encode it for each venue. Nothing here imports them.
"""
