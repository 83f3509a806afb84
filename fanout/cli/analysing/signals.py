"""Reads the files of the signals of a run."""

from msgspec.structs import replace

from fanout.analytics.consumer.config import ConsumerConfig
from fanout.analytics.consumer.signal_table import SignalConfig
from fanout.analytics.errors import AnalyticsError
from fanout.analytics.fits.linear import LinearFit
from fanout.analytics.signals.signal_plan import SignalPlan, settings_for_fits
from fanout.cli.analysing.wishes import fit_bytes
from fanout.cli.outcome import say
from fanout.errors import ConfigError
from fanout.protocol.errors import reason


def planned(config: ConsumerConfig) -> tuple[ConsumerConfig, SignalPlan]:
    """The configuration, with the columns that fits need, and its signals. Raises `ConfigError`."""
    try:
        fits = {each.name: _read(each) for each in config.signals if each.fit}
        settings = settings_for_fits(config.signals, config.features, fits)
        plan = SignalPlan(config.signals, settings, fits, tell=say)
    except AnalyticsError as error:
        raise ConfigError(str(error)) from error
    added = [each for each in settings.columns if each not in config.features.columns]
    if added:
        say(f"{', '.join(added)}: added to the features, since fits of signals need them")
    return replace(config, features=settings), plan


def _read(signal: SignalConfig) -> LinearFit:
    try:
        return LinearFit.from_json(fit_bytes(signal.fit), signal.fit)
    except OSError as error:
        raise signal.fault(f"cannot read it: {reason(error)}", "fit", signal.fit) from error
    except AnalyticsError as error:
        raise signal.fault(str(error)) from error
