"""WebSocket URLs of Binance spot: which are accepted, and where they lead."""

import pytest

from fanout.simulator.dialects.base import Destination, Form, Session
from fanout.simulator.dialects.binance_spot.routes import destination

FINE = Form(microseconds=True)


@pytest.mark.parametrize(
    ("target", "session"),
    [
        ("/ws", Session()),
        ("/ws/a@trade/b@trade", Session(("a@trade", "b@trade"))),
        ("/stream", Session((), Form(True))),
        ("/stream?streams=a@trade/b@trade", Session(("a@trade", "b@trade"), Form(True))),
        ("/ws/a@trade?timeUnit=MICROSECOND", Session(("a@trade",), FINE)),
        ("/ws/a@trade?timeUnit=microsecond", Session(("a@trade",), FINE)),
        ("/ws?timeUnit=MILLISECOND", Session()),
        ("/stream?streams=a@trade&timeUnit=MICROSECOND", Session(("a@trade",), Form(True, True))),
        ("/stream?timeUnit=MICROSECOND", Session((), Form(True, True))),
    ],
)
def test_a_documented_url_gives_its_route_form_and_streams(target: str, session: Session) -> None:
    assert destination(target) == Destination("", session)


@pytest.mark.parametrize(
    "target", ["/", "/ws/", "/stream/", "/public/ws", "/market/stream", "/ws?timeUnit=NANOSECOND"]
)
def test_an_undocumented_url_is_not_found(target: str) -> None:
    assert destination(target) is None
