"""What a strategy says itself, before it stands in a journal or on a terminal."""

import pytest

from fanout.trading.strategies.sane import MAX_WORDS, in_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain", "plain"),
        ("Überlauf: 5 €", "Überlauf: 5 €"),
        ("first\n  second\r\nthird\t4\n", "first second third 4"),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("\ud800", "?"),
        ("", ""),
    ],
)
def test_a_text_becomes_one_line_that_controls_no_terminal(text: str, words: str) -> None:
    assert in_words(ValueError(text)) == words


def test_a_long_text_is_cut() -> None:
    assert len(in_words("x" * 10_000)) == MAX_WORDS
    assert len(in_words("\n" * 10_000)) == 0
