import pytest

from fanout.config.duration import duration_text, parse_duration, parse_milliseconds
from fanout.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("2m", 120),
        ("12h30m", 45_000),
        ("7d", 604_800),
        ("1d1h1m1s", 90_061),
        (" 5m ", 300),
    ],
)
def test_units_are_understood(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "0s",
        "0d0h",
        "-1s",
        "1.5h",
        "30m12h",
        "1h1h",
        "7 d",
        "1w",
        "1D",
        "9" * 10 + "s",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration: give 7d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (1, "1s"), (90, "1m30s"), (604_800, "7d"), (45_000, "12h30m")]
)
def test_a_duration_is_shown_as_it_would_be_typed(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text
    assert not text or parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count_ms"), [("500ms", 500), ("2s", 2_000), (" 1m ", 60_000), ("1ms", 1)]
)
def test_milliseconds_have_a_unit_too(text: str, count_ms: int) -> None:
    assert parse_milliseconds(text) == count_ms


@pytest.mark.parametrize(
    "text", ["", "500", "0ms", "1.5s", "-1ms", "5h", "1s500ms", "1" * 10 + "s"]
)
def test_what_is_no_number_of_milliseconds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration: give 500ms, 2s or 1m"):
        parse_milliseconds(text)
