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
from fanout.simulator.market.ticks import AGGREGATE, QUOTE, TRADE, depth_kind

PUBLIC: Final = "public"
MARKET: Final = "market"
PRIVATE: Final = "private"
ROUTES: Final = (PUBLIC, MARKET, PRIVATE)

BOOKS: Final = {
    "bookTicker": QUOTE,
    "depth": depth_kind(250),
    "depth@0ms": depth_kind(0),
    "depth@100ms": depth_kind(100),
    "depth@500ms": depth_kind(500),
}
"""The streams of a book, and the market's names of them. `@depth@0ms` is not documented, and
`@depth@250ms` is silent (measured 2026-10-07)."""

STREAMS: Final = {
    TRADE: (TRADE, PUBLIC),
    AGGREGATE: (AGGREGATE, MARKET),
    **{name: (kind, PUBLIC) for name, kind in BOOKS.items()},
}
"""Kinds and routes. `@trade` is not documented. Measurements show that only /public delivers it."""

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
