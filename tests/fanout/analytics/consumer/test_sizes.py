"""Sizes with a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics.consumer.sizes import size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 * 2**20), ("1 GiB", 2**30), ("512B", 512), (" 3KiB ", 3_072), ("0B", 0)],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "64", "64MB", "1.5GiB", "-1MiB", "MiB", "٣MiB", "9" * 16 + "B"]
)
def test_what_is_no_size_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="no size: a whole number and one of B, KiB, MiB, GiB"):
        size_bytes(text)


@given(st.integers(0, 2**49))
def test_a_size_as_text_is_the_same_size(size: int) -> None:
    assert size_bytes(size_text(size)) == size
