"""The numbers of a calibration in the place of those of a strategy.

[strategy]
name = "glft"
calibration = "btc.json"     # a, k and sigma; a number that stands beside it counts instead
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from fanout.protocol.instrument import Instrument
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.errors import LimitsError
from fanout.trading.running.config import StrategyConfig

KEY: Final = "calibration"

_TAKEN: Final[Mapping[str, tuple[str, ...]]] = {
    "avellaneda-stoikov": ("k", "sigma"),
    "glft": ("a", "k", "sigma"),
    "basic": (),
}
"""What the built-in strategies take. A user's own takes everything."""


def file_of(config: StrategyConfig, source: str) -> str | None:
    """The file that a strategy names, None if it names none. `source` is for errors. Raises
    `LimitsError` for one that cannot be."""
    if KEY not in config.parameters:
        return None
    name = config.parameters[KEY]
    if not isinstance(name, str) or not name:
        raise LimitsError(f"{source}: strategy.{KEY} = {str(name)[:40]!r}: the name of a file")
    if not _TAKEN.get(config.name, ("a",)):
        raise LimitsError(f"{source}: strategy.{KEY}: {config.name} takes nothing of a calibration")
    return name


def calibrated(
    config: StrategyConfig, fit: Calibration, venue: str, instrument: Instrument
) -> StrategyConfig:
    """The strategy with the numbers of the fit. Raises `WrongFitError` for a fit of another
    instrument."""
    fit.require(venue, instrument)
    taken = _TAKEN.get(config.name, tuple(fit.parameters))
    numbers = {name: Decimal(repr(fit.parameters[name])) for name in taken}
    own = {key: value for key, value in config.parameters.items() if key != KEY}
    return replace(config, parameters={**numbers, **own})
