"""Features, best prices and signals: consumers of the stream.

They import `fanout.clients` and `fanout.protocol` alone, so a notebook can use each of them by
itself. Time comes from the records, never from a clock.
"""
