"""Makes a fit of a journal, writes its file in one step, and shows it."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fanout.analytics.errors import AnalyticsError, FitError
from fanout.analytics.features.derived import settings_for
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.features.stream import StreamFeatures
from fanout.analytics.fits.linear import fit_linear
from fanout.analytics.fits.samples import Samples
from fanout.analytics.fits.stoikov_fit import MicropriceEstimator
from fanout.cli.analysing.fit_view import show_linear, show_microprice
from fanout.cli.analysing.reading import Reading, is_hole
from fanout.cli.outcome import emit, say
from fanout.cli.saving.aside import writing
from fanout.config.assets import split_words
from fanout.config.duration import parse_duration
from fanout.errors import ConfigError, UsageError, shown

DEFAULT_COLUMNS: Final = (
    "order_book_imbalance",
    "liquidity_imbalance_10bps",
    "order_flow_imbalance_1000ms",
)


def fit_line(
    reading: Reading,
    out: Path,
    *,
    horizon: str,
    every: str,
    columns: str | None,
    folds: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make a linear fit, write it and show it. Raises `UsageError` for what was typed, and
    `ConfigError` for a journal that has too little."""
    with _usage():
        names = split_words([columns]) if columns is not None else DEFAULT_COLUMNS
        settings = settings_for(names)
        samples = Samples(
            settings.columns,
            names,
            horizon_ns=parse_ns("--horizon", horizon),
            every_ns=parse_ns("--every", every),
        )
    with writing(out, force=force) as aside:
        _collect(reading, settings, samples)
        try:
            made = fit_linear(
                samples,
                settings=settings,
                made_for=reading.made_for,
                origin=reading.origin,
                folds=folds,
            )
        except FitError as error:
            raise ConfigError(f"{reading.symbol}: {error}{_left_out(samples)}") from error
        aside.write(made.to_json())
        aside.complete(force=force)
    say(f"saved to {out}")  # before the table, whose output may fail
    _emit([msgspec.json.encode(made).decode()] if as_json else show_linear(made))
    if not made.confidence:
        say("R2 out of sample is not above 0: a predictor with this fit gives no direction")


def fit_microprice(
    reading: Reading,
    out: Path,
    *,
    spreads: int,
    buckets: int,
    tick: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Estimate a microprice, write it and show it. Raises as `fit_line`."""
    with _usage():
        size = None if tick is None else reading.price_of("--tick", tick)
        estimator = MicropriceEstimator(reading.symbol, spreads=spreads, buckets=buckets, tick=size)
    with writing(out, force=force) as aside:
        made = _estimated(reading, estimator)
        aside.write(made.to_json())
        aside.complete(force=force)
    say(f"saved to {out}")  # before the table, whose output may fail
    _emit([msgspec.json.encode(made).decode()] if as_json else show_microprice(made))


def _estimated(reading: Reading, estimator: MicropriceEstimator) -> MicropriceFit:
    try:
        for record in reading:
            estimator.take(record)
        origin = reading.origin
        return estimator.fit(
            venue=reading.made_for.venue, epochs_ns=origin.epochs_ns, fitted_ns=origin.fitted_ns
        )
    except FitError as error:
        raise ConfigError(f"{reading.symbol}: {error}") from error


def parse_ns(flag: str, text: str) -> int:
    """Nanoseconds from a duration such as `15s`, `1m30s` or `250ms`. Raises `UsageError`."""
    milliseconds = re.fullmatch("([0-9]{1,9})ms", text.strip())
    try:
        if milliseconds is not None and int(milliseconds[1]):
            return int(milliseconds[1]) * 1_000_000
        return parse_duration(text) * 1_000_000_000
    except UsageError as error:
        raise UsageError(f"{flag} {shown(text)}: give a duration like 15s, 5m or 250ms") from error


def _collect(reading: Reading, settings: FeatureSettings, samples: Samples) -> None:
    stream = StreamFeatures(settings, symbols=[reading.symbol], every_ns=samples.every_ns)
    for record in reading:
        for row in stream.take(record):
            samples.add(row)
        if is_hole(record):
            samples.hole()
    samples.end()


@contextmanager
def _usage() -> Iterator[None]:
    """What the command line has that cannot be."""
    try:
        yield
    except AnalyticsError as error:
        raise UsageError(str(error)) from error


def _left_out(samples: Samples) -> str:
    """Why rows were left out, most first."""
    reasons = [f"{count:,}: {why}" for why, count in samples.left_out.most_common(3)]
    return f". Left out {'; '.join(reasons)}" if reasons else ""


def _emit(lines: Iterable[str]) -> None:
    for line in lines:
        emit(line)
