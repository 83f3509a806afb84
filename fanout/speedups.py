"""The service's own compiled twins, `fanout/_speedups.pyx`. See `fanout.protocol.speedups`."""

from typing import Final

from fanout.protocol.speedups import Twins

twin: Final = Twins("fanout._speedups")
