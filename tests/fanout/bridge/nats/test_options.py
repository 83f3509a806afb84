"""What a bridge to NATS is told, and what is refused."""

import pytest

from fanout.bridge.nats.options import NatsOptions


def test_a_password_is_not_shown() -> None:
    options = NatsOptions(url="nats://me:secret@a:4222, tls://b:4222")
    assert options.urls == ("nats://me:secret@a:4222", "tls://b:4222")
    assert options.server == "nats://a:4222,tls://b:4222"
    assert options.is_tls
    assert options.fault() is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "redis://a"}, "--url redis://a is not an address"),
        ({"url": "nats://"}, "--url nats:// is not an address"),
        ({"url": "nats://a:99999"}, "--url nats://a:99999 is not an address"),
        ({"url": ""}, "--url  is not an address"),
        ({"url": "nats://a,http://b"}, "is not an address"),
        ({"tls_ca": "ca.pem"}, "--tls-ca is for TLS, and --url nats://a is without"),
        ({"prefix": "a.b"}, "--prefix 'a.b' is no prefix"),
        ({"prefix": ""}, "--prefix '' is no prefix"),
        ({"replicas": 0}, "--replicas 0 is out of range: 1 to 5"),
        ({"replicas": 6}, "--replicas 6"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    fault = NatsOptions(**{"url": "nats://a", **changes}).fault()  # type: ignore[arg-type]
    assert fault is not None
    assert words in fault
