"""Without compiled twins the plain functions are what is used."""

import pytest

from protocol.speedups import Twins


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_module_that_is_not_built_leaves_the_plain_functions(
    monkeypatch: pytest.MonkeyPatch, pure: str
) -> None:
    monkeypatch.setenv("FANOUT_PURE", pure)
    twin = Twins("protocol._not_built")

    def function() -> str:
        return "plain"

    assert twin(function) is function
    assert not twin.is_compiled
    assert list(twin.plain.values()) == [function]
