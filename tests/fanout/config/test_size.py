import pytest

from fanout.config.size import parse_size
from fanout.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 2**20), ("64KiB", 2**16), ("1MiB", 2**20), ("2 gib", 2**31), ("100b", 100)],
)
def test_a_size_is_in_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1.5MiB", "1MB", "-1", "1e6", "64kb", "9" * 16, "1K"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)
