"""The service's own compiled twins, `fanout/_speedups.pyx`. See `protocol.speedups`."""

from typing import Final

from protocol.speedups import Twins

twin: Final = Twins("fanout._speedups")
