import pytest

from fanout.config.secret import Secret
from fanout.errors import UsageError
from fanout.transports.tcp.config import TcpConfig


@pytest.mark.parametrize(
    ("given", "is_it"),
    [
        ("t-o-k-e-n", True),
        ("t-o-k-e-m", False),
        ("", False),
        ("t-o-k-e-n ", False),
        ("é\udc80", False),
    ],
)
def test_a_secret_matches_only_its_own_text(given: str, is_it: bool) -> None:
    assert Secret("t-o-k-e-n").matches(given) is is_it


def test_a_secret_is_not_shown() -> None:
    config = TcpConfig(token=Secret("t-o-k-e-n"))
    assert "t-o-k-e-n" not in f"{config} {config.token!r} {config.token}"


@pytest.mark.parametrize("text", ["", "two words", "tab\t", "x" * 1_025, "naïve"])
def test_an_invalid_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        Secret(text)
    assert not text or text not in str(caught.value)
