"""The file of a fit: what all kinds have in common."""

import msgspec
import pytest

from fanout.analytics.fits.fit_errors import FitFileError
from fanout.analytics.fits.fit_file import MAX_FILE_BYTES, fit_in, fit_text


class Some(msgspec.Struct, frozen=True, tag_field="kind", tag="some", forbid_unknown_fields=True):
    version: int
    value: float


def test_a_fit_comes_back_and_its_file_is_for_people_too() -> None:
    text = fit_text(Some(1, 0.1))
    assert text == b'{\n  "kind": "some",\n  "version": 1,\n  "value": 0.1\n}\n'
    assert fit_in(text, Some, "f", "thing") == Some(1, 0.1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "f is no thing, or is damaged: Input data was truncated"),
        (b"{}", "missing required field `version`"),
        (b"[" * 100_000, "f is no thing, or is damaged"),
        (b'{"version": 1, "value": ' + b"[" * 100_000, "f is no thing, or is damaged"),
        (b'{"version": 2, "more": 1}', "version 2 of the layout, and only 1 is known"),
        (b'{"kind": "other", "version": 1, "value": 1}', "Invalid value 'other'"),
        (b'{"kind": "some", "version": 1, "value": NaN}', "malformed"),
        (b" " * (MAX_FILE_BYTES + 1), "f: 1,048,577 bytes exceed 1,048,576: no fit"),
    ],
)
def test_what_is_no_fit_is_refused_in_a_line(text: bytes, why: str) -> None:
    with pytest.raises(FitFileError) as refused:
        fit_in(text, Some, "f", "thing")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
