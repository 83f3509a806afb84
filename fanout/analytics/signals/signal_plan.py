"""From the tables `[[signal]]` and the files of fits to the models of each instrument.

Whatever can be refused is refused before the first record: an option that a model does not take, a
column that the rows do not have, a fit for other features. An instrument is known once the header
of its stream has come, so a fit in other units is refused then. After that, nothing that one signal
cannot do ends the others.

Models may remember what they have seen, so each instrument has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_FLOOR
from typing import TYPE_CHECKING, Final

from fanout.analytics.consumer.consumer import Features
from fanout.analytics.consumer.durations import duration_text
from fanout.analytics.consumer.roster import Need
from fanout.analytics.consumer.signal_table import (
    COMBINATION,
    LINEAR,
    THRESHOLD,
    SignalConfig,
    SizeConfig,
    ordered,
)
from fanout.analytics.errors import AnalyticsError
from fanout.analytics.features.column import Column
from fanout.analytics.features.derived import settings_with
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.made import MadeFor, require_made_for, require_settings
from fanout.analytics.fits.samples import HORIZON_NS
from fanout.analytics.signals.loading import load_model
from fanout.analytics.signals.models import (
    Combination,
    LinearPredictor,
    OrderFlowThreshold,
    Signal,
    SignalModel,
)
from fanout.analytics.signals.signalled import (
    InstrumentSignals,
    Part,
    SignalledFeatures,
    Sizing,
    columns_of,
)
from fanout.analytics.signals.sizing import PositionSize
from fanout.protocol.constants import MAX_COLUMNS
from fanout.protocol.errors import FanoutError
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header

if TYPE_CHECKING:
    from fanout.analytics.fits.linear import LinearFit

Fits = Mapping[str, "LinearFit"]
"""Fits by the names of their signals."""

MOST_TOLD: Final = 8
"""Failures of models that are told of. A model may fail for each of 2,048 instruments."""


def settings_for_fits(
    signals: Sequence[SignalConfig], settings: FeatureSettings, fits: Fits
) -> FeatureSettings:
    """The settings with the columns that the fits need. Raises `ConsumerConfigError` for a fit that
    was made with other features than these can have."""
    for each in signals:
        fit = fits.get(each.name)
        if fit is not None:
            try:
                settings = settings_with(fit.columns, settings)
                require_settings(fit.settings, settings, fit.columns)
            except AnalyticsError as error:
                raise each.fault(str(error), "fit", each.fit) from error
    return settings


class SignalPlan:
    """The signals of a consumer. `columns` are the names of theirs, behind those of the features,
    and `needs` the instruments that they are for."""

    def __init__(
        self,
        signals: Sequence[SignalConfig],
        settings: FeatureSettings,
        fits: Fits,
        *,
        tell: Callable[[str], None],
    ) -> None:
        """`settings` have the columns of the fits: see `settings_for_fits`. `tell` gets a line for
        a model that fails. Raises `ConsumerConfigError`."""
        self._signals = tuple(signals)
        self._order = ordered(signals)
        self._names = settings.columns
        self._fits = fits
        self._tell = tell
        self.failures = 0
        """Models that failed: of a signal, for an instrument."""
        self.columns = tuple(
            name
            for each in signals
            for name in columns_of(each.name, has_size=each.size is not None)
        )
        self.needs = tuple(self._need(each) for each in signals if self._is_for_some(each))
        for each in signals:
            self._check(each)
        count = len(self._names) + len(self.columns)
        if count > MAX_COLUMNS:
            raise signals[-1].fault(
                f"{count:,} columns with those of the signals: at most {MAX_COLUMNS}"
            )

    def over(self, features: Features, header: Header, symbols: Sequence[str]) -> SignalledFeatures:
        """The features of a stream with the signals of its symbols. Raises `ConsumerConfigError`
        for a fit in other units than an instrument's. If the venue changes them later, the signal
        fails for this instrument, and the others go on."""
        has_begun = False

        def make(instrument: Instrument) -> InstrumentSignals:
            return self._signals_of(header.venue, instrument, refuses=not has_begun)

        signalled = SignalledFeatures(features, make)
        for each in header.instruments:
            if each.symbol in symbols:
                signalled.signals(each)
        has_begun = True
        return signalled

    def _is_for_some(self, config: SignalConfig) -> bool:
        return bool(config.symbol or config.venue or config.fit)

    def _need(self, config: SignalConfig) -> Need:
        fit = self._fits.get(config.name)
        if fit is not None:
            return Need(config.fit, fit.made_for.venue, fit.made_for.symbol)
        return Need(f"signal {config.name}", config.venue, config.symbol)

    def _check(self, config: SignalConfig) -> None:
        column = config.options.get("column") if config.model == THRESHOLD else None
        if column is not None:
            self._require_column(config, "column", column)
        if config.size is not None:
            self._require_column(config, "size.volatility", config.size.volatility)
        fit = self._fits.get(config.name)
        if fit is not None:
            _check_fit(config, fit)
        if config.model != COMBINATION:
            try:
                self._model(config)
            except FanoutError as error:
                raise config.fault(str(error)) from error

    def _require_column(self, config: SignalConfig, key: str, column: str) -> None:
        if column not in self._names:
            there = ", ".join(self._names)
            raise config.fault(
                f"no column of these features: add it to [features], or take one of {there}",
                key,
                column,
            )

    def _model(self, config: SignalConfig) -> SignalModel:
        """A model other than a combination."""
        if config.model == THRESHOLD:
            return OrderFlowThreshold(self._names, **config.options)
        if config.model == LINEAR:
            return LinearPredictor(self._names, self._fits[config.name], **config.options)
        return load_model(config.model, self._names, config.options)

    def _signals_of(
        self, venue: str, instrument: Instrument, *, refuses: bool
    ) -> InstrumentSignals:
        """The signals of an instrument. A model that cannot be made is refused, or fails."""
        parts: dict[str, Part] = {}
        for each in self._order:
            model: SignalModel | None
            try:
                model = self._model_for(each, venue, instrument, parts)
            except FanoutError as error:
                if refuses:
                    words = f"{venue} {instrument.symbol}: {error}"
                    raise each.fault(words) from error
                model = _Failing(error)
            parts[each.name] = self._part(each, venue, instrument, model)
        return InstrumentSignals([parts[each.name] for each in self._signals], [*parts.values()])

    def _part(
        self, config: SignalConfig, venue: str, instrument: Instrument, model: SignalModel | None
    ) -> Part:
        width = len(columns_of(config.name, has_size=config.size is not None))

        def fail(why: str) -> None:
            self._failed(f"signal {config.name} of {venue} {instrument.symbol}: {why}")

        sizing = None
        if config.size is not None:
            sizing = self._sizing(config, config.size, instrument)
        return Part(config.name, model, width, fail, sizing)

    def _model_for(
        self, config: SignalConfig, venue: str, instrument: Instrument, parts: Mapping[str, Part]
    ) -> SignalModel | None:
        """The model of an instrument; None if the signal is not for it. A combination is for an
        instrument that at least one of its parts is for, and leaves the others out."""
        if not self._need(config).is_met_by(venue, instrument.symbol):
            return None
        if config.model == COMBINATION:
            some = [parts[name] for name in config.of if parts[name].is_for]
            return Combination(some, **config.options) if some else None
        if config.model == LINEAR:
            require_made_for(self._fits[config.name].made_for, MadeFor.of(venue, instrument))
        return self._model(config)

    def _sizing(self, config: SignalConfig, size: SizeConfig, instrument: Instrument) -> Sizing:
        fit = self._fits.get(config.name)
        units = size.max_quantity.scaleb(-instrument.quantity_exponent)
        return Sizing(
            PositionSize(
                instrument=instrument,
                risk_budget=size.risk_budget,
                max_quantity=int(units.to_integral_value(ROUND_FLOOR)),
                horizon_ns=size.horizon_ns or (fit.horizon_ns if fit is not None else HORIZON_NS),
            ),
            Column(self._names, "mid"),
            Column(self._names, size.volatility),
        )

    def _failed(self, words: str) -> None:
        self.failures += 1
        if self.failures <= MOST_TOLD:
            more = "; more failures are not told" if self.failures == MOST_TOLD else ""
            self._tell(f"{words}: it is absent from now on{more}")


class _Failing:
    """In the place of a model that cannot be made."""

    def __init__(self, error: FanoutError) -> None:
        self._error = error

    def signal(self, row: FeatureRow) -> Signal:
        raise self._error


def _check_fit(config: SignalConfig, fit: LinearFit) -> None:
    """Refuse a fit for something else than the table says."""
    if config.horizon_ns is not None and config.horizon_ns != fit.horizon_ns:
        predicted = f"{config.fit} predicts over {duration_text(fit.horizon_ns)}"
        raise config.fault(predicted, "horizon", duration_text(config.horizon_ns))
    made_for = fit.made_for
    for key, wanted, its in (
        ("symbol", config.symbol, made_for.symbol),
        ("venue", config.venue, made_for.venue),
    ):
        if wanted and wanted != its:
            words = f"{config.fit} is for {made_for.venue} {made_for.symbol}: fit one for each"
            raise config.fault(words, key, wanted)
