"""Rows of features as text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics.consumer.lines import MOST_KEPT, CsvLines, JsonLines
from fanout.analytics.consumer.roster import Listed
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
LISTED = Listed("okx", "BTCUSDT", BTC)
COLUMNS = ("mid", "spread", "wap_10bps")
LOST = int(Absence.LOST)


def row(
    *values: float | None, absences: bytes = bytes(3), instrument: Instrument = BTC
) -> FeatureRow:
    return FeatureRow(instrument, 1_795_219_200_000_000_001, values, absences)


def test_a_row_is_a_line_of_json() -> None:
    line = JsonLines(COLUMNS).line(LISTED, row(61_000.05, None, 0.1, absences=bytes([0, LOST, 0])))
    assert line == (
        b'{"time_ns":1795219200000000001,"venue":"okx","symbol":"BTCUSDT","mid":61000.05,'
        b'"spread":null,"wap_10bps":0.1,"absences":{"spread":"LOST"}}\n'
    )


def test_a_row_is_a_line_of_csv_without_reasons() -> None:
    form = CsvLines(COLUMNS)
    assert form.header == b"time_ns,venue,symbol,mid,spread,wap_10bps\n"
    line = form.line(LISTED, row(None, 1e-9, -2.0, absences=bytes([LOST, 0, 0])))
    assert line == b"1795219200000000001,okx,BTCUSDT,,1e-9,-2.0\n"


def test_names_that_csv_or_json_would_take_for_their_own_are_quoted() -> None:
    odd = Listed("okx", 'A,"B"', BTC)
    assert b',"A,""B""",' in CsvLines(COLUMNS).line(odd, row(1.0, 1.0, 1.0))
    assert json.loads(JsonLines(COLUMNS).line(odd, row(1.0, 1.0, 1.0)))["symbol"] == 'A,"B"'


def test_rows_without_columns_are_json_too() -> None:
    line = JsonLines(()).line(LISTED, row(absences=b""))
    assert json.loads(line)["absences"] == {}


def test_a_code_that_nobody_knows_is_other() -> None:
    line = JsonLines(COLUMNS).line(LISTED, row(1.0, None, 1.0, absences=bytes([0, 200, 0])))
    assert json.loads(line)["absences"] == {"spread": "OTHER"}


def test_the_kept_texts_have_a_limit() -> None:
    form = JsonLines(("a", "b"))
    for first in range(1, 200):
        for second in range(1, 30):
            form.line(LISTED, row(None, None, absences=bytes([first, second])))
    assert len(form._absent) <= MOST_KEPT


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_the_numbers_come_back_as_they_were(values: list[float]) -> None:
    found = json.loads(JsonLines(COLUMNS).line(LISTED, row(*values)))
    assert [found[each] for each in COLUMNS] == values
    fields = CsvLines(COLUMNS).line(LISTED, row(*values)).decode().strip().split(",")
    assert [float(each) for each in fields[3:]] == values
