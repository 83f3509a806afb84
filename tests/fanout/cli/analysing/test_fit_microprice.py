"""`fanout analytics fit microprice`, from a journal to a file."""

import subprocess
from pathlib import Path

import pytest

from fanout.analytics.features.stoikov import MicropriceFit
from tests.fanout.cli.analysing.quotes import NS, Market, S
from tests.fanout.cli.processes import at_once


def fitted(market: Market, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """A microprice of one spread and two halves of the imbalance. Options come last, and count."""
    return at_once(
        *("analytics", "fit", "microprice", "BTCUSDT", "--from", market.url, "--out", str(out)),
        *("--spreads", "1", "--buckets", "2", *options),
    )


def test_the_heavier_side_pulls_the_microprice(market: Market, out: Path) -> None:
    market.seconds(600)
    result = fitted(market, out)
    assert result.returncode == 0, result.stderr
    fit = MicropriceFit.from_json(out.read_bytes())
    below, above = fit.ticks[0]
    assert below is not None
    assert above is not None
    # An imbalance moves the mid by 50 ticks, so its halves by 25 on the mean, with an error of 4.
    assert above == pytest.approx(25, abs=12)
    assert below == pytest.approx(-above)
    assert (fit.symbol, fit.venue, fit.epochs_ns) == ("BTCUSDT", "test", (NS,))
    assert fit.observations == 599
    assert fit.fitted_ns > fit.last_ns > NS


def test_the_table_has_a_row_for_each_part_of_the_imbalance(market: Market, out: Path) -> None:
    market.seconds(50)
    lines = fitted(market, out, "--buckets", "4", "--spreads", "2").stdout.splitlines()
    assert lines[0] == "BTCUSDT at test: microprice above the mid, in ticks"
    assert lines[1].startswith("49 changes of the best prices and quantities from 2026-11-21T00:00")
    assert lines[3] == "IMBALANCE     SPREAD 1  SPREAD 2 or more"
    assert [each.split("  ")[0] for each in lines[4:]] == [
        "0.00 to 0.25",
        "0.25 to 0.50",
        "0.50 to 0.75",
        "0.75 to 1.00",
    ]
    assert all(each.endswith(" -") for each in lines[4:])  # the spread is always one tick


def test_json_is_the_fit(market: Market, out: Path) -> None:
    market.seconds(50)
    result = fitted(market, out, "--json")
    printed = MicropriceFit.from_json(result.stdout.encode())
    assert printed == MicropriceFit.from_json(out.read_bytes())
    assert f"saved to {out}" in result.stderr


def test_a_tick_can_be_given(market: Market, out: Path) -> None:
    market.seconds(50)
    assert fitted(market, out, "--tick", "0.05", "--spreads", "2").returncode == 0
    fit = MicropriceFit.from_json(out.read_bytes())
    assert fit.tick == 5
    assert fit.ticks[0] == (None, None)  # the spread is always 0.10


def test_a_part_of_the_journal_is_fitted(market: Market, out: Path) -> None:
    market.seconds(50)
    assert fitted(market, out, "--to", "2026-11-21T00:00:20Z").returncode == 0
    fit = MicropriceFit.from_json(out.read_bytes())
    assert (fit.observations, fit.last_ns) == (19, NS + 19 * S + 5_000_000)


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--spreads", "0"), 2, "0 spreads and 2 buckets: at least 1 and 2"),
        (("--buckets", "1000"), 2, "at most 100 states"),
        (("--tick", "0.001"), 2, "--tick: '0.001' has digits below 10**-2"),
        (("--tick", "0"), 2, "--tick 0: give a price above 0"),
        (("--tick", "-0.1"), 2, "--tick -0.1: give a price above 0"),
        (("--tick", "tiny"), 2, "--tick: 'tiny' is not a decimal number"),
        (("--to", "2020-01-01T00:00Z"), 78, "no record of BTCUSDT there"),
        (("--to", "2026-11-21T00:00:00.500Z"), 78, "has no change of its best prices"),
        (("--from", "tcp://127.0.0.1:9000"), 2, "a fit is made from journal://DIR/CHANNEL"),
        (("--from", "journal:///absent", "--tick", "1"), 1, "there is no folder /absent"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_a_line(
    market: Market, out: Path, options: tuple[str, ...], code: int, why: str
) -> None:
    market.seconds(20)
    result = fitted(market, out, *options)
    assert why in result.stderr
    assert (result.returncode, result.stderr.count("\n")) == (code, 1)
    assert not out.exists()


def test_a_symbol_that_the_journal_lacks_is_refused(market: Market, out: Path) -> None:
    market.seconds(5)
    words = ("analytics", "fit", "microprice", "DOGE", "--from", market.url, "--out", str(out))
    for options in ((), ("--tick", "1")):
        result = at_once(*words, *options)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert "DOGE is not served here: BTCUSDT" in result.stderr


def test_a_file_that_exists_is_kept_without_force(market: Market, out: Path) -> None:
    market.seconds(50)
    out.write_text("mine")
    assert (fitted(market, out).returncode, out.read_text()) == (2, "mine")
    assert fitted(market, out, "--force").returncode == 0
    assert MicropriceFit.from_json(out.read_bytes()).symbol == "BTCUSDT"


def test_a_journal_without_prices_is_refused(market: Market, out: Path) -> None:
    result = fitted(market.trades_only(), out)
    assert result.returncode == 78
    assert "has neither books nor quotes" in result.stderr
