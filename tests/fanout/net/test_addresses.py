import pytest

from fanout.net.addresses import is_loopback, serves_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
    ],
)
def test_loopback_addresses_are_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_name_that_resolves_to_loopback_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"here": ["127.0.1.1"], "both": ["127.0.0.1", "192.0.2.1"]}

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in found:
            raise OSError("unknown")
        return [(2, 1, 6, "", (each, 0)) for each in found[host]]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    names = ["here", "both", "nowhere", "127.0.0.1", "0.0.0.0"]
    assert [serves_loopback(each) for each in names] == [True, False, False, True, False]
