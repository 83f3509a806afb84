"""The strategies' compiled twins, `_quotes.pyx`. See `fanout.protocol.speedups`."""

from typing import Final

from fanout.protocol.speedups import Twins

twin: Final = Twins("fanout.trading.strategies._quotes")
