"""Parses WebSocket URLs: the route, the form of messages, and the first streams.

Accepted are `/ws`, `/ws/<a>/<b>` and `/stream`, `/stream?streams=<a>/<b>`, each below `/public`,
`/market`, `/private` or nothing. Nothing means `/public`, as in production since April 2026. A
trailing slash is refused, and so is `/ws?<stream>`.
"""

import re
from typing import Final
from urllib.parse import parse_qs, unquote

from fanout.simulator.dialects.base import Destination, Form, Session
from fanout.simulator.dialects.binance.requests import unique
from fanout.simulator.market.ticks import StreamKind

PUBLIC: Final = "public"
MARKET: Final = "market"
PRIVATE: Final = "private"
ROUTES: Final = (PUBLIC, MARKET, PRIVATE)

ROUTE_OF: Final[dict[StreamKind, str]] = {"trade": PUBLIC, "aggTrade": MARKET}
"""`@trade` is not documented. Measurements show that only /public delivers it."""

_PATH: Final = re.compile(r"(?:/(public|market|private))?/(?:(stream)|ws((?:/[^/]+)*))")


def destination(target: str) -> Destination | None:
    """The destination of a request target, or None if the exchange has no such path."""
    path, _, query = target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    route = match[1] or PUBLIC
    if match[2]:
        return Destination(route, Session(_in_query(query), Form(combined=True)))
    streams = _in_path(match[3])
    if query and not streams and route != PRIVATE:
        return None
    return Destination(route, Session(streams))


def _in_query(query: str) -> tuple[str, ...]:
    values = parse_qs(query).get("streams", [])
    return unique(name for value in values for name in value.split("/"))


def _in_path(path: str) -> tuple[str, ...]:
    return unique(unquote(name) for name in path.split("/"))
