"""Every feature at every row of both recordings, against its definition."""

from fractions import Fraction

import pytest

from fanout.analytics import FeatureSettings, StreamFeatures
from fanout.protocol import BookFlags, BookUpdate, Trade
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from tests.fanout.analytics.recording import records_of
from tests.fanout.analytics.slow import Slow, Value
from tests.thoroughness import every_row

SETTINGS = FeatureSettings(
    quantity_bps=(1, 10, 20),
    wap_bps=(2, 10),
    wap_lags_ms=(1, 100, 200, 300, 2_000),
    queue_levels=(1, 5, 50),
    order_flow_ms=(10, 1_000, 5_000),
    trade_flow_ms=(10, 1_000, 5_000),
    vwap_ms=(10, 3_000),
    intensity_ms=(1_000, 5_000),
    volatility_ms=(1_000, 5_000, 8_100),
    volatility_sample_ms=500,
)
"""More windows than usual, and short ones, so that all are warm soon."""

TOP = BookFlags.WHOLE | BookFlags.TOP_ONLY


def assert_same(row: FeatureRow, expected: list[Value], settings: FeatureSettings) -> None:
    for name, value, absence, slow in zip(
        settings.columns, row.values, row.absences, expected, strict=True
    ):
        if isinstance(slow, Absence):
            assert (value, Absence(absence)) == (None, slow), name
        elif isinstance(slow, Fraction):
            assert (value, absence) == (slow.numerator / slow.denominator, 0), name
        else:
            assert absence == 0, name
            assert value == pytest.approx(slow, rel=1e-12, abs=1e-15), name


@pytest.mark.parametrize(
    ("symbol", "flags", "seconds"),
    [
        ("BTCUSDT", TOP, 9.5),
        ("ETHUSDT", BookFlags.WHOLE, 9.5),
        pytest.param("BTCUSDT", BookFlags.WHOLE, 1e6, marks=every_row),
        pytest.param("ETHUSDT", TOP, 1e6, marks=every_row),
    ],
)
def test_every_feature_is_its_definition_at_every_row(
    symbol: str, flags: BookFlags, seconds: float
) -> None:
    stream, slow = StreamFeatures(SETTINGS), Slow(SETTINGS, -2, -3)
    rows = 0
    seen: dict[str, set[int]] = {each: set() for each in SETTINGS.columns}
    for record in records_of(symbol, seconds=seconds, flags=flags):
        assert isinstance(record, BookUpdate | Trade)
        slow.take(record)
        (row,) = stream.take(record)
        assert row.time_ns == record.received_ns
        assert_same(row, list(slow.row(row.time_ns)), SETTINGS)
        for name, absence in zip(SETTINGS.columns, row.absences, strict=True):
            seen[name].add(absence)
        rows += 1
    assert rows > 400
    top_only = {"level_imbalance", "stoikov_microprice"}
    assert all(Absence.PRESENT in seen[each] for each in seen.keys() - top_only), seen
