"""`fanout tail` of a channel of rows of features."""

import json

import pytest
from msgspec.structs import replace

from fanout.protocol import START, encode_features, frame, opening
from tests.contracts.client import serving
from tests.fanout.cli.processes import at_once
from tests.protocol.golden import FEATURES, ROWS_HEADER

OTHER = replace(
    ROWS_HEADER,
    epoch_ns=ROWS_HEADER.epoch_ns + 1,
    next_seq=1,
    columns=ROWS_HEADER.columns[::-1],
)

STREAM = frame(START) + opening(ROWS_HEADER) + frame(encode_features(FEATURES, ROWS_HEADER))


def tail(output: str) -> list[str]:
    with serving(STREAM, silent=True) as script:
        done = at_once("tail", script.url, "--format", output, "--limit", "3")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("text", "mid ONE_SIDED  spread_bps ONE_SIDED  order_flow_imbalance_1000ms 2.5"),
        ("csv", ",mid:ONE_SIDED spread_bps:ONE_SIDED,,,2.5"),
    ],
)
def test_tail_prints_values_and_reasons(output: str, expected: str) -> None:
    assert tail(output)[-2].endswith(expected)


def test_tail_prints_the_names_of_the_columns_in_csv_and_json() -> None:
    assert tail("csv")[0].endswith("absences,mid,spread_bps,order_flow_imbalance_1000ms")
    assert json.loads(tail("json")[1])["values"]["order_flow_imbalance_1000ms"] == 2.5


def test_csv_ends_where_a_service_starts_anew_with_other_columns() -> None:
    begun = replace(FEATURES, first_seq=1)
    anew = frame(START) + opening(OTHER) + frame(encode_features(begun, OTHER))
    with serving(STREAM, anew) as script:
        done = at_once("tail", script.url, "--format", "csv")
    assert done.returncode == 1
    assert "stdout: column 0 was mid, and is now order_flow" in done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_csv_is_refused_for_a_column_with_the_name_of_another_field() -> None:
    header = replace(ROWS_HEADER, columns=("mid", "symbol", "x"))
    data = frame(START) + opening(header) + frame(encode_features(FEATURES, header))
    with serving(data, silent=True) as script:
        done = at_once("tail", script.url, "--format", "csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a column has the name of the field symbol: take json for csv" in done.stderr
