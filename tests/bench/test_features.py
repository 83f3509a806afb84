"""The stage gives its rows; another value, a missing row and a cut line fail it."""

import numpy as np
import pytest

from fanout.analytics import FeatureSettings
from fanout.analytics.features.features import twin
from fanout.clients.outcomes import Received
from tests.bench import features
from tests.bench.books_parts.ages import due_ns
from tests.bench.books_parts.market import BOOK, Market, dealt
from tests.bench.broadcast.recording import Message
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.feature_parts.arrays import ArrayBook, Recomputed
from tests.bench.feature_parts.consumer import TOGETHER_NS, ages_ns, pieces
from tests.bench.feature_parts.recorded import recorded
from tests.bench.printed import noted
from tests.bench.report import Absent, Row
from tests.thoroughness import small_dose


@small_dose
def test_every_part_gives_its_rows() -> None:
    rows = features.run(small=True)
    names = [each.name for each in rows if isinstance(each, Row)]
    absent = {each.name for each in rows if isinstance(each, Absent)}
    assert ("a depth update: fanout, compiled" in names) == twin.is_compiled == (not absent)
    assert {
        "a depth update: fanout, plain",
        "a depth update: numpy, with its own book",
        "32 books with features, loaded",
        "32 books with features, updates of 2 to 10 levels",
        "4 symbols, trades, quotes and books, p99",
        "4 symbols, books at the same instants, p99",
    } <= set(names)
    assert all(each.value >= 0 for each in rows if isinstance(each, Row))


def test_each_contender_has_our_values_with_trades_and_without() -> None:
    records = recorded(seconds=3)
    features.require_the_same(records, features.rivals())


def test_a_contender_with_another_value_fails_the_stage() -> None:
    class Deaf(Recomputed):
        def take(self, record: Received) -> list[float]:
            values = super().take(record)
            return [each * 1.000_001 for each in values]

    def deaf() -> Recomputed:
        return Deaf(FeatureSettings(), BTCUSDT, ArrayBook)

    with pytest.raises(ValueError, match=r"deaf has .* as mid"):
        features.require_the_same(recorded(seconds=1), {"deaf": deaf})


def test_a_contender_with_a_value_where_we_have_none_fails_the_stage() -> None:
    class Sure(Recomputed):
        def take(self, record: Received) -> list[float]:
            return [0.0 if np.isnan(each) else each for each in super().take(record)]

    def sure() -> Recomputed:
        return Sure(FeatureSettings(), BTCUSDT, ArrayBook)

    with pytest.raises(ValueError, match="we have None"):
        features.require_the_same(recorded(seconds=1), {"sure": sure})


def test_lines_count_from_the_read_that_ends_them() -> None:
    read = [(10, b'{"time_ns":1}\n{"time'), (20, b'_ns":2}\n'), (30, b'{"time_ns":3}\n')]
    assert noted(read) == [(10, 1), (20, 2), (30, 3)]


def test_an_output_that_ends_within_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="within a line"):
        noted([(10, b'{"time_ns":1}\n{"time_ns"')])


def test_messages_that_are_due_together_are_sent_in_one_piece() -> None:
    due = (0, TOGETHER_NS, TOGETHER_NS + 1, 3 * TOGETHER_NS)
    found = list(pieces([Message(at_ns, b"x") for at_ns in due]))
    assert [at_s for at_s, _ in found] == [0, (TOGETHER_NS + 1) / 1e9, 3 * TOGETHER_NS / 1e9]
    assert [len(data) for _, data in found] == [6, 3, 3]


def test_rows_of_the_lead_have_no_age_and_a_missing_row_is_noticed() -> None:
    market = dealt(2, 0.3, streams=(BOOK,), reach_s=5.0)
    rows = _rows(market)
    assert list(ages_ns(market, rows)) == [7] * (len(rows) - market.lead)
    with pytest.raises(ValueError, match="rows came for"):
        ages_ns(market, rows[:-1])


def _rows(market: Market) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """As if each record took 7 ns from the service to the reader."""
    lead = [each.at_ns for each in market.messages[: market.lead]]
    times_ns = np.array([*lead, *due_ns(market)]) + 1_000
    return np.column_stack((times_ns + 7, times_ns))
