"""What saves the tests of the benchmarks time, since what they measure is not judged.

A recording is read once in a process. Garbage is not collected before each sample, which takes 70
ms or more in a process that has imported all of it.
"""

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import pytest

from tests import captures
from tests.bench import market, measure
from tests.bench.synthetic import Row


@pytest.fixture(scope="session", autouse=True)
def _quick_rounds() -> Iterator[None]:
    recorded = market.recorded

    @cache
    def read(folder: object, symbol: str) -> list[Row]:
        return recorded(symbol)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market, "recorded", lambda symbol: read(captures.DATA, symbol))
        patch.setattr(measure, "gc", SimpleNamespace(collect=int))
        yield
