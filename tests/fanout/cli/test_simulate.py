"""`fanout simulate`: its help, its faults, and the arguments that it refuses."""

import json
import re
import signal
import urllib.error
import urllib.request
from typing import Any

import pytest

from fanout.config import simulate
from fanout.simulator.dialects import DEFAULT, DIALECTS
from fanout.simulator.faults import FAULTS, ConnectionFault
from tests.fanout.cli.processes import at_once, started

ELSEWHERE = {*ConnectionFault.__struct_fields__, "data"}
"""Fields that the help tells of once for all, or that no word can fill."""


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_help_lists_every_fault_with_its_fields_in_their_order(columns: str) -> None:
    words = at_once("simulate", "--help", COLUMNS=columns).stdout
    for name, kind in FAULTS.items():
        entry = re.search(rf"^ +{name} +(.+?)(?=^ +[a-z]+  |^ *$)", words, re.DOTALL | re.MULTILINE)
        assert entry is not None, f"{name} is not listed"
        named = re.sub(r"\(.*?\)", "", entry[1]).partition(":")[0]
        fields = [field for field in kind.__struct_fields__ if field not in ELSEWHERE]
        assert re.findall(r"[a-z_]+", named) == fields, name


def test_the_help_fits_80_columns() -> None:
    lines = at_once("simulate", "--help", COLUMNS="80").stdout.splitlines()
    assert "   curl http://127.0.0.1:9500/control   connections, faults, usage" in [
        line.rstrip() for line in lines
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("dorp", "'dorp': there is no fault 'dorp'; there are drop, "),
        ("drop sideways", "'drop sideways': fault drop: how is 'sideways'; give close, cut, "),
        ("drop every now", "'now' is no duration"),
        ("skip NOSUCHUSDT", "the simulator has no symbol NOSUCHUSDT; choose from BTCUSDT, "),
        ("http", "give a status, delay_s, rows, body or sent_bytes"),
        ("", "give a fault: drop, "),
    ],
)
def test_an_invalid_fault_is_one_line_and_exit_code_2(fault: str, says: str) -> None:
    result = at_once("simulate", "--fault", fault)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--lifetime", "0", "--lifetime 0.0: give a number of seconds above 0"),
        ("--duration", "-1", "--duration -1.0: give a number of seconds above 0"),
        ("--rate", "0", "rate is 0.0; give a number above 0"),
        ("--speed", "fast", "--speed 'fast': a number, or max"),
        ("--seed", "-1", "seed -1 is negative; give 0 or more"),
        ("--port", "99999", "port 99999: 0 to 65535"),
        ("--symbols", ",", "no symbols"),
        ("--symbols", "0", "0 symbols: give 1 to 4,000"),
        ("--symbols", "5000", "5000 symbols: give 1 to 4,000"),
        ("--dialect", "kraken", "no dialect 'kraken'; choose from binance-usdm, binance-spot"),
    ],
)
def test_an_invalid_value_is_one_line_and_exit_code_2(option: str, value: str, says: str) -> None:
    result = at_once("simulate", option, value)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_options_name_the_dialects_there_are() -> None:
    assert tuple(DIALECTS) == simulate.DIALECTS
    assert simulate.SimulateConfig().dialect == DEFAULT


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def post(url: str) -> Any:
    with urllib.request.urlopen(url, data=b"", timeout=10) as answer:
        return json.load(answer)


def test_faults_come_from_the_schedule_and_from_the_control_port() -> None:
    with started(
        *("simulate", "--fault", "http 451 requests=null"),
        *("--fault", "clock offset_ms=5", "--fault", "drop reset every 10ms"),
    ) as simulator:
        url = json.loads(simulator.line())["rest"]
        with pytest.raises(urllib.error.HTTPError, match="451"):
            get(f"{url}/fapi/v1/ping")
        assert get(f"{url}/control")["standing"][0]["status"] == 451
        post(f"{url}/control/clear")
        assert get(f"{url}/fapi/v1/ping") == {}
        skip = post(f"{url}/control/skip?symbol=BTCUSDT&count=3")
        assert (skip["fault"], skip["symbol"], skip["count"]) == ("skip", "BTCUSDT", 3)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(f"{url}/control/skip?symbol=NOSUCHUSDT")


def test_an_interrupt_ends_the_simulator_silently() -> None:
    with started("simulate", "--fault", "drop every 10ms", "--fault", "stall 60") as simulator:
        simulator.line()
        assert simulator.end(signal.SIGINT) == 130
        assert "".join(simulator.said) == ""


def test_the_simulator_plays_binance_spot_with_the_given_number_of_symbols() -> None:
    with started(
        *("simulate", "--dialect", "binance-spot", "--symbols", "60"),
        *("--fault", "list NEWUSDT"),
    ) as simulator:
        url = json.loads(simulator.line())["rest"]
        rows = get(f"{url}/api/v3/exchangeInfo")["symbols"]
        assert {"BTCUSDT", "S0060USDT", "NEWUSDT"} <= {row["symbol"] for row in rows}
        assert len(get(f"{url}/api/v3/trades?symbol=S0060USDT")) > 50
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{url}/fapi/v1/ping")
