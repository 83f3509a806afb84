"""The service: one exchange connection, many consumers, every trade accounted for.

venue frames -> trades (integers) -> blocks of bytes, encoded once -> one bounded log ->
transports -> clients. `fanout.service` reads like that arrow.
"""
