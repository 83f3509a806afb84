"""`fanout analytics fit`, from a journal to a file."""

import errno
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from fanout.analytics.fits.linear import LinearFit
from fanout.cli.analysing import fitting
from fanout.cli.analysing.fitting import parse_ns
from fanout.cli.outcome import OutputError
from fanout.errors import UsageError
from fanout.versions import versions
from tests.fanout.cli.analysing.quotes import NS, Market, S
from tests.fanout.cli.processes import at_once

IMBALANCE = "order_book_imbalance"


def fitted(market: Market, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """A linear fit of one second's returns to the imbalance. Options come last, and count."""
    return at_once(
        *("analytics", "fit", "linear", "BTCUSDT", "--from", market.url, "--out", str(out)),
        *("--horizon", "1s", "--columns", IMBALANCE, *options),
    )


def read(out: Path) -> LinearFit:
    return LinearFit.from_json(out.read_bytes(), str(out))


def test_a_relation_in_a_journal_is_found_and_saved(market: Market, out: Path) -> None:
    market.seconds(600)
    result = fitted(market, out)
    assert result.returncode == 0, result.stderr
    fit = read(out)
    assert fit.score.r2 > 2 * fit.score.r2_error > 0
    # The price moves by 0.5·100 ticks of 0.10 for an imbalance of 1: 5 of 100,000.
    slope = fit.coefficients[0] / fit.deviations[0]
    assert slope == pytest.approx(5e-5, abs=3 * fit.errors[0] / fit.deviations[0])
    made = fit.made_from
    assert (made.journal, made.channel, made.epochs_ns) == (market.url, "test", (NS,))
    assert (made.first_ns, made.last_ns, made.rows) == (NS + S, NS + 598 * S, 598)
    assert made.left_out == {"no row at the end of the horizon": 1}
    assert made.fanout == versions()["fanout"]
    assert made.fitted_ns > NS
    assert (fit.made_for.venue, fit.made_for.symbol) == ("test", "BTCUSDT")


def test_the_table_has_both_r_squared_and_what_was_left_out(market: Market, out: Path) -> None:
    market.seconds(300)
    result = fitted(market, out)
    lines = result.stdout.splitlines()
    assert lines[0] == "BTCUSDT at test: return of the mid in 1 s, rows every 1 s"
    assert lines[1] == "298 rows from 2026-11-21T00:00:01.000Z to 2026-11-21T00:04:58.000Z"
    assert lines[2] == "1 rows left out: no row at the end of the horizon"
    assert any(line.startswith(f"{IMBALANCE}  +0.") for line in lines)
    assert sum(line.endswith("R2 OUT OF SAMPLE") for line in lines) == 1
    assert lines[-2].startswith("R2 out of sample 0.")
    assert "Newey-West, over folds ±" in lines[-2]
    assert lines[-1].startswith("R2 in sample 0.")
    assert f"saved to {out}" in result.stderr


def test_json_is_the_fit(market: Market, out: Path) -> None:
    market.seconds(300)
    result = fitted(market, out, "--json", "--folds", "3")
    assert msgspec.json.decode(result.stdout, type=LinearFit) == read(out)
    assert len(read(out).score.folds) == 3


def test_noise_is_saved_and_told_to_be_noise(tmp_path: Path, out: Path) -> None:
    market = Market(tmp_path / "journal", slope=0.0, seed=3).seconds(300)
    result = fitted(market, out)
    assert result.returncode == 0
    assert read(out).score.r2 < read(out).score.r2_in_sample
    assert "a predictor with this fit gives no direction" in result.stderr


def test_holes_and_restarts_are_left_out(market: Market, out: Path) -> None:
    market.seconds(100).blink()
    market.seconds(100)
    market.begin(NS + 1_000 * S)
    market.time_ns = NS + 1_000 * S
    market.seconds(100)
    result = fitted(market, out, "--horizon", "2s")
    assert result.returncode == 0, result.stderr
    made = read(out).made_from
    assert made.epochs_ns == (NS, NS + 1_000 * S)
    assert made.left_out == {
        "mid is absent: LOST": 801,  # while there was no service, and until its first quote
        "a hole within the horizon": 4,  # two rows before the blink, and two before the restart
        "no row at the end of the horizon": 2,
    }
    assert made.rows == 199 + 99 - 6
    assert made.last_ns == NS + 1_097 * S


def test_a_part_of_the_journal_is_fitted(market: Market, out: Path) -> None:
    market.seconds(400)
    result = fitted(market, out, "--start", str(NS + 100 * S), "--to", "2026-11-21T00:05Z")
    assert result.returncode == 0, result.stderr
    made = read(out).made_from
    assert NS + 100 * S <= made.first_ns <= NS + 102 * S
    assert made.last_ns == NS + 298 * S


def test_a_file_that_exists_is_kept_without_force(market: Market, out: Path) -> None:
    market.seconds(300)
    out.write_text("mine")
    result = fitted(market, out)
    assert (result.returncode, out.read_text()) == (2, "mine")
    assert f"{out} exists: --force replaces it" in result.stderr
    assert fitted(market, out, "--force").returncode == 0
    assert read(out).made_from.rows == 298


def test_a_fit_that_fails_leaves_no_file(market: Market, out: Path) -> None:
    market.seconds(30)
    result = fitted(market, out)
    assert result.returncode == 78
    assert "BTCUSDT: 28 rows, and 126 are needed for 1 columns and 5 folds" in result.stderr
    assert "Left out 1: no row at the end of the horizon" in result.stderr
    assert [each.name for each in out.parent.iterdir()] == ["journal"]


@pytest.mark.parametrize("kind", ["linear", "microprice"])
def test_a_folder_that_cannot_be_written_is_told_of_before_the_journal_is_read(
    tmp_path: Path, kind: str
) -> None:
    out, journal = tmp_path / "absent" / "fit.json", f"journal://{tmp_path}/no-journal"
    command = ("analytics", "fit", kind, "BTCUSDT", "--from", journal, "--out", str(out))
    result = at_once(*command)
    assert result.returncode == 1
    assert result.stderr == f"fanout: cannot write {out}: No such file or directory\n"


def test_a_full_disk_leaves_the_old_file(
    market: Market, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    market.seconds(300)
    out.write_text("mine")
    monkeypatch.setattr(os, "fsync", is_full)
    result = fitted(market, out, "--force")
    assert result.returncode == 1
    assert f"cannot write {out}: No space left on device" in result.stderr
    assert out.read_text() == "mine"
    assert sorted(each.name for each in out.parent.iterdir()) == ["fit.json", "journal"]


def test_a_table_that_cannot_be_printed_does_not_hide_that_the_fit_is_saved(
    market: Market, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(line: str) -> None:
        raise OutputError("cannot write: No space left on device")

    market.seconds(300)
    monkeypatch.setattr(fitting, "emit", is_full)
    result = fitted(market, out)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == f"fanout: saved to {out}"
    assert read(out).made_from.rows == 298


def test_features_that_the_journal_cannot_give_are_told_of(market: Market, out: Path) -> None:
    market.seconds(200)
    result = fitted(market, out, "--columns", "liquidity_imbalance_10bps")
    assert result.returncode == 78
    assert "0 rows, and 126 are needed" in result.stderr
    assert "199: liquidity_imbalance_10bps is absent: TOO_SHALLOW" in result.stderr


def test_a_journal_without_prices_is_refused(market: Market, out: Path) -> None:
    market.trades_only()
    result = fitted(market, out)
    assert result.returncode == 78
    assert (
        "has neither books nor quotes, which a fit needs: record with --data book" in result.stderr
    )


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--horizon", "0s"), 2, "--horizon 0s: give a duration like 15s, 5m or 250ms"),
        (("--horizon", "0ms"), 2, "--horizon 0ms: give a duration"),
        (("--every", "soon"), 2, "--every soon: give a duration"),
        (("--horizon", "1500ms"), 2, "a horizon of 1.5 s and rows every 1 s"),
        (("--columns", "ofi"), 2, "no column ofi: there are mid, spread, spread_bps"),
        (("--columns", ""), 2, "columns none: name each once"),
        (("--columns", f"{IMBALANCE},{IMBALANCE}"), 2, "name each once"),
        (("--columns", "vwap_0ms"), 2, "vwap_ms has 0, which is outside of 1 to"),
        (("--columns", "spread"), 78, "spread: the same in all"),
        (("--folds", "1"), 2, "--folds: input should be greater than or equal to 2"),
        (("--start", "live"), 2, "--start live: a fit needs the past"),
        (("--start", "then"), 2, "--start 'then'"),
        (("--to", "then"), 2, "--to 'then': a time like"),
        (("--to", "2020-01-01T00:00Z"), 78, "no record of BTCUSDT there"),
        (("--from", "tcp://127.0.0.1:9000"), 2, "a fit is made from journal://DIR/CHANNEL"),
        (("--from", "journal:///absent"), 1, "there is no folder /absent"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_a_line(
    market: Market, out: Path, options: tuple[str, ...], code: int, why: str
) -> None:
    market.seconds(160)
    result = fitted(market, out, *options)
    assert why in result.stderr
    assert result.returncode == code
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_a_symbol_that_the_journal_lacks_is_refused(market: Market, out: Path) -> None:
    market.seconds(10)
    words = ("analytics", "fit", "linear", "--from", market.url, "--out", str(out))
    absent, several = at_once(*words, "DOGEUSDT"), at_once(*words, "BTCUSDT,ETHUSDT")
    assert (absent.returncode, several.returncode) == (2, 2)
    assert "DOGEUSDT is not served here: BTCUSDT" in absent.stderr
    assert "is not one symbol" in several.stderr


def test_durations_have_milliseconds() -> None:
    assert parse_ns("--every", "250ms") == 250_000_000
    assert parse_ns("--every", "1m30s") == 90 * S
    for text in ("-5ms", "1.5ms", "ms", "5 ms", "\u0665ms", "99999999999ms"):
        with pytest.raises(UsageError, match="--every"):
            parse_ns("--every", text)
