"""WebSocket URLs: which are accepted, and where they lead."""

import pytest

from fanout.simulator.dialects.base import Destination, Form, Session
from fanout.simulator.dialects.binance_usdm.routes import MARKET, PRIVATE, PUBLIC, destination


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/public/ws", Destination(PUBLIC, Session())),
        ("/public/ws/a@trade", Destination(PUBLIC, Session(("a@trade",)))),
        ("/market/ws/a@aggTrade/b@x", Destination(MARKET, Session(("a@aggTrade", "b@x")))),
        ("/market/stream", Destination(MARKET, Session(form=Form(combined=True)))),
        (
            "/public/stream?streams=a@trade/b@trade",
            Destination(PUBLIC, Session(("a@trade", "b@trade"), Form(combined=True))),
        ),
        ("/private/ws?listenKey=k", Destination(PRIVATE, Session())),
        ("/private/stream?listenKey=k", Destination(PRIVATE, Session(form=Form(combined=True)))),
    ],
)
def test_a_documented_url_gives_its_route_form_and_streams(
    target: str, expected: Destination
) -> None:
    assert destination(target) == expected


@pytest.mark.parametrize("target", ["/ws", "/ws/a@trade", "/stream", "/stream?streams=a@trade"])
def test_an_unrouted_url_is_the_public_route(target: str) -> None:
    where = destination(target)
    assert where is not None
    assert where.route == PUBLIC


@pytest.mark.parametrize(
    "target",
    ["/ws/", "/stream/", "/public/ws/", "/public/stream/?streams=a@trade", "/ws/a@trade/"],
)
def test_a_trailing_slash_is_refused(target: str) -> None:
    assert destination(target) is None


@pytest.mark.parametrize(
    "target",
    ["", "/", "/public", "/other/ws", "/ws?a@trade", "/WS", "/streams", "/wsx", "//ws", "/ws//a"],
)
def test_an_unknown_route_is_refused(target: str) -> None:
    assert destination(target) is None


def test_names_may_be_percent_encoded() -> None:
    name = "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt%40trade"
    for target in (f"/ws/{name}", f"/stream?streams={name}%2Fb@trade"):
        where = destination(target)
        assert where is not None
        assert where.session.streams[0] == "币安人生usdt@trade"


def test_empty_names_in_a_query_are_ignored_and_repeated_ones_count_once() -> None:
    where = destination("/stream?streams=/a@trade//a@trade/")
    assert where == Destination(PUBLIC, Session(("a@trade",), Form(combined=True)))
