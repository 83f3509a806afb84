import itertools

from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol import backoff


def test_pauses_double_up_to_the_cap() -> None:
    pauses = backoff(first_s=0.5, cap_s=5.0, uniform=lambda low, high: high)
    assert list(itertools.islice(pauses, 6)) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_shortest_pauses_are_the_halves() -> None:
    pauses = backoff(first_s=0.5, cap_s=5.0, factor=3.0, uniform=lambda low, high: low)
    assert list(itertools.islice(pauses, 5)) == [0.25, 0.75, 2.25, 2.5, 2.5]


@given(st.randoms(use_true_random=False))
def test_a_pause_is_jittered_between_its_half_and_its_whole(chance: st.randoms) -> None:  # type: ignore[valid-type]
    pauses = backoff(first_s=1.0, cap_s=8.0, uniform=chance.uniform)  # type: ignore[attr-defined]
    for whole, pause in zip([1, 2, 4, 8, 8], pauses, strict=False):
        assert whole / 2 <= pause <= whole
