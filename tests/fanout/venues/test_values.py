import msgspec
from rich.pretty import pretty_repr

from fanout.venues.values import Credentials, Outcome, Request


def test_credentials_are_shown_nowhere() -> None:
    credentials = Credentials(secret="abrakadabra", id="simsalabim")
    shown = f"{credentials} {credentials!r} {[credentials]} {(credentials,)}"
    shown += pretty_repr([credentials])
    assert "abrakadabra" not in shown
    assert "simsalabim" not in shown
    assert "Credentials(***)" in shown


def test_the_headers_of_a_request_are_not_shown() -> None:
    request = Request(path="/trades", query={"id": "7"}, headers={"X-KEY": "abrakadabra"})
    shown = f"{request} {request!r} {msgspec.structs.replace(request, weight=5)}"
    shown += pretty_repr([request])
    assert "abrakadabra" not in shown
    assert "/trades" in shown


def test_the_answers_of_an_outcome_are_counted() -> None:
    outcome = Outcome(answers=("abrakadabra",), confirmed=("BTCUSDT",))
    assert repr(outcome) == "Outcome(answers=1, confirmed=('BTCUSDT',))"
    assert pretty_repr([outcome]) == f"[{outcome!r}]"
