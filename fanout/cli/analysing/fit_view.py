"""A fit for people: lines of text."""

from collections.abc import Iterator

from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.fits.linear import LinearFit
from fanout.analytics.fits.walk_forward import Score
from fanout.cli.columns import aligned
from fanout.config.moment import moment_text


def show_linear(fit: LinearFit) -> Iterator[str]:
    """The fit, its score and what it was made from."""
    made = fit.made_from
    yield (
        f"{fit.made_for.symbol} at {fit.made_for.venue}: return of the mid in "
        f"{fit.horizon_ns / 1e9:g} s, rows every {fit.every_ns / 1e9:g} s"
    )
    yield f"{made.rows:,} rows from {moment_text(made.first_ns)} to {moment_text(made.last_ns)}"
    for why, count in sorted(made.left_out.items(), key=lambda each: -each[1]):
        yield f"{count:,} rows left out: {why}"
    yield ""
    yield from aligned([("COLUMN", "BPS PER DEVIATION", "ERROR", "MEAN", "DEVIATION"), *_rows(fit)])
    yield ""
    yield from _score(fit.score)


def show_microprice(fit: MicropriceFit) -> Iterator[str]:
    """What the microprice is above the mid, for each spread and part of the imbalance."""
    yield f"{fit.symbol} at {fit.venue}: microprice above the mid, in ticks"
    yield (
        f"{fit.observations:,} changes of the best prices and quantities from "
        f"{moment_text(fit.first_ns)} to {moment_text(fit.last_ns)}"
    )
    yield ""
    rows, buckets = len(fit.ticks), len(fit.ticks[0])
    spreads = [f"{each}{' or more' if each == rows else ''}" for each in range(1, rows + 1)]
    cells = [[f"{at / buckets:.2f} to {(at + 1) / buckets:.2f}"] for at in range(buckets)]
    for at, cell in enumerate(cells):
        cell += ["-" if row[at] is None else f"{row[at]:+.4f}" for row in fit.ticks]
    yield from aligned([("IMBALANCE", *(f"SPREAD {each}" for each in spreads)), *cells])


def _rows(fit: LinearFit) -> Iterator[tuple[str, ...]]:
    of_columns = zip(
        fit.columns, fit.coefficients, fit.errors, fit.means, fit.deviations, strict=True
    )
    for name, coefficient, error, mean, deviation in of_columns:
        yield (
            name,
            f"{coefficient * 1e4:+.4f}",
            f"{error * 1e4:.4f}",
            f"{mean:.6g}",
            f"{deviation:.6g}",
        )


def _score(score: Score) -> Iterator[str]:
    rows = [("FOLD", "FITTED ON", "TESTED ON", "FROM", "R2 OUT OF SAMPLE")]
    for number, fold in enumerate(score.folds, 1):
        rows.append(
            (
                str(number),
                f"{fold.fit_rows:,}",
                f"{fold.test_rows:,}",
                moment_text(fold.first_ns),
                "-" if fold.r2 is None else f"{fold.r2:.4f}",
            )
        )
    yield from aligned(rows)
    yield ""
    spread = "" if score.r2_folds_error is None else f", over folds ± {score.r2_folds_error:.4f}"
    yield f"R2 out of sample {score.told} (Newey-West{spread})"
    yield f"R2 in sample {score.r2_in_sample:.4f}"
