"""Parses WebSocket URLs: the form of messages, and the first streams.

Accepted are `/ws`, `/ws/<a>/<b>` and `/stream`, `/stream?streams=<a>/<b>`, each with or without
`timeUnit=MICROSECOND`. All streams are on one route, which has no name. Documented at
developers.binance.com, "WebSocket Streams for Binance".
"""

import re
from typing import Final
from urllib.parse import parse_qs, unquote

from fanout.simulator.dialects.base import Destination, Form, Session
from fanout.simulator.dialects.binance.requests import unique
from fanout.simulator.market.ticks import QUOTE, depth_kind

BOOKS: Final = {
    "bookTicker": QUOTE,
    "depth": depth_kind(1_000),
    "depth@100ms": depth_kind(100),
}
"""The streams of a book, and the market's names of them."""

_PATH: Final = re.compile(r"/(?:(stream)|ws((?:/[^/]+)*))")
_UNITS: Final = {
    "MICROSECOND": True,
    "microsecond": True,
    "MILLISECOND": False,
    "millisecond": False,
}


def destination(target: str) -> Destination | None:
    """The destination of a request target, or None if the exchange has no such path."""
    path, _, query = target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    fields = parse_qs(query)
    microseconds = _UNITS.get(fields.get("timeUnit", ["MILLISECOND"])[0])
    if microseconds is None:
        return None
    if match[1]:
        names = (name for value in fields.get("streams", []) for name in value.split("/"))
        return Destination("", Session(unique(names), Form(True, microseconds)))
    names = (unquote(name) for name in match[2].split("/"))
    return Destination("", Session(unique(names), Form(False, microseconds)))
