import pytest

from fanout.protocol.errors import MalformedError, NotRepresentableError
from fanout.protocol.text import fitting, pack_text, unpack_text


@pytest.mark.parametrize(("text", "data"), [("", "00"), ("ab", "026162"), ("币", "03e5b881")])
def test_a_text_stands_behind_its_length(text: str, data: str) -> None:
    assert pack_text(text, 3, "name").hex() == data
    assert unpack_text(b"\x09" + bytes.fromhex(data) + b"z", 1, 3, "name") == (
        text,
        1 + len(data) // 2,
    )


@pytest.mark.parametrize(
    ("text", "said"), [("币a", "name of 4 bytes exceeds 3"), ("\ud800", "name .* is not UTF-8")]
)
def test_a_text_that_does_not_fit_is_refused(text: str, said: str) -> None:
    with pytest.raises(NotRepresentableError, match=said):
        pack_text(text, 3, "name")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "name is missing"),
        ("01", "name of 1 bytes does not fit"),
        ("0361", "name of 3 bytes does not fit"),
        ("0461626364", "name of 4 bytes does not fit"),
        ("02e5b8", "name is not UTF-8"),
    ],
)
def test_invalid_text_is_refused(data: str, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        unpack_text(bytes.fromhex(data), 0, 3, "name")


@pytest.mark.parametrize(
    ("words", "max_bytes", "fit"),
    [
        ("", 5, ""),
        ("words", 5, "words"),
        ("words", 4, "word"),
        ("币安", 6, "币安"),
        ("币安", 5, "币"),
        ("币安", 2, ""),
        ("a\ud800b", 9, "a?b"),
    ],
)
def test_as_many_whole_characters_as_fit_are_kept(words: str, max_bytes: int, fit: str) -> None:
    assert fitting(words, max_bytes) == fit
