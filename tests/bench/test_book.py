"""The stage gives its rows; a contender that ends in another book fails it."""

from typing import Any

import pytest

from fanout.protocol.book import twin
from tests.bench import book
from tests.bench.book_rivals.dicts import DictAndList
from tests.bench.book_rivals.held import Way
from tests.bench.report import Absent, Row, why_absent
from tests.thoroughness import small_dose


@small_dose
def test_every_contender_is_measured_or_absent() -> None:
    rows = book.run(small=True)
    names = [each.name for each in rows if isinstance(each, Row)]
    absent = {each.name for each in rows if isinstance(each, Absent)}
    assert ("apply: fanout, compiled" in names) == twin.is_compiled == (book.OURS not in absent)
    assert {"apply: fanout, plain", "apply: dict and sorted list", "apply: numpy"} <= set(names)
    missing = {name for name, needs in book.RIVALS.items() if why_absent(needs)}
    assert absent - {book.OURS} == missing
    for row in rows:
        assert not isinstance(row, Row) or row.value > 0, row


def test_a_book_that_is_not_the_others_fails_the_stage() -> None:
    class Forgetful(DictAndList):
        def apply(self, bids: Any, asks: Any) -> None:
            super().apply(bids, asks[1:])

    market = book.market_of(10)
    with pytest.raises(ValueError, match="forgetful ends in another book"):
        book.require_the_same(market, [Way("forgetful", Forgetful)])
