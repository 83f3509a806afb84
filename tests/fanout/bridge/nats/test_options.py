"""What a bridge to NATS is told, and what is refused."""

import pytest

from fanout.bridge.nats.options import NatsOptions


def test_a_password_is_not_shown() -> None:
    options = NatsOptions(url="nats+tls://me:secret@a:4222,b:4222")
    assert options.server == "nats+tls://a:4222,b:4222"
    assert options.address.is_tls
    assert options.fault() is None
    assert "secret" not in repr(options)
    for url in ("me:secret@a:4222", "nats://me:sec,ret@", "nats://a,me:secret@b c"):
        assert "sec" not in str(NatsOptions(url=url).fault())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "redis://a"}, "--url: 'redis://a' is no address of NATS"),
        ({"url": "nats://"}, "--url: 'nats://' is no address"),
        ({"url": "nats://a:99999"}, "--url: 'nats://a:99999' is no address"),
        ({"url": ""}, "--url: '' is no address"),
        ({"url": "nats://a/spot"}, "--url nats://a:4222/spot names a channel"),
        ({"tls_ca": "ca.pem"}, "--tls-ca is for TLS, and --url nats://a:4222 is without"),
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
