import msgspec

from fanout.venues.values import Credentials, Request


def test_credentials_are_shown_nowhere() -> None:
    credentials = Credentials(secret="abrakadabra", id="simsalabim")
    shown = f"{credentials} {credentials!r} {[credentials]} {(credentials,)}"
    assert "abrakadabra" not in shown
    assert "simsalabim" not in shown
    assert "Credentials(***)" in shown


def test_the_headers_of_a_request_are_not_shown() -> None:
    request = Request(path="/trades", query={"id": "7"}, headers={"X-KEY": "abrakadabra"})
    shown = f"{request} {request!r} {msgspec.structs.replace(request, weight=5)}"
    assert "abrakadabra" not in shown
    assert "/trades" in shown
