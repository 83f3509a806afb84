"""The files that `calibration` in `[strategy]` names."""

from collections.abc import Sequence

from msgspec.structs import replace

from fanout.analytics.errors import AnalyticsError
from fanout.cli.analysing.wishes import fit_bytes
from fanout.errors import ConfigError
from fanout.protocol.errors import reason
from fanout.protocol.instrument import Instrument
from fanout.trading.calibrating.calibrated import KEY, calibrated, file_of
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.running.config import PaperConfig


def with_calibrations(
    config: PaperConfig, venue: str, instruments: Sequence[Instrument]
) -> PaperConfig:
    """The configuration with the numbers of the files. They stand in its settings too, under the
    symbol: the file may be another one later. Raises `ConfigError` for a file that cannot be read,
    is no calibration, or is for another instrument, and `LimitsError`."""
    strategies, table = dict(config.strategies), dict(config.settings["strategy"])
    for each in instruments:
        strategy = strategies[each.symbol]
        path = file_of(strategy, config.source)
        if path is None:
            continue
        try:
            fit = Calibration.from_json(fit_bytes(path))
            strategies[each.symbol] = found = calibrated(strategy, fit, venue, each)
        except AnalyticsError as error:
            raise ConfigError(f"{config.source}: strategy.{KEY} = {path}: {error}") from error
        except OSError as error:
            raise ConfigError(
                f"{config.source}: strategy.{KEY}: cannot read {path}: {reason(error)}"
            ) from error
        taken = found.parameters.keys() - strategy.parameters.keys()
        numbers = {name: fit.parameters[name] for name in sorted(taken)}
        table[each.symbol] = {**table.get(each.symbol, {}), **numbers}
    settings = {**config.settings, "strategy": table}
    return replace(config, strategies=strategies, settings=settings)
