"""A small dose for every target: its seeds, what mutations make of them, and bytes at random.

The same examples in every run. `python -m tests.fuzz` looks for others.
"""

import logging
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import all_of
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.thoroughness import examples

LONGEST_S = 2.0
"""CPU time that an input may take, under tracemalloc and on a slow machine."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Without what the service says of the venue's mistakes."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def watched(target: Target, data: bytes) -> bool:
    """Whether an input is understood; within what a target may take of time and memory."""
    begun_s = time.process_time()
    tracemalloc.start()
    try:
        is_understood = target(data)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allowed = target.most_per_byte * len(data) + target.most_besides
    assert taken <= allowed, f"{taken:,} bytes for {len(data):,}"
    assert time.process_time() - begun_s <= LONGEST_S
    return is_understood


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_understood(name: str) -> None:
    target = TARGETS[name]
    assert target(target.seeds()[0])


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_from_outside_are_understood_or_refused_and_cost_little(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    for each in (*seeds, b"", b"\0", all_of(seeds)):
        target(each)  # what is only made once is made now
        watched(target, each)

    @settings(
        max_examples=examples(40),
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def try_one(chance: st.DataObject) -> None:
        draw = chance.draw
        seed = draw(st.sampled_from(seeds))
        data = mutated(seed, all_of(seeds), lambda count: draw(st.integers(0, count - 1)))
        watched(target, data)

    try_one()
