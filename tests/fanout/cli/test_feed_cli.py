"""`fanout ... tcp` and `fanout tail` as processes, at an exchange with faults."""

import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fanout.cli.formats import trade_text
from fanout.protocol import Trade
from tests.fanout.cli.processes import Process, exchange, fanout, started
from tests.protocol.golden import BTC


@contextmanager
def service(*options: str, **extra: str) -> Iterator[Process]:
    with started(*options, "tcp", "--port", "0", **extra) as process:
        yield process


def skip_three(process: Process, options: tuple[str, ...]) -> None:
    """Have the exchange leave out three ids, once a trade of theirs has come."""
    process.until_said("BTCUSDT is LIVE")
    rest_url = options[options.index("--rest-url") + 1]
    url = f"{rest_url}/control/skip?symbol=BTCUSDT&count=3"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10):
        pass


def test_the_log_reports_gaps_and_their_outcome() -> None:
    with exchange() as options, service(*options) as process:
        skip_three(process, options)
        assert "are missing: not in the stream" in process.until_said("missing")
        process.until_said("are back-filled")
        assert process.end(signal.SIGTERM) == 143
    assert re.search(r"the venue's clock less ours: [+-]\d+\.\d ms, give", process.said[-1])
    (total,) = [each for each in process.said[-1].splitlines() if "in their turn" in each]
    # Now and then one of them is an id that the exchange spent without a trade.
    found = re.search(r"3 ids did .*: (\d) back-filled, (\d) no trades, 0 lost$", total)
    assert found
    assert int(found[1]) + int(found[2]) == 3


@pytest.mark.long
def test_a_silent_symbol_ends_a_strict_service_with_69_or_falls_back_to_aggregates() -> None:
    wait = ("--first-trade-timeout", "1")
    with exchange("silence BTCUSDT trade") as options:
        done = fanout(*options, *wait, "--stream", "trade", "--strict", "tcp", "--port", "0")
        assert done.returncode == 69
        assert "fanout: BTCUSDT: no trade within 1 s; REST has" in done.stderr
        assert "Traceback" not in done.stderr
        with service(*options, *wait) as process:
            line = process.until_said("BTCUSDT: taking aggTrade instead of trade")
            assert "the trade stream is silent" in line
            process.until_said("BTCUSDT is LIVE: first trade")
            assert process.end(signal.SIGINT) == 130


@pytest.mark.parametrize("status", ["451", "403"])
def test_an_exchange_that_refuses_this_region_at_the_start_exits_77(status: str) -> None:
    with exchange(f"http {status} /public requests=null") as options:
        done = fanout(*options, "tcp", "--port", "0")
    assert done.returncode == 77
    assert f"HTTP {status}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_never_shown() -> None:
    key = "NotForAnybodysEyes"
    with (
        exchange() as options,
        service(*options, FANOUT_BINANCE_API_KEY=key) as process,
    ):
        skip_three(process, options)
        process.until_said("are back-filled")
        process.end(signal.SIGTERM)
    assert key not in "".join(process.said)


def test_a_back_filled_trade_is_marked() -> None:
    trade = Trade(BTC, 7, 1_791_382_992_338, 8_309_170, 22, False, back_filled=True)
    assert trade_text(trade).endswith("#7  back-filled")


def test_the_start_waits_for_the_end_of_a_ban_only_with_the_option() -> None:
    ban = "http status=418 banned_for_s=2 requests=1"
    with exchange(ban) as options:
        done = fanout(*options, "tcp", "--port", "0")
        assert done.returncode == 75
    with exchange(ban) as options, service(*options, "--patient") as process:
        process.until_said("asking again in")
        process.until_said("serving BTCUSDT, ETHUSDT")
