"""The stage gives its rows; a contender that shows something else fails it."""

import pytest

from tests.bench import nbbo
from tests.bench.report import Row
from tests.thoroughness import small_dose


@small_dose
def test_every_contender_is_measured() -> None:
    rows = [each for each in nbbo.run(small=True) if isinstance(each, Row)]
    names = [each.name for each in rows]
    assert {"BestPrices.update", "BestPrices.update, busy"} <= set(names)
    assert {f"all compared anew, {kind}" for kind in nbbo.NUMBERS} <= set(names)
    assert [each.name for each in rows if each.goal] == [
        "BestPrices.update",
        "BestPrices.update, busy",
    ]
    assert all(each.value > 0 for each in rows)


def test_a_contender_that_shows_something_else_fails_the_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = nbbo.steps_of(nbbo.market_of(10))
    nbbo.require_the_same(steps)
    monkeypatch.setitem(nbbo.NUMBERS, "integers", lambda value, exponent: value)
    with pytest.raises(ValueError, match="integers shows"):
        nbbo.require_the_same(steps)
