"""The service: one exchange connection, many consumers, every trade accounted for.

venue frames -> trades (integers) -> blocks of bytes, encoded once -> one bounded log ->
transports -> clients. `fanout.service` reads like that arrow.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fanout")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
