"""Codes of one byte: what becomes of those that a reader does not know."""

from enum import IntEnum
from typing import Any

import pytest

from fanout.protocol import EndReason, FeedState, GapState, LossReason, TradeKind

every_code = pytest.mark.parametrize(
    "code", [TradeKind, FeedState, GapState, LossReason, EndReason]
)


@every_code
def test_every_unknown_byte_is_other(code: type[IntEnum]) -> None:
    known = {each.value for each in code}
    assert {code(byte).name for byte in range(256) if byte not in known} == {"OTHER"}
    assert code(0xFF).name == "OTHER"


@every_code
@pytest.mark.parametrize("value", [-1, 256, 1.5, "1", None], ids=repr)
def test_what_is_no_byte_is_no_code(code: type[IntEnum], value: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        code(value)
