"""`fanout symbols`: the listing of a venue."""

import json
import os
import subprocess
from collections.abc import Callable
from unittest import mock

import pytest

from fanout import service
from fanout.cli.symbols import matching
from fanout.errors import ConfigError
from fanout.protocol.constants import InstrumentType
from fanout.venues import Listing
from fanout.venues.values import Listed
from tests.fanout.cli.processes import FANOUT, TIMEOUT_S, at_once, environment


def row(symbol: str, **changes: object) -> Listed:
    units = {"price_exponent": -2, "quantity_exponent": 0, "time_exponent": -3}
    return Listed(symbol=symbol, **{**units, **changes})  # type: ignore[arg-type]


LISTING = Listing(
    "toy",
    {
        each.symbol: each
        for each in (
            row("SPOT", tick=5, lot=10, base="BTC", quote="USDT", type=InstrumentType.SPOT),
            row(
                "INVERSE",
                base="BTC",
                quote="USD",
                type=InstrumentType.INVERSE_FUTURE,
                contract_mantissa=100,
            ),
            row("BARE", fault="does not trade at toy now: status BREAK"),
        )
    },
    {"ODD": "no tick"},
)


async def toy(*_: object) -> Listing:
    return LISTING


def listed(*arguments: str, fetch: Callable[..., object] = toy) -> subprocess.CompletedProcess[str]:
    with mock.patch.object(service, "fetch_listing", fetch):
        return at_once("symbols", "binance", *arguments)


def test_symbols_are_listed_with_their_terms_and_faults() -> None:
    done = listed()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "SYMBOL   TYPE            BASE  QUOTE  TICK  LOT  CONTRACT",
        (
            "BARE     other           -     -      -     -    1         does not trade at toy now: "
            "status BREAK"
        ),
        "INVERSE  inverse-future  BTC   USD    -     -    100 USD",
        "ODD      -               -     -      -     -    -         cannot be read: no tick",
        "SPOT     spot            BTC   USDT   0.05  10   1 BTC",
    ]


def test_symbols_are_objects_a_line_for_programs() -> None:
    assert [json.loads(each) for each in listed("--json", "*O*").stdout.splitlines()] == [
        {
            "symbol": "ODD",
            "fault": "cannot be read: no tick",
            **dict.fromkeys(("type", "base", "quote", "tick", "lot", "contract", "contract_of")),
        },
        {
            "symbol": "SPOT",
            "fault": None,
            "type": "spot",
            "base": "BTC",
            "quote": "USDT",
            "tick": "0.05",
            "lot": "10",
            "contract": "1",
            "contract_of": "BTC",
        },
    ]


@pytest.mark.parametrize(
    ("pattern", "symbols"),
    [
        ("all", ["BARE", "INVERSE", "ODD", "SPOT"]),
        ("spot", ["SPOT"]),
        ("odd", ["ODD"]),
        ("[s-z]*", ["SPOT"]),
    ],
)
def test_a_pattern_is_spelled_as_the_venue_spells_it(pattern: str, symbols: list[str]) -> None:
    lines = listed(pattern, "--json").stdout.splitlines()
    assert [json.loads(each)["symbol"] for each in lines] == symbols


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("X*", r"X\* matches none of the 4 symbols at toy: check the pattern"),
        ("SPOTX", "SPOTX is not listed at toy: did you mean SPOT?"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        matching(LISTING, pattern)
    done = listed(pattern)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)


def test_ctrl_c_ends_it_with_130() -> None:
    async def interrupted(*_: object) -> Listing:
        raise KeyboardInterrupt

    done = listed(fetch=interrupted)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nyse",), 2, "fanout: symbols: unknown venue 'nyse': binance, binance-spot"),
        (("binance", "BTC/USDT"), 2, "'BTC/USDT' cannot be a symbol of Binance"),
        (("binance", "--rest-url", "ftp://h"), 2, "--rest-url 'ftp://h'"),
        (("binance", "--rest-url", "http://127.0.0.1:1"), 69, "exchangeInfo cannot be reached: "),
    ],
)
def test_what_cannot_be_listed_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.setattr("fanout.cli.symbols.ATTEMPTS", 1)
    done = at_once("symbols", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_reader_of_the_list_may_leave_and_a_simulator_is_listed_too() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [*FANOUT, "symbols", "sim"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, b"")
    listed = at_once("symbols", "sim", "btcusdt").stdout.splitlines()
    assert [each.split()[0] for each in listed] == ["SYMBOL", "BTCUSDT"]
