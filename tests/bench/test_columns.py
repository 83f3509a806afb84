"""The stage gives its rows; an array that is not the others' fails it."""

import numpy as np
import pytest

from fanout.protocol.speedups import IS_COMPILED
from tests.bench import columns
from tests.bench.report import Absent, Row


def test_ours_and_what_stands_beside_it_are_measured() -> None:
    rows = columns.run(small=True)
    names = [each.name for each in rows if isinstance(each, Row)]
    ours = ["fanout, compiled"] if IS_COMPILED else []
    beside = ["struct, from fixed records", "memory, of fixed records"]
    assert names == [*ours, "fanout, plain", *beside]
    absent = [each.name for each in rows if isinstance(each, Absent)]
    assert absent == ([] if IS_COMPILED else ["fanout, compiled"])


def test_an_array_that_is_not_the_others_fails_the_stage() -> None:
    ones, twos = (np.full(3, value) for value in (1, 2))
    ways = {"wrong": lambda: twos, "memory, of fixed records": lambda: ones}
    with pytest.raises(ValueError, match="wrong: not the trades"):
        columns.require_the_same(ways)
