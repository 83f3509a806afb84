"""Makes a calibration of a journal, writes its file in one step, and shows it."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import msgspec

from fanout.analytics.errors import FitError
from fanout.cli.analysing.fitting import parse_ns
from fanout.cli.analysing.reading import Reading
from fanout.cli.columns import aligned
from fanout.cli.figures import span
from fanout.cli.outcome import emit, say
from fanout.cli.saving.aside import writing
from fanout.config.moment import moment_text
from fanout.errors import ConfigError, UsageError
from fanout.protocol.constants import DataKinds
from fanout.trading.calibrating.arrivals import Arrivals
from fanout.trading.calibrating.calibration import Calibration
from fanout.trading.calibrating.intensity import calibrate

_BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER

_UNLIKELY: Final = 0.01
"""A fit with a smaller probability is told to be a rough one."""


def fit_intensity(
    reading: Reading,
    out: Path | None,
    *,
    horizon: str,
    nearest: str | None,
    farthest: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Fit, write and show. Raises `UsageError` for what was typed, and `ConfigError` for a journal
    that has too little."""
    horizon_ns = parse_ns("--horizon", horizon)
    first = _distance(reading, "--nearest", nearest)
    last = _distance(reading, "--farthest", farthest)
    if first is not None and last is not None and first >= last:
        raise UsageError(f"--nearest {nearest} is not below --farthest {farthest}")
    with nullcontext() if out is None else writing(out, force=force) as aside:
        made = _fitted(reading, horizon_ns, first, last)
        if aside is not None:
            aside.write(made.to_json())
            aside.complete(force=force)
    if out is not None:
        say(f"saved to {out}")  # before the table, whose output may fail
    for line in [msgspec.json.encode(made).decode()] if as_json else show(made):
        emit(line)
    if made.probability is not None and made.probability < _UNLIKELY:
        say(
            "the intensity is not exponential over these distances, by chi-square: the fit is a "
            "summary; a narrower range may fit better (--nearest, --farthest)"
        )


def _distance(reading: Reading, flag: str, text: str | None) -> int | None:
    """A distance in half units of the price."""
    return None if text is None else 2 * reading.price_of(flag, text)


def _fitted(
    reading: Reading, horizon_ns: int, nearest: int | None, farthest: int | None
) -> Calibration:
    arrivals = Arrivals(reading.symbol, horizon_ns)
    for record in reading:
        arrivals.take(record)
    arrivals.end()
    if not reading.data & DataKinds.TRADES or not reading.data & _BOOKS:
        raise ConfigError(
            f"{reading.origin.journal}: channel {reading.origin.channel} needs trades and books: "
            "record with --data trades,book"
        )
    try:
        return calibrate(
            arrivals,
            made_for=reading.made_for,
            origin=reading.origin,
            nearest=nearest,
            farthest=farthest,
        )
    except FitError as error:
        reasons = "; ".join(f"{count:,} {why}" for why, count in (+arrivals.left_out).items())
        left_out = f". Left out: {reasons}" if reasons else ""
        raise ConfigError(f"{reading.symbol}: {error}{left_out}") from error


def show(fit: Calibration) -> Iterator[str]:
    """The fit for people."""
    made = fit.made_from
    yield (
        f"{fit.made_for.symbol} at {fit.made_for.venue}: {made.rows:,} taker orders in "
        f"{span(fit.observed_s)}, from {moment_text(made.first_ns)} to {moment_text(made.last_ns)}"
    )
    for why, count in made.left_out.items():
        yield f"{count:,} left out: {why}"
    yield ""
    yield from aligned(
        [
            ("", "VALUE", "ERROR", "UNIT"),
            ("A", f"{fit.a:.6g}", f"{fit.a_error:.2g}", "hits per second and side"),
            ("k", f"{fit.k:.6g}", f"{fit.k_error:.2g}", "per unit of the price"),
            (
                "sigma",
                f"{fit.sigma:.6g}",
                f"{fit.sigma_error:.2g}",
                f"price per sqrt(second), moves over {fit.sigma_horizon_ns / 1e9:g} s",
            ),
        ]
    )
    yield ""
    yield from aligned([("DISTANCE", "ORDERS", "HITS PER SECOND", "BY THE FIT"), *_levels(fit)])
    yield ""
    chance = "" if fit.probability is None else f", probability {fit.probability:.2g}"
    yield f"chi-square {fit.chi_square:.4g} with {fit.freedom} degrees of freedom{chance}"
    yield (
        f"errors if orders came independently: A {fit.a_error_poisson:.2g}, "
        f"k {fit.k_error_poisson:.2g}"
    )
    yield (
        f"at the touch {fit.touch_per_second:.4g} hits per second and side, with a mean spread of "
        f"{fit.spread:.4g}"
    )


def _levels(fit: Calibration) -> Iterator[tuple[str, ...]]:
    for each in fit.levels:
        yield (
            f"{each.distance:g}",
            f"{each.orders:,}",
            f"{each.per_second:.4g}",
            f"{each.fitted:.4g}",
        )
