"""The bench runs, judges and reports; and the goals that do not depend on the machine are met."""

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fanout.protocol import Instrument, Reference, Trade
from tests import captures
from tests.bench import size
from tests.bench.__main__ import ALL, main
from tests.bench.report import Row, Stage
from tests.captures import capture_path

FRAME = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,'
    '"s":"BTCUSDT","t":%d,"p":"61800.30","q":"0.006","X":"%s","m":false}}'
)


@pytest.fixture
def tiny_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten trades in one millisecond, an id spent without a trade, and a frame of another stream."""
    frames = [FRAME % (number, "MARKET") for number in range(10)]
    frames += [FRAME % (10, "NA"), '{"stream":"btcusdt@bookTicker","data":{}}']
    lines = "".join(f"17231612550000000{row:02} {each}\n" for row, each in enumerate(frames))
    (tmp_path / size.CAPTURE).write_bytes(gzip.compress(lines.encode()))
    monkeypatch.setattr(captures, "DATA", tmp_path)


@pytest.fixture
def no_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.delenv("FANOUT_REQUIRE_CAPTURES", raising=False)


def stage_of(*rows: Row) -> Any:
    return SimpleNamespace(__doc__="What it is.\n\nHow.", run=lambda *, small: list(rows))


def values_of(rows: Sequence[Row]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


def test_every_stage_says_what_it_measures_by_which_workload() -> None:
    for name, stage in ALL.items():
        assert stage.__doc__, name
        assert "Workload: " in stage.__doc__, name


def test_the_sizes_that_were_promised_are_reached_on_the_whole_capture() -> None:
    capture_path(size.CAPTURE)
    rows = size.run(small=False)
    assert all(row.met for row in rows)
    assert {name: round(value, 1) for name, value in values_of(rows).items()} == {
        "fanout, a block a millisecond": 14.3,
        "fanout, a block a trade": 42.5,
        "wire 1, a frame a trade": 9.9,
        "Binance spot SBE, grouped": 35.6,
        "Binance spot SBE, single": 65.0,
        "Databento DBN record": 48.0,
        "JSON as received": 161.5,
    }


def test_a_truncated_capture_gives_sizes_of_the_same_order() -> None:
    # Its first minute is quieter than the rest, so that fewer trades share a block.
    capture_path(size.CAPTURE)
    values = values_of(size.run(small=True))
    assert 14 < values["fanout, a block a millisecond"] < 20
    assert 40 < values["fanout, a block a trade"] < 45


@pytest.mark.usefixtures("tiny_capture")
def test_a_size_is_of_all_bytes_and_of_trades_alone() -> None:
    values = values_of(size.run(small=False))
    # The same ten trades: 4 of length, 21 + 3 of block header, 4 of CRC, 5 a trade; the first is
    # nine ids away from the reference, which still is one byte.
    assert values["fanout, a block a millisecond"] == (32 + 10 * 5) / 10
    assert values["JSON as received"] == len(FRAME % (0, "MARKET"))
    assert values["Binance spot SBE, grouped"] == 40 / 10 + 25


@pytest.mark.parametrize(
    ("index", "ms", "price", "quantity", "buyer_is_maker", "expected"),
    [
        (0, 0, "45000.0", 1, True, "800000e807"),
        (1, 7, "2500.6", 2, False, "010ea09c01d00f"),
        (2, 14, "120.95", 3, True, "821cc0b802b817"),
    ],
)
def test_wire_1_is_encoded_as_its_clients_know_it(
    index: int, ms: int, price: str, quantity: int, buyer_is_maker: bool, expected: str
) -> None:
    before = [4_500_000, 250_050, 12_075][index]
    instrument = Instrument(index=index, symbol="X", price_exponent=-2, quantity_exponent=-2)
    reference = Reference(price=before, quantity=0, trade_id=0, time=1_700_000_000_000)
    ticks = round(float(price) * 100)
    trade = Trade(instrument, 1, reference.time + ms, ticks, quantity, buyer_is_maker)
    assert size.wire1_trade(trade, reference).hex() == expected


@pytest.mark.usefixtures("tiny_capture")
def test_a_small_report_names_machine_and_versions_and_judges_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["size", "--small"]) == 0
    text = capsys.readouterr().out
    for word in ("machine  ", "cores", "python  ", "msgspec 0.", "date  ", "goal <= 15", "small"):
        assert word in text
    assert "met" not in text
    assert "MISSED" not in text


@pytest.mark.usefixtures("tiny_capture")
def test_a_report_for_machines_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["environment"]) == {
        "cpu",
        "cores",
        "system",
        "python",
        "twins",
        "libraries",
        "programs",
        "market",
        "date",
    }
    (stage,) = report["stages"]
    assert (stage["stage"], stage["small"], stage["skipped"]) == ("size", False, None)
    assert stage["rows"][0] == {
        "name": "fanout, a block a millisecond",
        "value": 8.2,
        "low": None,
        "high": None,
        "unit": "bytes/trade",
        "goal": "<= 15",
        "met": True,
    }
    assert {row["goal"] for row in stage["rows"][2:]} == {None}
    assert {row["met"] for row in stage["rows"][2:]} == {None}


def test_a_goal_that_is_missed_is_said_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Row(name="deliveries", value=1_999.0, unit="1/s", at_least=2_000)
    monkeypatch.setitem(ALL, "slow", stage_of(slow))
    assert main(["slow"]) == 1
    assert "deliveries         1,999  1/s  goal >= 2,000  MISSED" in capsys.readouterr().out
    assert main(["slow", "--small"]) == 0


def test_a_stage_that_fails_is_said_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*, small: bool) -> list[Row]:
        raise ValueError("not what was sent")

    broken = SimpleNamespace(__doc__="What it is.\n\nHow.", run=run)
    monkeypatch.setitem(ALL, "broken", cast(Stage, broken))
    monkeypatch.setitem(ALL, "sound", stage_of(Row(name="deliveries", value=1.0, unit="1/s")))
    assert main(["broken", "sound", "--small"]) == 1
    printed = capsys.readouterr()
    assert "  FAILED: ValueError('not what was sent')" in printed.out
    assert "deliveries" in printed.out
    assert "Traceback" in printed.err


@pytest.mark.usefixtures("no_captures")
def test_without_recordings_a_synthetic_market_is_measured_and_the_report_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["size"]) == 0
    text = capsys.readouterr().out
    assert re.search(
        rf"^market     synthetic, seed \d+: no {size.CAPTURE}, ethusdt_", text, re.MULTILINE
    )
    assert "skipped" not in text
    assert re.search(r"  fanout, a block a millisecond +1\d\.\d .* met$", text, re.MULTILINE)


@pytest.mark.usefixtures("no_captures")
def test_a_missing_capture_fails_where_captures_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FANOUT_REQUIRE_CAPTURES", "1")
    assert main(["size"]) == 1


def test_an_unknown_stage_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["size", "sise"])
    assert end.value.code == 2
    assert "error: there is no stage sise: choose from size" in capsys.readouterr().err
